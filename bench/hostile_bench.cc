// How much a stream of requests over TLS is slowed down by each kind of hostile peer (tests/fleet/hostile_peers.h): 3
// runners, coordinator and peers in this process, the window full. Each round measures requests with peers of the kind,
// PER_SECOND of them a second (1,000 silent ones connect, and again after ten seconds; the runner cuts off all but 64
// of them), then alone. A peer computes somewhere else, but here on the same cores; so a thread computes as much beside
// the requests that are alone.
//
// Prints the medians over the rounds of (with them) / (alone), of time, and of the processor time of all threads but
// the one that plays the peer; and how much of that each peer costs (of the silent ones each 500). Where the machine
// has other things to do processor time says more. What sockets of ours at the peer's end compute counts, too.
//
// A median of the time above 1.1, another epoch or a lost device is exit code 1.
//
// Usage: hostile_bench MODEL.onnx [--rounds N] [--requests N] [--per-second N] [--only KIND]
#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "base/log.h"
#include "cli/model.h"
#include "cli/table.h"
#include "engine/blas_core.h"
#include "tests/fleet/hostile_peers.h"
#include "tests/fleet/plans.h"
#include "tests/fleet/streams.h"

namespace onnx_split {
namespace {

using Clock = std::chrono::steady_clock;
using testing::Attack;
using testing::must;

struct Options {
  ModelOptions model;
  int rounds = 15;
  std::uint64_t requests = 150;
  double per_second = 10.0;
  std::string only;
};

constexpr double kLimit = 1.1;

double quantile(std::vector<double>& values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double process_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Does something PER_SECOND times a second on a thread of its own, until it is stopped.
class Repeater {
 public:
  Repeater(double per_second, std::function<void()> what) {
    thread_ = std::thread([this, what = std::move(what), per_second] {
      const auto period = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1.0 / per_second));
      // What was late isn't made up for: more than a few at once are refused before they cost anything.
      for (Clock::time_point next = Clock::now(); !stopped_; next = std::max(next, Clock::now() - period) + period) {
        what();
        std::this_thread::sleep_until(next);
      }
      processor_s_ = thread_seconds();
    });
  }
  ~Repeater() { stop(); }
  Repeater(const Repeater&) = delete;
  Repeater& operator=(const Repeater&) = delete;

  // Returns the processor time that the thread has had.
  double stop() {
    stopped_ = true;
    if (thread_.joinable()) thread_.join();
    return processor_s_;
  }

 private:
  std::atomic<bool> stopped_{false};
  double processor_s_ = 0.0;
  std::thread thread_;
};

// Acts, and keeps those that would stay connected: two lots of 500, renewed every ten seconds.
class Attacker {
 public:
  Attacker(const Attack& attack, const testing::HostileScene& scene) : attack_(&attack), scene_(&scene) {}
  void operator()() {
    if (kept_.size() == 2 && Clock::now() - renewed_ < std::chrono::seconds(10)) return;
    auto one = attack_->act(*scene_);
    ++acts_;
    if (one) kept_.push_back(std::move(one));
    if (kept_.size() > 2) kept_.pop_front();
    if (kept_.size() == 2) renewed_ = Clock::now();
  }
  int acts() const { return acts_; }

 private:
  const Attack* attack_;
  const testing::HostileScene* scene_;
  std::deque<std::shared_ptr<void>> kept_;
  int acts_ = 0;
  Clock::time_point renewed_;
};

void compute_for(double seconds) {
  const double end = thread_seconds() + seconds;
  while (thread_seconds() < end) {
  }
}

Expected<void> report(const Options& options) {
  TRY_ASSIGN(const Graph graph, load_model(options.model));
  const testing::Questions questions(graph);
  testing::HostileScene scene(3);
  const Plan plan = testing::plan_of(graph, testing::device_names(3));
  CoordinatorOptions coordinator_options;
  coordinator_options.watch.identity = scene.boss();
  coordinator_options.watch.heartbeat_timeout = std::chrono::seconds(10);  // the machine may have other things to do
  TRY_ASSIGN(const auto coordinator, Coordinator::deploy(graph, plan, scene.urls(), coordinator_options));
  scene.look_at(graph, plan, 1);
  const auto seconds = [&] {
    const Clock::time_point begin = Clock::now();
    const auto streamed = testing::stream(*coordinator, questions, options.requests, [](std::uint64_t) {});
    if (streamed.right != options.requests) {
      fmt::print(stderr, "{} of {} results are right; {}\n", streamed.right, options.requests,
                 streamed.errors.empty() ? "none is missing" : streamed.errors.front());
      std::exit(1);
    }
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  seconds();
  Table table(
      {"peer", ">requests per s", ">with it", ">time", ">quartiles", ">processor time", ">quartiles", ">ms each"});
  std::vector<std::string> slow;
  for (const Attack& attack : testing::attacks()) {
    if (!options.only.empty() && attack.name != options.only) continue;
    std::vector<double> alone;
    std::vector<double> with;
    std::vector<double> times;
    std::vector<double> processor_times;
    std::vector<double> ms_each;
    for (int round = 0; round < options.rounds; ++round) {
      double begin = process_seconds();
      auto attacker = std::make_unique<Attacker>(attack, scene);
      Repeater attacking(options.per_second, std::ref(*attacker));
      with.push_back(seconds());
      const double of_attacker = attacking.stop();
      const double processor_with = process_seconds() - begin - of_attacker;
      const int acts = attacker->acts();
      attacker.reset();  // who stays connected goes before the others begin
      begin = process_seconds();
      const double each = of_attacker / with.back() / options.per_second;
      Repeater computing(options.per_second, [each] { compute_for(each); });
      alone.push_back(seconds());
      const double processor_alone = process_seconds() - begin - computing.stop();
      times.push_back(with.back() / alone.back());
      processor_times.push_back(processor_with / processor_alone);
      ms_each.push_back((processor_with - processor_alone) * 1e3 / std::max(acts, 1));
    }
    const auto rate = [&](std::vector<double>& all) {
      return fmt::format("{:.1f}", static_cast<double>(options.requests) / quantile(all, 0.5));
    };
    const auto middle = [](std::vector<double>& all) { return fmt::format("{:.3f}", quantile(all, 0.5)); };
    const auto quartiles = [](std::vector<double>& all) {
      return fmt::format("{:.2f}-{:.2f}", quantile(all, 0.25), quantile(all, 0.75));
    };
    table.add({attack.name, rate(alone), rate(with), middle(times), quartiles(times), middle(processor_times),
               quartiles(processor_times), fmt::format("{:.2f}", quantile(ms_each, 0.5))});
    fmt::print(stderr, "{}: {} {}\n", attack.name, middle(times), middle(processor_times));
    if (quantile(times, 0.5) > kLimit) slow.push_back(attack.name);
  }
  fmt::print("{}", table.to_string());
  const CoordinatorCounts counts = coordinator->counts();
  fmt::print("epochs {}, losses {}\n", counts.epochs, counts.losses);
  if (counts.epochs != 1 || counts.losses != 0) return fail(ErrorCode::kInvalid, "a peer has ended an epoch");
  if (slow.empty()) return {};
  return fail(ErrorCode::kInvalid, "slower by more than {:.0f} %: {}", (kLimit - 1.0) * 100.0, fmt::join(slow, ", "));
}

}  // namespace
}  // namespace onnx_split

int main(int argc, char** argv) {
  using namespace onnx_split;
  ensure_blas_core(argv);
  if (!configure_log("hostile_bench", "off")) return 1;
  CLI::App app("How much hostile peers slow down a stream of requests");
  Options options;
  add_model_options(app, options.model);
  app.add_option("--rounds", options.rounds)->check(CLI::Range(1, 1000));
  app.add_option("--requests", options.requests)->check(CLI::Range(1, 1000000));
  app.add_option("--per-second", options.per_second)->check(CLI::Range(0.1, 15.0));  // Door::kMostFailures
  std::vector<std::string> kinds;
  for (const auto& attack : onnx_split::testing::attacks()) kinds.push_back(attack.name);
  app.add_option("--only", options.only)->check(CLI::IsMember(kinds));
  CLI11_PARSE(app, argc, argv);
  if (const auto done = report(options); !done) {
    fmt::print(stderr, "hostile_bench: {}\n", done.error().message);
    return 1;
  }
  return 0;
}
