// How long results stay away when a device is lost or pauses while requests stream through a layer with spare parts
// (parity, standby) and, for comparison, without: a table of the median time between results (the period), the largest
// one before and after the fault, and both in periods. The runners are processes of this machine, or devices of an
// emulated cluster, each with a processor share of its own. On this machine more of them compute than there are cores,
// and results come unevenly as it is: unless requests come more slowly than they could be answered (--every). With
// parity a gap of 2 periods or more when a device is killed, or 1.5 when it pauses, is exit code 1. Usage: gaps_bench
// [--requests N] [--every MS] [--rounds N] [--only SPARE] [--pi-cluster PREFIX]
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <future>
#include <memory>
#include <stdexcept>
#include <thread>

#include "base/log.h"
#include "base/random.h"
#include "engine/blas_core.h"
#include "fleet/coordinator.h"
#include "graph/builder.h"
#include "graph/zoo/zoo.h"
#include "tests/fleet/plans.h"
#include "tests/fleet/victims.h"

namespace onnx_split {
namespace {

using testing::Fault;

using Clock = std::chrono::steady_clock;

// Of the layer "b" three halves on two cores take over 50 ms, where a core does 200 GFLOP/s. A part takes 2.4 MB and
// gives 1.2: what "d0" sends and receives is little beside it. Where that device is as busy as the others, results come
// unevenly without any fault.
Expected<Graph> make_network() {
  constexpr std::int64_t kSide = 48, kChannels = 256;
  Random random(1);
  GraphBuilder builder("gaps");
  const auto conv = [&](const std::string& name, ValueId input, std::int64_t kernel) -> Expected<ValueId> {
    const std::int64_t before = builder.value(input).shape()[1];
    TensorBuilder weights({DataType::kFloat32, {kChannels, before, kernel, kernel}});
    for (float& value : weights.as<float>()) value = random.uniform(-0.05F, 0.05F);
    TRY_ASSIGN(const ValueId w, builder.add_constant("w_" + name, std::move(weights).build()));
    Attributes attributes;
    attributes.set("kernel_shape", Ints{kernel, kernel});
    attributes.set("pads", Ints(4, kernel / 2));
    return builder.add(name, OpType::kConv, std::move(attributes), {input, w});
  };
  TRY_ASSIGN(const ValueId input, builder.add_input("x", {DataType::kFloat32, {1, 3, kSide, kSide}}));
  TRY_ASSIGN(const ValueId a, conv("a", input, 3));
  TRY_ASSIGN(const ValueId relu_a, builder.add("relu_a", OpType::kRelu, {}, {a}));
  TRY_ASSIGN(const ValueId b, conv("b", relu_a, 7));
  TRY_ASSIGN(const ValueId relu_b, builder.add("relu_b", OpType::kRelu, {}, {b}));
  TRY_ASSIGN(const ValueId pool, builder.add("y", OpType::kGlobalAveragePool, {}, {relu_b}));
  return std::move(builder).build({pool});
}

std::vector<StageRequest> stages_with(Spare spare) {
  StageRequest front, middle, rest;
  front.until = {"relu_a"};
  middle.until = {"b"};
  middle.split = Split::kOutputChannel;
  middle.ways = 2;
  middle.spare = spare;
  front.devices = rest.devices = {"d0"};
  middle.devices = {"d1", "d2"};
  if (spare != Spare::kNone) middle.devices.emplace_back("d3");
  if (spare == Spare::kStandby) middle.devices.emplace_back("d4");
  return {front, middle, rest};
}

// The plan for the devices that are left, as a planner would choose it: the same cut, with a spare part if there are
// enough for one. Equal stages, where "b" is on one device, would be twice as slow.
std::vector<StageRequest> stages_without(Spare spare, const std::vector<std::string>& left) {
  if (spare == Spare::kNone) return {};
  std::vector<StageRequest> stages = stages_with(left.size() > 3 ? Spare::kParity : Spare::kNone);
  stages[0].devices = stages[2].devices = {left[0]};
  stages[1].devices.assign(left.begin() + 1, left.end());
  return stages;
}

struct Gaps {
  double period_ms = 0.0;
  double largest_before_ms = 0.0;  // without any fault
  double largest_ms = 0.0;
  std::size_t errors = 0;
};

struct Case {
  Spare spare;
  Fault fault;
  std::size_t victim;
};

struct Load {
  std::size_t requests = 200;
  std::chrono::milliseconds every{};  // at least, from one request to the next
};

// `prefix`: of the emulated cluster; empty: on this machine.
Expected<Gaps> measure(const Graph& graph, const Case& of, const Load& load, const std::string& prefix) {
  const std::vector<StageRequest> stages = stages_with(of.spare);
  const std::vector<std::string> devices = testing::device_names(stages[1].devices.size() + 1);
  const std::unique_ptr<testing::Victims> victims =
      prefix.empty() ? testing::local_victims(devices.size(), testing::Between::kNobody)
                     : testing::cluster_victims(prefix, devices.size());
  CoordinatorOptions options;
  options.replan = [&](const std::vector<std::string>& left, const auto&) -> Expected<Plan> {
    return testing::plan_of(graph, left, stages_without(of.spare, left));
  };
  const Plan plan = testing::plan_of(graph, devices, stages);
  TRY_ASSIGN(const auto coordinator, Coordinator::deploy(graph, plan, victims->urls(), options));
  const std::vector<Tensor> inputs{zoo::random_input(graph.value(graph.inputs()[0]).shape(), 1)};
  Gaps gaps;
  std::vector<double> before;
  std::deque<std::future<Result>> pending;
  Clock::time_point last;
  std::future<void> struck;
  const std::size_t fault = load.requests / 2;
  Clock::time_point due = Clock::now();
  for (std::size_t sent = 0, taken = 0; taken < load.requests;) {
    const bool may_send = sent < load.requests && pending.size() < coordinator->window();
    if (may_send && (pending.empty() || pending.front().wait_until(due) == std::future_status::timeout)) {
      std::this_thread::sleep_until(due);
      due = std::max(due + load.every, Clock::now());
      pending.push_back(coordinator->submit(inputs));
      if (++sent != fault) continue;
      // Beside the stream: on a cluster that takes a while.
      struck = std::async(std::launch::async, [&] { victims->strike(of.fault, of.victim); });
      continue;
    }
    gaps.errors += pending.front().get() ? 0 : 1;
    pending.pop_front();
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - last).count();
    last = Clock::now();
    ++taken;
    if (taken <= coordinator->window()) continue;  // until the pipeline is full
    if (sent < fault) before.push_back(ms);
    if (sent >= fault) gaps.largest_ms = std::max(gaps.largest_ms, ms);
  }
  struck.get();
  gaps.largest_before_ms = *std::max_element(before.begin(), before.end());
  std::nth_element(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(before.size() / 2), before.end());
  gaps.period_ms = before[before.size() / 2];
  return gaps;
}

// With parity, in periods.
double limit_of(Fault fault) { return fault == Fault::kKill ? 2.0 : 1.5; }

Expected<void> run(const Load& load, int rounds, const std::string& only, const std::string& prefix) {
  TRY_ASSIGN(const Graph graph, make_network());
  std::size_t measured = 0, missed = 0;
  const auto print = [](const auto&... cells) {
    fmt::print("{:<8} {:<11} {:>6} {:>10} {:>15} {:>8} {:>7} {:>7}\n", cells...);
    std::fflush(stdout);
  };
  print("spare", "fault", "device", "period ms", "largest gap ms", "periods", "before", "errors");
  for (int round = 0; round < rounds; ++round) {
    for (const Spare spare : {Spare::kParity, Spare::kStandby, Spare::kNone}) {
      if (!only.empty() && only != spare_name(spare)) continue;
      for (const Fault fault : {Fault::kKill, Fault::kStop}) {
        for (std::size_t victim = 1; victim < stages_with(spare)[1].devices.size() + 1; ++victim) {
          TRY_ASSIGN(const Gaps gaps, measure(graph, {spare, fault, victim}, load, prefix));
          const auto in_periods = [&](double ms) { return fmt::format("{:.2f}", ms / gaps.period_ms); };
          print(spare_name(spare), fault == Fault::kKill ? "killed" : "paused 3 s", victim,
                fmt::format("{:.1f}", gaps.period_ms), fmt::format("{:.1f}", gaps.largest_ms),
                in_periods(gaps.largest_ms), in_periods(gaps.largest_before_ms), gaps.errors);
          if (gaps.errors > 0) return fail(ErrorCode::kUnavailable, "{} requests had no result", gaps.errors);
          if (spare != Spare::kParity) continue;
          ++measured;
          if (gaps.largest_ms >= limit_of(fault) * gaps.period_ms) ++missed;
        }
      }
    }
  }
  if (missed == 0) return {};
  return fail(ErrorCode::kInvalid, "{} of {} gaps with parity were too large: {} periods if killed, {} if paused",
              missed, measured, limit_of(Fault::kKill), limit_of(Fault::kStop));
}

}  // namespace
}  // namespace onnx_split

int main(int argc, char** argv) {
  CLI::App program("the largest gap between results when a device of a layer with spare parts is lost or pauses");
  onnx_split::Load load;
  int every = 0, rounds = 1;
  program.add_option("--requests", load.requests, "of each case; the fault comes after half of them")
      ->check(CLI::Range(60, 100000));
  program.add_option("--rounds", rounds, "how often each case is measured")->check(CLI::PositiveNumber);
  program.add_option("--every", every, "ms from one request to the next; default 0: as fast as they are answered")
      ->check(CLI::Range(0, 60000));
  std::string only, prefix;
  program.add_option("--only", only, "one of the spare parts")->check(CLI::IsMember({"parity", "standby", "none"}));
  program.add_option("--pi-cluster", prefix,
                     "the prefix of an emulated cluster of five devices that is up; scripts/pi-cluster is in PATH");
  CLI11_PARSE(program, argc, argv);
  load.every = std::chrono::milliseconds(every);
  try {
    onnx_split::testing::must(onnx_split::configure_log("gaps_bench", "off"));
    onnx_split::testing::must(onnx_split::run(load, rounds, only, prefix));
    return 0;
  } catch (const std::exception& error) {  // of the tests' helpers, too
    fmt::print(stderr, "gaps_bench: {}\n", error.what());
    return 1;
  }
}
