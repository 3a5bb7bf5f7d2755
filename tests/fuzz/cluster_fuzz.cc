// Cluster files. What is read is in range and refers to devices that there are; a plan can be predicted for it.

#include <cmath>
#include <set>

#include "base/check.h"
#include "partition/cluster.h"
#include "partition/cluster_model.h"
#include "partition/predict.h"
#include "tests/fuzz/example.h"
#include "tests/fuzz/fuzz.h"
#include "transport/url.h"

using namespace onnx_split;

namespace {

void check_link(const Link& link) {
  CHECK(std::isfinite(link.bandwidth_mbps) && link.bandwidth_mbps >= 0.0);
  CHECK(std::isfinite(link.latency_ms) && link.latency_ms >= 0.0);
}

void check_cluster(const Cluster& cluster) {
  CHECK(!cluster.devices.empty());
  std::set<std::string> names;
  for (const Device& device : cluster.devices) {
    CHECK(!device.name.empty() && names.insert(device.name).second);
    CHECK(device.threads >= 1 && device.threads <= 1024 && device.memory_bytes <= 1'000'000'000'000'000);
    CHECK(std::isfinite(device.gflops) && device.gflops >= 0.0);
    if (const auto url = transport::parse_url(device.address)) {
      const auto again = transport::parse_url(url->text());
      CHECK(again.has_value() && *again == *url);
    }
  }
  check_link(cluster.link);
  check_link(cluster.coordinator);
  for (const LinkException& exception : cluster.links) {
    CHECK(names.contains(exception.from) && names.contains(exception.to));
    check_link(exception.link);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto cluster = parse_cluster(fuzz::text_of(data, size), "cluster.yaml");
  if (!cluster) return 0;
  check_cluster(*cluster);
  const auto model = make_cluster_model(fuzz::example_graph(), *cluster, nullptr);
  if (!model || cluster->devices.size() > 8) return 0;
  Plan plan = fuzz::example_plans().back();
  while (plan.devices.size() < cluster->devices.size()) plan.devices.push_back(std::to_string(plan.devices.size()));
  if (plan.devices.size() > cluster->devices.size()) return 0;
  if (!predict(fuzz::example_graph(), *model, plan)) return 0;
  CHECK(std::isfinite(plan.prediction->throughput_per_s) && std::isfinite(plan.prediction->latency_s));
  return 0;
}
