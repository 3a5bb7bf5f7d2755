// How long planning takes, and how near its plans come to the lower bound, by network and cluster. Times are of one
// core. Counters: gap (the plan's period or latency over the bound, less 1), stages, and devices used.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

#include "graph/passes/passes.h"
#include "graph/zoo/zoo.h"
#include "partition/search.h"

namespace onnx_split {
namespace {

enum class Fleet { kEqual, kDifferent, kFiveKinds };

Cluster make_cluster(Fleet fleet, std::size_t devices, std::uint64_t memory_bytes) {
  Cluster cluster;
  for (std::size_t i = 0; i < devices; ++i) {
    Device device;
    device.name = fmt::format("pi{:04}", i);
    device.memory_bytes = memory_bytes;
    switch (fleet) {
      case Fleet::kEqual: device.gflops = 10.0; break;
      case Fleet::kDifferent: device.gflops = 4.0 + 1.3 * static_cast<double>(i); break;
      case Fleet::kFiveKinds: device.gflops = 4.0 * static_cast<double>(1 + i % 5); break;
    }
    cluster.devices.push_back(std::move(device));
  }
  cluster.link = {940.0, 0.3};
  return cluster;
}

struct Case {
  std::string network;
  Fleet fleet;
  std::size_t devices;
  std::uint64_t memory_mb;  // 0: no limit
  Objective objective;
  bool replicas;
};

void plan(benchmark::State& state, const Case& given) {
  auto structure = zoo::structure(given.network);
  if (!structure) return state.SkipWithError(structure.error().message.c_str());
  auto graph = simplify(*structure);
  if (!graph) return state.SkipWithError(graph.error().message.c_str());
  const Cluster cluster = make_cluster(given.fleet, given.devices, given.memory_mb * 1'000'000);
  SearchOptions options;
  options.objective = given.objective;
  options.space.replicas = given.replicas;
  for (auto _ : state) {
    auto model = make_cluster_model(*graph, cluster, nullptr);
    if (!model) return state.SkipWithError(model.error().message.c_str());
    StageShapes shapes(*graph, *model, candidate_cuts(*graph, kMostCuts));
    const CostModel cost(*model, shapes);
    const auto found = search(cost, options);
    if (!found) return state.SkipWithError(found.error().message.c_str());
    state.counters["gap"] = objective_s(found->cost, options) / found->bound_s - 1.0;
    state.counters["stages"] = static_cast<double>(found->candidate.size());
    state.counters["speedup"] =
        objective_s(best_alone(cost, options).cost, options) / objective_s(found->cost, options);
    state.SetLabel(found->exact ? "complete" : "bounded");
  }
}

void add(const std::string& name, const Case& given) {
  benchmark::RegisterBenchmark(name.c_str(), [given](benchmark::State& state) { plan(state, given); })
      ->Unit(benchmark::kMillisecond)
      ->Iterations(1);
}

void add_all() {
  using enum Fleet;
  const auto throughput = Objective::kThroughput;
  const auto latency = Objective::kLatency;
  add("resnet50/12_different", {"resnet50", kDifferent, 12, 0, throughput, true});
  add("resnet50/12_different/no_replicas", {"resnet50", kDifferent, 12, 0, throughput, false});
  add("resnet50/12_different/64MB", {"resnet50", kDifferent, 12, 64, throughput, true});
  add("resnet101/64_equal", {"resnet101", kEqual, 64, 0, throughput, true});
  add("resnet101/64_equal/100MB", {"resnet101", kEqual, 64, 100, throughput, true});
  add("resnet101/1000_five_kinds", {"resnet101", kFiveKinds, 1000, 0, throughput, true});
  add("resnet101/1000_five_kinds/100MB", {"resnet101", kFiveKinds, 1000, 100, throughput, true});
  for (const std::size_t devices : {2, 4, 8}) {
    for (const char* network : {"alexnet", "vgg16", "resnet50", "mobilenet_v2"}) {
      const std::string name = fmt::format("{}/{}_equal", network, devices);
      add(name, {network, kEqual, devices, 0, throughput, true});
      add(name + "/no_replicas", {network, kEqual, devices, 0, throughput, false});
      add(name + "/latency", {network, kEqual, devices, 0, latency, true});
    }
  }
  add("alexnet/8_equal/120MB", {"alexnet", kEqual, 8, 120, throughput, true});
  add("vgg16/8_equal/220MB", {"vgg16", kEqual, 8, 220, throughput, true});
  add("resnet50/8_equal/64MB", {"resnet50", kEqual, 8, 64, throughput, true});
  for (const std::size_t devices : {16, 64, 256, 1000}) {
    add(fmt::format("resnet101/{}_five_kinds/120MB", devices),
        {"resnet101", kFiveKinds, devices, 120, throughput, true});
  }
}

}  // namespace
}  // namespace onnx_split

int main(int argc, char** argv) {
  onnx_split::add_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
