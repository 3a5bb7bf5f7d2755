// More requests than the fleet can take: what is refused is refused at the door, and the rest is answered. How long
// that takes scripts/soak measures.
#include <gtest/gtest.h>

#include "tests/fleet/plans.h"
#include "tests/fleet/runners.h"
#include "tests/fleet/streams.h"

namespace onnx_split {
namespace {

using testing::device_names;
using testing::must;
using testing::plan_of;
using testing::Questions;
using testing::random_network;
using testing::Runners;

bool is_ready(const std::future<Result>& future) {
  return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

// Twice the capacity, whatever that is: two requests for each result.
TEST(Load, OfTwiceTheCapacityHalfIsRefusedAndTheRestIsAnsweredRight) {
  constexpr std::size_t kAttempts = 10'000;
  const Graph graph = random_network(31, 6);
  const Questions questions(graph);
  const Runners runners(2);
  const auto coordinator = must(Coordinator::deploy(graph, plan_of(graph, device_names(2)), runners.urls()));
  const std::size_t window = coordinator->window();
  const std::vector<Json> before = must(coordinator->runner_status());

  std::deque<std::pair<std::uint64_t, std::future<Result>>> pending;
  std::size_t attempts = 0;
  std::size_t refused = 0;
  std::size_t right = 0;
  std::size_t most_in_flight = 0;
  const auto attempt = [&] {
    const std::uint64_t number = attempts++;
    auto submitted = coordinator->try_submit(questions.inputs(number));
    if (submitted) {
      pending.emplace_back(number, std::move(*submitted));
    } else {
      ++refused;
      EXPECT_EQ(submitted.error().code, ErrorCode::kExhausted);
      EXPECT_EQ(submitted.error().message,
                fmt::format("{} requests are in flight, as many as the window allows", window));
    }
    const auto in_flight =
        std::count_if(pending.begin(), pending.end(), [](const auto& entry) { return !is_ready(entry.second); });
    most_in_flight = std::max(most_in_flight, static_cast<std::size_t>(in_flight));
  };
  const auto take = [&] {
    right += questions.right(pending.front().first, must(pending.front().second.get())) ? 1 : 0;
    pending.pop_front();
  };
  while (refused == 0) attempt();
  while (attempts < kAttempts) {
    std::size_t taken = 0;
    do {
      take();
      ++taken;
    } while (!pending.empty() && is_ready(pending.front().second));
    for (std::size_t i = 0; i < 2 * taken; ++i) attempt();
  }
  while (!pending.empty()) take();

  EXPECT_EQ(right + refused, attempts);
  EXPECT_GE(refused, attempts / 3);
  EXPECT_LE(most_in_flight, window + 1);  // one has its result, and its answer is just being given
  const std::vector<Json> after = must(coordinator->runner_status());
  for (std::size_t device = 0; device < 2; ++device) {
    EXPECT_EQ(before[device]["memory_bytes"], after[device]["memory_bytes"]);
    EXPECT_EQ(after[device]["frames_dropped"], 0);
  }
  EXPECT_EQ(coordinator->counts().epochs, 1U);
}

}  // namespace
}  // namespace onnx_split
