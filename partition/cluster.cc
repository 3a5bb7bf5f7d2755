#include "partition/cluster.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <utility>

#include "base/file.h"
#include "partition/yaml_reader.h"

namespace onnx_split {
namespace {

constexpr double kMaxBandwidthMbps = 1e6;
constexpr double kMaxLatencyMs = 1e5;

Expected<double> number_or(const YamlReader& reader, std::string_view key, double fallback, double min, double max) {
  if (!reader.has(key)) return fallback;
  TRY_ASSIGN(const YamlReader field, reader.at(key));
  return field.number(min, max);
}

Expected<Device> read_device(const YamlReader& reader) {
  TRY(reader.check_keys({"name", "address", "memory", "threads", "gflops"}));
  Device device;
  TRY_ASSIGN(const YamlReader name, reader.at("name"));
  TRY_ASSIGN(device.name, name.string());
  if (device.name.empty()) return name.error("expected a name");
  TRY_ASSIGN(const YamlReader address, reader.at("address"));
  TRY_ASSIGN(device.address, address.string());
  device.place = address.place();
  if (reader.has("memory")) {
    TRY_ASSIGN(const YamlReader memory, reader.at("memory"));
    TRY_ASSIGN(const std::string text, memory.string());
    auto bytes = parse_size_bytes(text);
    if (!bytes) return memory.error(bytes.error().message);
    device.memory_bytes = *bytes;
  }
  if (reader.has("threads")) {
    TRY_ASSIGN(const YamlReader threads, reader.at("threads"));
    TRY_ASSIGN(const std::int64_t count, threads.integer(1, 1024));
    device.threads = static_cast<unsigned>(count);
  }
  TRY_ASSIGN(device.gflops, number_or(reader, "gflops", 0.0, 1e-3, 1e6));
  return device;
}

Expected<Link> read_link(const YamlReader& reader) {
  Link link;
  TRY_ASSIGN(link.bandwidth_mbps, number_or(reader, "bandwidth_mbps", 0.0, 1e-3, kMaxBandwidthMbps));
  TRY_ASSIGN(link.latency_ms, number_or(reader, "latency_ms", 0.0, 0.0, kMaxLatencyMs));
  return link;
}

Expected<std::string> device_name(const YamlReader& reader, std::string_view key, const std::set<std::string>& names) {
  TRY_ASSIGN(const YamlReader field, reader.at(key));
  TRY_ASSIGN(std::string name, field.string());
  if (!names.contains(name)) return field.error(fmt::format("no device is named \"{}\"", name));
  return name;
}

}  // namespace

Expected<std::uint64_t> parse_size_bytes(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, double>, 8> kUnits = {{{"", 1.0},
                                                                                 {"B", 1.0},
                                                                                 {"KB", 1e3},
                                                                                 {"MB", 1e6},
                                                                                 {"GB", 1e9},
                                                                                 {"KiB", 1024.0},
                                                                                 {"MiB", 1048576.0},
                                                                                 {"GiB", 1073741824.0}}};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  const auto found = std::find_if(kUnits.begin(), kUnits.end(), [&](const auto& u) { return u.first == unit; });
  if (error != std::errc{} || found == kUnits.end() || !(number > 0) || number * found->second > 1e15) {
    return fail(ErrorCode::kInvalid, "expected a size like 900MB or 2GiB, found \"{}\"", text);
  }
  return static_cast<std::uint64_t>(number * found->second);
}

Expected<Cluster> parse_cluster(std::string_view text, const std::string& file_name) {
  TRY_ASSIGN(const YamlReader root, YamlReader::parse(text, file_name));
  TRY(root.check_keys({"devices", "link", "links", "coordinator"}));
  Cluster cluster;
  TRY_ASSIGN(const YamlReader devices, root.at("devices"));
  TRY_ASSIGN(const std::vector<YamlReader> elements, devices.elements());
  if (elements.empty()) return devices.error("no devices");
  std::set<std::string> names;
  for (const YamlReader& element : elements) {
    TRY_ASSIGN(Device device, read_device(element));
    if (!names.insert(device.name).second)
      return element.error(fmt::format("name: \"{}\" is given twice", device.name));
    cluster.devices.push_back(std::move(device));
  }
  if (root.has("link")) {
    TRY_ASSIGN(const YamlReader link, root.at("link"));
    TRY(link.check_keys({"bandwidth_mbps", "latency_ms", "shared"}));
    TRY_ASSIGN(cluster.link, read_link(link));
    if (link.has("shared")) {
      TRY_ASSIGN(const YamlReader shared, link.at("shared"));
      TRY_ASSIGN(cluster.shared, shared.boolean());
    }
  }
  if (root.has("coordinator")) {
    TRY_ASSIGN(const YamlReader coordinator, root.at("coordinator"));
    TRY(coordinator.check_keys({"bandwidth_mbps"}));
    TRY_ASSIGN(cluster.coordinator, read_link(coordinator));
  }
  if (root.has("links")) {
    TRY_ASSIGN(const YamlReader links, root.at("links"));
    TRY_ASSIGN(const std::vector<YamlReader> exceptions, links.elements());
    for (const YamlReader& exception : exceptions) {
      TRY(exception.check_keys({"from", "to", "bandwidth_mbps", "latency_ms"}));
      LinkException link;
      TRY_ASSIGN(link.from, device_name(exception, "from", names));
      TRY_ASSIGN(link.to, device_name(exception, "to", names));
      TRY_ASSIGN(link.link, read_link(exception));
      cluster.links.push_back(std::move(link));
    }
  }
  return cluster;
}

Expected<Cluster> read_cluster_file(const std::filesystem::path& path) {
  TRY_ASSIGN(const std::string text, read_file(path, 4 << 20));
  return parse_cluster(text, path.string());
}

}  // namespace onnx_split
