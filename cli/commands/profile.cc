#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>

#include "cli/cluster_file.h"
#include "cli/commands.h"
#include "cli/identity.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "fleet/local_fleet.h"
#include "fleet/measure.h"
#include "partition/cluster.h"
#include "partition/profile_json.h"

namespace onnx_split {
namespace {

struct Options {
  ModelOptions model;
  std::string cluster;
  IdentityOptions identity;
  unsigned threads = 1;
  std::string output;
  bool quick = false;
};

// A device's nodes added up.
Timing sum_of_nodes(const DeviceProfile& device) {
  Timing sum;
  for (const auto& [name, time] : device.nodes) {
    sum.median_ms += time.median_ms;
    sum.low_ms += time.low_ms;
    sum.high_ms += time.high_ms;
  }
  return sum;
}

void print_devices(const Profile& profile, const Graph& graph) {
  Table table({"device", "machine", "core type", ">threads", ">busy ms", ">spread", ">slowdown", ">by the clock ms",
               ">nodes", ">idle memory", ">send", ">receive"});
  const auto cost = [](const MessageCost& of) {
    return fmt::format("{:.1f} us + {:.3f} ns/B", of.message_us, of.byte_ns);
  };
  for (const DeviceProfile& device : profile.devices) {
    const Timing sum = sum_of_nodes(device);
    const double spread = sum.median_ms > 0.0 ? (sum.high_ms - sum.low_ms) / sum.median_ms : 0.0;
    table.add({device.name, device.machine, device.core_type, std::to_string(device.threads),
               fmt::format("{:.3f}", sum.median_ms), fmt::format("{:.1f} %", spread * 100.0),
               fmt::format("{:.2f}", device.slowdown), fmt::format("{:.3f}", sum.median_ms * device.slowdown),
               fmt::format("{} of {}", device.nodes.size(), graph.node_count()),
               human(static_cast<double>(device.idle_memory_bytes), "B"), cost(device.send), cost(device.receive)});
  }
  fmt::print("{}", table.to_string());
}

void print_links(const Profile& profile) {
  if (profile.links.empty()) return;
  std::vector<double> bandwidth_mbps;
  std::vector<double> latency_ms;
  for (const LinkProfile& link : profile.links) {
    bandwidth_mbps.push_back(link.bandwidth_mbps);
    latency_ms.push_back(link.latency_ms);
  }
  Table table({fmt::format("{} links", profile.links.size()), ">min", ">median", ">max"});
  const auto add = [&](const char* what, std::vector<double> values) {
    std::sort(values.begin(), values.end());
    table.add({what, fmt::format("{:.3f}", values.front()), fmt::format("{:.3f}", values[values.size() / 2]),
               fmt::format("{:.3f}", values.back())});
  };
  add("bandwidth Mbit/s", std::move(bandwidth_mbps));
  add("latency ms", std::move(latency_ms));
  fmt::print("\n{}", table.to_string());
}

Expected<Profile> measure(const Graph& graph, const std::vector<MeasuredDevice>& devices,
                          std::shared_ptr<const transport::TlsIdentity> identity, const Options& options,
                          const CommonOptions& common) {
  Progress progress("measuring", common.quiet);
  MeasureOptions measure_options;
  measure_options.identity = std::move(identity);
  measure_options.quick = options.quick;
  measure_options.progress = [&](std::uint64_t done, std::uint64_t total) { progress.update(done, total); };
  measure_options.interrupted = [] { return interrupted(); };
  return measure_profile(graph, devices, measure_options);
}

Expected<void> run(const Options& options, const CommonOptions& common) {
  TRY_ASSIGN(const Graph graph, load_model(options.model));
  std::vector<MeasuredDevice> devices;
  std::optional<LocalFleet> fleet;
  Cluster cluster;
  std::shared_ptr<const transport::TlsIdentity> identity;
  if (options.cluster.empty()) {
    LocalFleetOptions fleet_options;
    fleet_options.threads = options.threads;
    fleet_options.log_level = common.log_level;
    TRY_ASSIGN(LocalFleet started, LocalFleet::start(1, fleet_options));
    fleet.emplace(std::move(started));
    devices.push_back({LocalFleet::device_name(0), fleet->url(0), 0});
  } else {
    TRY_ASSIGN(cluster, read_dialable_cluster(options.cluster));
    TRY_ASSIGN(identity, identity_for(cluster, options.identity));
    for (const Device& device : cluster.devices) devices.push_back({device.name, device.address, device.memory_bytes});
  }
  auto profile = measure(graph, devices, std::move(identity), options, common);
  if (!profile) return tl::unexpected(with_place(std::move(profile.error()), cluster));
  TRY(write_profile(*profile, options.output));
  print_devices(*profile, graph);
  print_links(*profile);
  return {};
}

}  // namespace

Command add_profile(CLI::App& program, const CommonOptions& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("profile", "measure a network's nodes and the links of a cluster");
  add_model_options(*command, options->model);
  auto* cluster =
      command->add_option("--cluster", options->cluster, "measure on the runners of this file (default: this machine)")
          ->type_name("FILE");
  add_identity_options(*command, options->identity);
  command->add_option("--threads", options->threads, "threads on this machine")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->excludes(cluster);  // a cluster's runners were started with theirs
  command->add_option("-o,--output", options->output, "the profile to write")->type_name("PROFILE.json")->required();
  command->add_flag("--quick", options->quick, "measure less: a fraction of the time, and less exact");
  command->footer("Example:\n  onnx-split profile resnet50.onnx --cluster cluster.yaml -o profile.json");
  return [options, &common] { return run(*options, common); };
}

}  // namespace onnx_split
