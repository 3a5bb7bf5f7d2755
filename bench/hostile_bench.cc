// How much a stream of requests over TLS is slowed down by each kind of hostile peer (tests/fleet/hostile_peers.h): 3
// runners, coordinator and peers on this machine, the window full. Each round measures requests alone, then with one
// peer of the kind after the other, PER_SECOND of them a second (1,000 silent ones stay connected, and come again when
// they are cut off). Prints the median over the rounds of time with / time alone. What the peers themselves compute
// counts, too: here they share the cores. Usage: hostile_bench MODEL.onnx [--rounds N] [--requests N] [--per-second N]
// [--only KIND]
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
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
  int rounds = 7;
  std::uint64_t requests = 600;
  double per_second = 10.0;
  std::string only;
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Acts on a thread of its own as long as it lives.
class Attacker {
 public:
  Attacker(const Attack& attack, const testing::HostileScene& scene, double per_second) {
    thread_ = std::thread([this, &attack, &scene, per_second] {
      const auto period = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1.0 / per_second));
      std::deque<std::shared_ptr<void>> kept;
      for (Clock::time_point next = Clock::now(); !stopped_; next += period) {
        // Those that stay connected: two lots of 500, renewed every ten seconds.
        if (kept.size() < 2 || Clock::now() - renewed_ > std::chrono::seconds(10)) {
          auto one = attack.act(scene);
          if (one) kept.push_back(std::move(one));
          if (kept.size() > 2) kept.pop_front();
          if (kept.size() == 2) renewed_ = Clock::now();
        }
        std::this_thread::sleep_until(next);
      }
    });
  }
  ~Attacker() {
    stopped_ = true;
    thread_.join();
  }
  Attacker(const Attacker&) = delete;
  Attacker& operator=(const Attacker&) = delete;

 private:
  std::atomic<bool> stopped_{false};
  Clock::time_point renewed_;
  std::thread thread_;
};

Expected<void> report(const Options& options) {
  TRY_ASSIGN(const Graph graph, load_model(options.model));
  const testing::Questions questions(graph);
  testing::HostileScene scene(3);
  const Plan plan = testing::plan_of(graph, testing::device_names(3));
  CoordinatorOptions coordinator_options;
  coordinator_options.watch.identity = scene.boss();
  TRY_ASSIGN(const auto coordinator, Coordinator::deploy(graph, plan, scene.urls(), coordinator_options));
  scene.look_at(graph, plan, 1);
  const auto seconds = [&] {
    const Clock::time_point begin = Clock::now();
    const auto streamed = testing::stream(*coordinator, questions, options.requests, [](std::uint64_t) {});
    if (streamed.right != options.requests) {
      fmt::print(stderr, "{} of {} results are right\n", streamed.right, options.requests);
      std::exit(1);
    }
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  seconds();
  Table table({"peer", ">requests per s alone", ">with it", ">time with / alone", ">least", ">most"});
  for (const Attack& attack : testing::attacks()) {
    if (!options.only.empty() && attack.name != options.only) continue;
    std::vector<double> alone;
    std::vector<double> with;
    std::vector<double> ratios;
    for (int round = 0; round < options.rounds; ++round) {
      alone.push_back(seconds());
      const Attacker attacker(attack, scene, options.per_second);
      with.push_back(seconds());
      ratios.push_back(with.back() / alone.back());
    }
    const auto rate = [&](const std::vector<double>& times) {
      return fmt::format("{:.1f}", static_cast<double>(options.requests) / median(times));
    };
    table.add({attack.name, rate(alone), rate(with), fmt::format("{:.3f}", median(ratios)),
               fmt::format("{:.3f}", *std::min_element(ratios.begin(), ratios.end())),
               fmt::format("{:.3f}", *std::max_element(ratios.begin(), ratios.end()))});
    fmt::print(stderr, "{}: {:.3f}\n", attack.name, median(ratios));
  }
  fmt::print("{}", table.to_string());
  const CoordinatorCounts counts = coordinator->counts();
  fmt::print("epochs {}, losses {}\n", counts.epochs, counts.losses);
  return {};
}

}  // namespace
}  // namespace onnx_split

int main(int argc, char** argv) {
  using namespace onnx_split;
  ensure_blas_core(argv);
  spdlog::set_level(spdlog::level::off);
  CLI::App app("How much hostile peers slow down a stream of requests");
  Options options;
  add_model_options(app, options.model);
  app.add_option("--rounds", options.rounds)->check(CLI::Range(1, 1000));
  app.add_option("--requests", options.requests)->check(CLI::Range(1, 1000000));
  app.add_option("--per-second", options.per_second)->check(CLI::PositiveNumber);
  app.add_option("--only", options.only);
  CLI11_PARSE(app, argc, argv);
  if (const auto done = report(options); !done) {
    fmt::print(stderr, "hostile_bench: {}\n", done.error().message);
    return 1;
  }
  return 0;
}
