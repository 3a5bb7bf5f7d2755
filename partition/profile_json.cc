#include "partition/profile_json.h"

#include "base/file.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kProfileFormat = 2;
constexpr std::uint64_t kMaxProfileBytes = 256 << 20;
constexpr double kMaxMs = 1e9;
constexpr double kMaxSlowdown = 1e6;
constexpr double kMaxMeasuredMbps = 1e9;
constexpr std::int64_t kMaxMemoryBytes = std::int64_t{1} << 50;

Json slice_to_json(const SliceTiming& slice) {
  Json json = {{"node", slice.node}, {"split", split_name(slice.split)}, {"fraction", slice.fraction}};
  json.update(timing_to_json(slice.time));
  return json;
}

Expected<SliceTiming> read_slice(const JsonReader& reader) {
  SliceTiming slice;
  TRY_ASSIGN(slice.node, reader.string("node"));
  TRY_ASSIGN(const JsonReader split, reader.at("split"));
  TRY_ASSIGN(const std::string name, split.string());
  const auto known = split_from_name(name);
  if (!known || *known == Split::kChannelPair) {
    return split.expected("whole, spatial, output_channel or input_channel");
  }
  slice.split = *known;
  TRY_ASSIGN(slice.fraction, reader.number("fraction", 0.0, 1.0));
  if (slice.fraction == 0.0) return reader.at("fraction")->expected("a number above 0");
  TRY_ASSIGN(slice.time, timing_from_json(reader));
  return slice;
}

Json cost_to_json(const MessageCost& cost) { return {{"message_us", cost.message_us}, {"byte_ns", cost.byte_ns}}; }

Expected<MessageCost> read_cost(const JsonReader& reader, std::string_view name) {
  TRY_ASSIGN(const JsonReader object, reader.at(name));
  MessageCost cost;
  TRY_ASSIGN(cost.message_us, object.number("message_us", 0.0, kMaxMs));
  TRY_ASSIGN(cost.byte_ns, object.number("byte_ns", 0.0, kMaxMs));
  return cost;
}

Json device_to_json(const DeviceProfile& device) {
  Json nodes = Json::object();
  for (const auto& [name, time] : device.nodes) nodes[name] = timing_to_json(time);
  Json slices = Json::array();
  for (const SliceTiming& slice : device.slices) slices.push_back(slice_to_json(slice));
  return {{"name", device.name},
          {"machine", device.machine},
          {"core_type", device.core_type},
          {"version", device.version},
          {"threads", device.threads},
          {"slowdown", device.slowdown},
          {"quota_ms", device.quota_ms},
          {"period_ms", device.period_ms},
          {"idle_memory_bytes", device.idle_memory_bytes},
          {"reorder_byte_ns", device.reorder_byte_ns},
          {"send", cost_to_json(device.send)},
          {"receive", cost_to_json(device.receive)},
          {"nodes", std::move(nodes)},
          {"slices", std::move(slices)}};
}

Expected<DeviceProfile> read_device(const JsonReader& reader) {
  DeviceProfile device;
  TRY_ASSIGN(device.name, reader.string("name"));
  TRY_ASSIGN(device.machine, reader.string("machine"));
  TRY_ASSIGN(device.core_type, reader.string("core_type"));
  TRY_ASSIGN(device.version, reader.string("version"));
  TRY_ASSIGN(const std::int64_t threads, reader.integer("threads", 1, 1024));
  device.threads = static_cast<unsigned>(threads);
  TRY_ASSIGN(device.slowdown, reader.number("slowdown", 1.0, kMaxSlowdown));
  TRY_ASSIGN(device.quota_ms, reader.number("quota_ms", 0.0, kMaxMs));
  TRY_ASSIGN(device.period_ms, reader.number("period_ms", 0.0, kMaxMs));
  TRY_ASSIGN(device.idle_memory_bytes, reader.integer("idle_memory_bytes", 0, kMaxMemoryBytes));
  TRY_ASSIGN(device.reorder_byte_ns, reader.number("reorder_byte_ns", 0.0, kMaxMs));
  TRY_ASSIGN(device.send, read_cost(reader, "send"));
  TRY_ASSIGN(device.receive, read_cost(reader, "receive"));
  TRY_ASSIGN(const JsonReader nodes, reader.at("nodes"));
  TRY_ASSIGN(const auto members, nodes.members());
  for (const auto& [name, node] : members) {
    TRY_ASSIGN(device.nodes[name], timing_from_json(node));
  }
  TRY_ASSIGN(const JsonReader slices, reader.at("slices"));
  TRY_ASSIGN(const std::vector<JsonReader> elements, slices.elements());
  for (const JsonReader& element : elements) {
    TRY_ASSIGN(SliceTiming slice, read_slice(element));
    device.slices.push_back(std::move(slice));
  }
  return device;
}

Json link_to_json(const LinkProfile& link) {
  return {
      {"from", link.from}, {"to", link.to}, {"latency_ms", link.latency_ms}, {"bandwidth_mbps", link.bandwidth_mbps}};
}

Expected<LinkProfile> read_link_profile(const JsonReader& reader) {
  LinkProfile link;
  TRY_ASSIGN(link.from, reader.string("from"));
  TRY_ASSIGN(link.to, reader.string("to"));
  TRY_ASSIGN(link.latency_ms, reader.number("latency_ms", 0.0, kMaxMs));
  TRY_ASSIGN(link.bandwidth_mbps, reader.number("bandwidth_mbps", 0.0, kMaxMeasuredMbps));
  if (link.bandwidth_mbps == 0.0) return reader.at("bandwidth_mbps")->expected("a number above 0");
  return link;
}

}  // namespace

Json timing_to_json(const Timing& time) {
  return {{"median_ms", time.median_ms}, {"low_ms", time.low_ms}, {"high_ms", time.high_ms}};
}

Expected<Timing> timing_from_json(const JsonReader& reader) {
  Timing time;
  TRY_ASSIGN(time.median_ms, reader.number("median_ms", 0.0, kMaxMs));
  TRY_ASSIGN(time.low_ms, reader.number("low_ms", 0.0, time.median_ms));
  TRY_ASSIGN(time.high_ms, reader.number("high_ms", time.median_ms, kMaxMs));
  return time;
}

Json profile_to_json(const Profile& profile) {
  Json devices = Json::array();
  for (const DeviceProfile& device : profile.devices) devices.push_back(device_to_json(device));
  Json links = Json::array();
  for (const LinkProfile& link : profile.links) links.push_back(link_to_json(link));
  return {{"format", kProfileFormat},
          {"model", profile.model},
          {"fingerprint", profile.fingerprint},
          {"links", std::move(links)},
          {"devices", std::move(devices)}};
}

Expected<Profile> profile_from_json(const Json& json) {
  const JsonReader reader(json);
  TRY_ASSIGN(const JsonReader format, reader.at("format"));
  TRY_ASSIGN(const std::int64_t version, format.integer(0, INT32_MAX));
  if (version != kProfileFormat) {
    return fail(ErrorCode::kUnsupported, "format: expected {}, found {}: profile the model again", kProfileFormat,
                version);
  }
  Profile profile;
  TRY_ASSIGN(profile.model, reader.string("model"));
  TRY_ASSIGN(profile.fingerprint, reader.string("fingerprint"));
  TRY_ASSIGN(const JsonReader devices, reader.at("devices"));
  TRY_ASSIGN(const std::vector<JsonReader> device_elements, devices.elements());
  for (const JsonReader& element : device_elements) {
    TRY_ASSIGN(DeviceProfile device, read_device(element));
    profile.devices.push_back(std::move(device));
  }
  TRY_ASSIGN(const JsonReader links, reader.at("links"));
  TRY_ASSIGN(const std::vector<JsonReader> link_elements, links.elements());
  for (const JsonReader& element : link_elements) {
    TRY_ASSIGN(LinkProfile link, read_link_profile(element));
    profile.links.push_back(std::move(link));
  }
  return profile;
}

Expected<void> write_profile(const Profile& profile, const std::filesystem::path& path) {
  return write_file(path, to_text(profile_to_json(profile), 1) + "\n");
}

Expected<Profile> read_profile(const std::filesystem::path& path) {
  TRY_ASSIGN(const std::string text, read_file(path, kMaxProfileBytes));
  auto json = parse_json(text);
  if (!json) return fail_in(path.string(), std::move(json.error()));
  auto profile = profile_from_json(*json);
  if (!profile) return fail_in(path.string(), std::move(profile.error()));
  return profile;
}

}  // namespace onnx_split
