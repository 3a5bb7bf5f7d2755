// The cluster file: the devices and the links between them, as YAML (docs/cli.md, "cluster file").
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace onnx_split {

struct Device {
  std::string name;
  std::string address;             // of its control port: tcp://10.0.0.11:7070
  std::uint64_t memory_bytes = 0;  // hard limit for weights and activations; 0: none given
  unsigned threads = 1;
  double gflops = 0.0;  // 0: unknown
  std::string place;    // of the address in the file, for errors: "cluster.yaml:3: devices[0].address"
};

struct Link {
  double bandwidth_mbps = 0.0;  // 0: unknown
  double latency_ms = 0.0;
};

struct LinkException {
  std::string from;
  std::string to;
  Link link;
};

struct Cluster {
  std::vector<Device> devices;
  Link link;            // each device's own
  bool shared = false;  // all devices share one medium
  Link coordinator;     // the coordinator's own; bandwidth 0: no limit
  std::vector<LinkException> links;
};

// Errors name the file, the line and the field: typos, duplicate names, unknown devices in links, zero bandwidths.
Expected<Cluster> read_cluster_file(const std::filesystem::path& path);
Expected<Cluster> parse_cluster(std::string_view text, const std::string& file_name);

// "900MB" (10^6), "1GiB" (2^30), "4096" (bytes).
Expected<std::uint64_t> parse_size_bytes(std::string_view text);

}  // namespace onnx_split
