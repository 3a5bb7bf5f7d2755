#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <numeric>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/table.h"
#include "partition/plan_json.h"
#include "partition/simulate.h"

namespace onnx_split {
namespace {

struct Options {
  std::string plan;
  std::string scenario = "single-stream";                            // as bench has it
  SimulationOptions simulation{Scenario::kOffline, 0.0, 0, 1, 0.0};  // requests 0: as many as show the steady state
  bool json = false;
};

std::size_t default_requests(const Plan& plan) {
  constexpr std::size_t kLeast = 1000, kWindows = 8;
  return std::clamp(kWindows * plan.window, kLeast, kMostSimulatedRequests);
}

LoadReport to_load_report(const SimulationReport& report) {
  LoadReport load;
  load.requests = report.requests;
  load.throughput_per_s = report.throughput_per_s;
  for (const double seconds : report.latency_s) load.latency_ms.push_back(seconds * 1e3);
  return load;
}

void print_json(const Plan& plan, const SimulationReport& report, std::string_view scenario) {
  const LoadReport load = to_load_report(report);
  Json busy = Json::array();
  for (std::size_t d = 0; d < plan.devices.size(); ++d) {
    busy.push_back({{"device", plan.devices[d]}, {"busy", report.busy[d]}});
  }
  const Json json = {{"model", plan.model},
                     {"scenario", scenario},
                     {"requests", load.requests},
                     {"throughput_per_s", load.throughput_per_s},
                     {"latency_ms",
                      {{"min", load.latency_ms.front()},
                       {"mean", load.mean_ms()},
                       {"p50", load.percentile_ms(50)},
                       {"p90", load.percentile_ms(90)},
                       {"p99", load.percentile_ms(99)},
                       {"max", load.latency_ms.back()}}},
                     {"events_per_request", report.events_per_request},
                     {"busy", std::move(busy)}};
  fmt::print("{}\n", to_text(json, 1));
}

void print_text(const Plan& plan, const SimulationReport& report, std::string_view scenario) {
  const LoadReport load = to_load_report(report);
  fmt::print("{}, simulated on {} devices, {}: {} requests, at most {} in flight\n", plan.model, plan.devices.size(),
             scenario, load.requests, plan.window);
  fmt::print("throughput  {:.4g} per s (predicted at full load: {:.4g})\n", load.throughput_per_s,
             plan.prediction->throughput_per_s);
  fmt::print("latency     min {:.2f}  mean {:.2f}  p50 {:.2f}  p90 {:.2f}  p99 {:.2f}  max {:.2f} ms\n",
             load.latency_ms.front(), load.mean_ms(), load.percentile_ms(50), load.percentile_ms(90),
             load.percentile_ms(99), load.latency_ms.back());
  std::vector<std::size_t> order(plan.devices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return report.busy[a] > report.busy[b]; });
  constexpr std::size_t kMost = 8;
  Table table({"busiest devices", ">busy"});
  for (std::size_t i = 0; i < std::min(kMost, order.size()); ++i) {
    table.add({plan.devices[order[i]], fmt::format("{:.1f} %", report.busy[order[i]] * 100.0)});
  }
  fmt::print("{}", table.to_string());
  if (order.size() > kMost) {
    fmt::print("the other {}: {:.1f} to {:.1f} %\n", order.size() - kMost, report.busy[order.back()] * 100.0,
               report.busy[order[kMost]] * 100.0);
  }
}

Expected<void> run(Options options) {
  TRY_ASSIGN(options.simulation.scenario, scenario_from_name(options.scenario));
  TRY_ASSIGN(const Plan plan, read_plan(options.plan));
  if (options.simulation.requests == 0) options.simulation.requests = default_requests(plan);
  auto report = simulate(plan, options.simulation);
  if (!report) return fail_in(options.plan, std::move(report.error()));
  options.json ? print_json(plan, *report, options.scenario) : print_text(plan, *report, options.scenario);
  return {};
}

}  // namespace

Command add_simulate(CLI::App& program, const CommonOptions&) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("simulate", "simulate a plan under a load, without its devices");
  command->add_option("--plan", options->plan, "the plan, with the prediction that `plan` gave it")
      ->type_name("PLAN.json")
      ->required();
  command->add_option("--scenario", options->scenario, "single-stream, server or offline")
      ->check(CLI::IsMember({"single-stream", "server", "offline"}))
      ->capture_default_str();
  auto* rate =
      command->add_option("--rate", options->simulation.rate_per_s, "requests a second (with --scenario server)")
          ->type_name("PER_S")
          ->check(CLI::PositiveNumber);
  command->add_option("--requests", options->simulation.requests, "how many; by default 1000, and at least 8 windows")
      ->type_name("N")
      ->check(CLI::Range(std::size_t{1}, kMostSimulatedRequests));
  command->add_option("--seed", options->simulation.seed, "of the arrival times")
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_option("--jitter", options->simulation.jitter,
                   "each part's time varies by up to this share of it, at random")
      ->type_name("SHARE")
      ->check(CLI::Range(0.0, 0.99))
      ->capture_default_str();
  command->add_flag("--json", options->json, "as JSON");
  command->final_callback([options, rate] {
    if ((options->scenario == "server") != (rate->count() > 0)) {
      throw CLI::ValidationError("--rate goes with --scenario server, and --scenario server with --rate");
    }
  });
  command->footer("Example:\n  onnx-split simulate --plan plan.json --scenario server --rate 20");
  return [options] { return run(*options); };
}

}  // namespace onnx_split
