// Requests that stream through a coordinator, with the answers that they must have.
#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "engine/evaluate.h"
#include "fleet/coordinator.h"
#include "fleet/verify.h"
#include "tests/fleet/plans.h"
#include "tests/support/expect.h"
#include "tests/support/random_network.h"

namespace onnx_split::testing {

// Plans again, as equal stages, for the devices that are left.
inline CoordinatorOptions recovering(const Graph& graph) {
  CoordinatorOptions options;
  options.replan = [&graph](const std::vector<std::string>& left, const auto&) -> Expected<Plan> {
    return plan_of(graph, left);
  };
  options.return_period = std::chrono::milliseconds(100);
  return options;
}

// The same, but nobody is lost who is only slow.
inline CoordinatorOptions patient(const Graph& graph) {
  CoordinatorOptions options = recovering(graph);
  options.watch.heartbeat_timeout = std::chrono::seconds(60);
  return options;
}

// Inputs with their uncut answers, used in turn: as many as there is a prime number of, and more than are in flight, so
// that an answer to another request isn't taken for the right one.
class Questions {
 public:
  // `tolerance`: the largest relative error of a right answer.
  explicit Questions(const Graph& graph, double tolerance = 1e-4, std::uint64_t count = 61) : tolerance_(tolerance) {
    for (std::uint64_t seed = 0; seed < count; ++seed) {
      inputs_.push_back(random_inputs(graph, seed));
      answers_.push_back(must(evaluate_once(graph, inputs_.back())));
    }
  }
  // Whether no answer would be right for another question.
  bool all_differ() const {
    for (std::uint64_t question = 0; question < answers_.size(); ++question) {
      for (std::uint64_t other = 0; other < answers_.size(); ++other) {
        if (other != question && right(question, answers_[other])) return false;
      }
    }
    return true;
  }
  const std::vector<Tensor>& inputs(std::uint64_t request) const { return inputs_[request % inputs_.size()]; }
  bool right(std::uint64_t request, const std::vector<Tensor>& outputs) const {
    const std::vector<Tensor>& expected = answers_[request % answers_.size()];
    if (outputs.size() != expected.size()) return false;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (compare("", outputs[i], expected[i]).relative() > tolerance_) return false;
    }
    return true;
  }

 private:
  double tolerance_;
  std::vector<std::vector<Tensor>> inputs_;
  std::vector<std::vector<Tensor>> answers_;
};

struct Streamed {
  std::size_t right = 0;
  std::vector<std::string> errors;
  std::chrono::steady_clock::duration longest_gap{};  // between two results
};

// Sends `count` requests as fast as they are taken, calls `disturb` with the number of each before it is sent, and
// takes the results in order.
inline Streamed stream(Coordinator& coordinator, const Questions& questions, std::uint64_t count,
                       const std::function<void(std::uint64_t)>& disturb) {
  using Clock = std::chrono::steady_clock;
  Streamed streamed;
  std::deque<std::pair<std::uint64_t, std::future<Result>>> pending;
  Clock::time_point last = Clock::now();
  const auto take = [&] {
    auto [number, future] = std::move(pending.front());
    pending.pop_front();
    const Result result = future.get();
    streamed.longest_gap = std::max(streamed.longest_gap, Clock::now() - last);
    last = Clock::now();
    if (!result) {
      streamed.errors.push_back(result.error().message);
    } else {
      streamed.right += questions.right(number, *result) ? 1 : 0;
    }
  };
  for (std::uint64_t number = 0; number < count; ++number) {
    disturb(number);
    pending.emplace_back(number, coordinator.submit(questions.inputs(number)));
    if (pending.size() > coordinator.window()) take();
  }
  while (!pending.empty()) take();
  return streamed;
}

}  // namespace onnx_split::testing
