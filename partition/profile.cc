#include "partition/profile.h"

#include <set>

namespace onnx_split {
namespace {

Expected<void> check_device(const DeviceProfile& device, const Graph& graph) {
  for (const auto& [name, timing] : device.nodes) {
    if (!graph.find_node(name)) return fail(ErrorCode::kInvalid, "nodes: the model has no node \"{}\"", name);
  }
  std::set<std::string, std::less<>> sliced;
  for (std::size_t i = 0; i < device.slices.size(); ++i) {
    const std::string& name = device.slices[i].node;
    if (!graph.find_node(name)) {
      return fail(ErrorCode::kInvalid, "slices[{}].node: the model has no node \"{}\"", i, name);
    }
    sliced.insert(name);
  }
  for (const Node& node : graph.nodes()) {
    if (device.nodes.contains(node.name) || sliced.contains(node.name)) continue;
    return fail(ErrorCode::kInvalid, "nodes: expected a time of {} or of shares of it, found none (device \"{}\")",
                describe(node), device.name);
  }
  return {};
}

}  // namespace

Expected<void> check_profile(const Profile& profile, const Graph& graph) {
  const std::string expected = fingerprint(graph);
  if (profile.fingerprint != expected) {
    return fail(ErrorCode::kInvalid,
                "fingerprint: expected {}, found {}: the profile is of another model (\"{}\") or an older form of it",
                expected, profile.fingerprint, profile.model);
  }
  if (profile.devices.empty()) return fail(ErrorCode::kInvalid, "devices: expected at least one, found none");
  std::set<std::string, std::less<>> names;
  for (std::size_t i = 0; i < profile.devices.size(); ++i) {
    if (!names.insert(profile.devices[i].name).second) {
      return fail(ErrorCode::kInvalid, "devices[{}].name: \"{}\" is given twice", i, profile.devices[i].name);
    }
    auto checked = check_device(profile.devices[i], graph);
    if (!checked) {
      return tl::unexpected(Error{checked.error().code, fmt::format("devices[{}].{}", i, checked.error().message)});
    }
  }
  std::set<std::pair<std::string_view, std::string_view>> links;
  for (std::size_t i = 0; i < profile.links.size(); ++i) {
    const LinkProfile& link = profile.links[i];
    for (const auto& [field, name] : {std::pair("from", &link.from), std::pair("to", &link.to)}) {
      if (names.contains(*name)) continue;
      return fail(ErrorCode::kInvalid, "links[{}].{}: no device is named \"{}\"", i, field, *name);
    }
    if (link.from == link.to) {
      return fail(ErrorCode::kInvalid, "links[{}].to: expected another device, found \"{}\"", i, link.to);
    }
    if (!links.emplace(link.from, link.to).second) {
      return fail(ErrorCode::kInvalid, "links[{}]: from \"{}\" to \"{}\" is given twice", i, link.from, link.to);
    }
  }
  return {};
}

}  // namespace onnx_split
