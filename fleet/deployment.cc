#include "fleet/deployment.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>

#include "base/check.h"
#include "engine/choice.h"
#include "partition/plan_json.h"

namespace onnx_split {
namespace {

// Each runner keeps a record of every transfer for every request of the window.
constexpr std::size_t kMaxTransfersInFlight = 1 << 22;
constexpr std::size_t kMaxParts = 1 << 12;
constexpr std::int64_t kMaxPayloadBytes = std::int64_t{1} << 31;

// Where each value stands in the list: a peer's list may be long, and so may be what refers to it.
using ValueIndex = std::unordered_map<std::string_view, std::uint32_t>;

Expected<ValueIndex> index_values(const std::vector<ManifestValue>& values) {
  ValueIndex index;
  for (const ManifestValue& value : values) {
    if (index.emplace(value.name, static_cast<std::uint32_t>(index.size())).second) continue;
    return fail(ErrorCode::kInvalid, "value \"{}\" is listed twice", value.name);
  }
  return index;
}

Expected<std::uint32_t> check_transfer(const Deployment& deployment, const ValueIndex& index,
                                       const Transfer& transfer) {
  const auto found = index.find(transfer.what.value);
  CHECK(found != index.end());
  const ManifestValue& value = deployment.values[found->second];
  const Region& region = transfer.what.region;
  for (std::size_t axis = 0; axis < region.rank(); ++axis) {
    if (region[axis].end > UINT32_MAX) {
      return fail(ErrorCode::kUnsupported, "value \"{}\": extents over 2^32 can't be sent", value.name);
    }
  }
  const auto elements = region.shape().elements();
  if (elements * static_cast<std::int64_t>(element_bytes(value.type.type)) > kMaxPayloadBytes) {
    return fail(ErrorCode::kUnsupported, "value \"{}\": a transfer of more than {} bytes", value.name,
                kMaxPayloadBytes);
  }
  return found->second;
}

// Routing compares regions of one value, so each must first be known to lie inside it.
Expected<void> check_regions(const Deployment& deployment, const ValueIndex& index,
                             const std::vector<ValueRegion>& regions) {
  for (const ValueRegion& region : regions) {
    const auto found = index.find(region.value);
    if (found == index.end()) return fail(ErrorCode::kInvalid, "value \"{}\" isn't listed", region.value);
    const Shape& shape = deployment.values[found->second].type.shape;
    if (!region.region.inside(shape) || region.region.empty()) {
      return fail(ErrorCode::kInvalid, "value \"{}\": region {} isn't inside its shape {}", region.value,
                  region.region.to_string(), shape.to_string());
    }
  }
  return {};
}

Expected<void> check_parts(const Deployment& deployment, const ValueIndex& index) {
  const Plan& plan = deployment.plan;
  for (const PartId id : part_ids(plan)) {
    const Stage& stage = plan.stages[id.stage];
    const Part& part = stage.parts[id.part];
    if (stage.schedule.empty()) return fail(ErrorCode::kInvalid, "{}: an empty schedule", to_string(id));
    auto needs = check_needs(part);
    if (!needs) return fail_in(to_string(id), std::move(needs.error()));
    for (const std::size_t replica : stage.schedule) {
      if (replica >= part.devices.size()) {
        return fail(ErrorCode::kInvalid, "{}: the schedule names replica {} of {}", to_string(id), replica,
                    part.devices.size());
      }
    }
    for (const std::size_t device : part.devices) {
      if (device >= plan.devices.size()) {
        return fail(ErrorCode::kInvalid, "{}: device {} of {}", to_string(id), device, plan.devices.size());
      }
    }
    for (const auto* regions : {&part.inputs, &part.outputs}) {
      auto checked = check_regions(deployment, index, *regions);
      if (!checked) return fail_in(to_string(id), std::move(checked.error()));
    }
  }
  return {};
}

// What the parts of each stage own must make up its values: what is put together from it is used as it is.
Expected<void> check_values(const Deployment& deployment, const ValueIndex& index) {
  std::set<std::string, std::less<>> given(deployment.inputs.begin(), deployment.inputs.end());
  for (std::size_t s = 0; s < deployment.plan.stages.size(); ++s) {
    const Stage& stage = deployment.plan.stages[s];
    std::map<std::string, std::vector<ValueRegion>> pieces;
    for (std::size_t p = 0; p < stage.ways(); ++p) {
      for (const ValueRegion& output : stage.parts[p].outputs) pieces[output.value].push_back(output);
    }
    for (const auto& [name, regions] : pieces) {
      if (!given.insert(name).second) {
        return fail(ErrorCode::kInvalid, "stage {}: value \"{}\" is there already", s, name);
      }
      auto checked = check_pieces(name, deployment.values[index.at(name)].type, regions, stage.ways());
      if (!checked) return fail_in(fmt::format("stage {}", s), std::move(checked.error()));
    }
    auto spares = check_spares(stage, [&](const std::string& name) { return *deployment.find_value(name); });
    if (!spares) return fail_in(fmt::format("stage {}", s), std::move(spares.error()));
  }
  return {};
}

auto find_named(const std::vector<ManifestValue>& values, std::string_view name) {
  return std::find_if(values.begin(), values.end(), [&](const ManifestValue& value) { return value.name == name; });
}

bool has_kernels_in_blocks(const Plan& plan) {
  const auto any = [](const NodeChoices& choices) {
    return std::any_of(choices.begin(), choices.end(),
                       [](const auto& choice) { return computes_in_blocks(choice.second); });
  };
  const std::vector<PartId> ids = part_ids(plan);
  return any(plan.choices) || std::any_of(ids.begin(), ids.end(), [&](PartId id) { return any(choices_of(plan, id)); });
}

// Before there is routing: what travels is made of the parts' regions.
std::vector<Layout> layouts_of_values(const Deployment& deployment, const ValueIndex& index) {
  const Plan& plan = deployment.plan;
  if (!has_kernels_in_blocks(plan)) return std::vector<Layout>(deployment.values.size(), Layout::kPlain);
  std::vector<Layout> layouts(deployment.values.size(), Layout::kBlocked);
  for (const auto* names : {&deployment.inputs, &deployment.outputs}) {
    for (const std::string& name : *names) {
      if (const auto found = index.find(name); found != index.end()) layouts[found->second] = Layout::kPlain;
    }
  }
  for (const PartId id : part_ids(plan)) {
    const Part& part = plan.stages[id.stage].parts[id.part];
    for (const auto* regions : {&part.inputs, &part.outputs}) {
      for (const ValueRegion& what : *regions) {
        const std::uint32_t value = index.at(what.value);
        const bool fits = is_full_blocks(deployment.values[value].type, what.region);
        if (!fits || what.combine == Combine::kParity) layouts[value] = Layout::kPlain;
      }
    }
  }
  return layouts;
}

}  // namespace

const TensorType* Deployment::find_value(std::string_view name) const {
  const auto found = find_named(values, name);
  return found == values.end() ? nullptr : &found->type;
}

Layout Deployment::layout_of(std::string_view value) const {
  const auto found = find_named(values, value);
  CHECK(found != values.end());
  return value_layout[static_cast<std::size_t>(found - values.begin())];
}

std::size_t Deployment::payload_bytes(std::size_t transfer) const {
  const auto elements = static_cast<std::size_t>(routing.transfers[transfer].what.region.shape().elements());
  return elements * element_bytes(type_of(transfer).type);
}

std::size_t Deployment::largest_frame_bytes() const {
  std::size_t largest = 0;
  for (std::size_t i = 0; i < routing.transfers.size(); ++i) largest = std::max(largest, payload_bytes(i));
  return largest + kFrameHeaderBytes;
}

int Deployment::send_queue(std::size_t transfers) const {
  constexpr std::size_t kMost = 8192;
  return static_cast<int>(std::min(plan.window * std::max<std::size_t>(transfers, 1), kMost));
}

std::vector<PartId> Deployment::parts_of(std::size_t device) const {
  std::vector<PartId> parts;
  for (const PartId id : part_ids(plan)) {
    const std::vector<std::size_t>& devices = plan.stages[id.stage].parts[id.part].devices;
    if (std::find(devices.begin(), devices.end(), device) != devices.end()) parts.push_back(id);
  }
  return parts;
}

std::set<std::size_t> Deployment::receivers_of_transfers(std::span<const std::size_t> transfers) const {
  std::set<std::size_t> receivers;
  for (const std::size_t transfer : transfers) {
    for (const PartId consumer : routing.transfers[transfer].consumers) {
      const std::vector<std::size_t>& devices = plan.stages[consumer.stage].parts[consumer.part].devices;
      receivers.insert(devices.begin(), devices.end());
    }
  }
  return receivers;
}

std::set<std::size_t> Deployment::receivers_of(std::size_t device) const {
  std::set<std::size_t> receivers;
  for (const PartId part : parts_of(device)) receivers.merge(receivers_of_transfers(routing.from(part)));
  receivers.erase(device);
  return receivers;
}

std::set<std::size_t> Deployment::senders_to(std::size_t device) const {
  std::set<std::size_t> senders;
  for (std::size_t other = 0; other < plan.devices.size(); ++other) {
    if (receivers_of(other).contains(device)) senders.insert(other);
  }
  return senders;
}

std::vector<std::uint32_t> Deployment::receivers_of_transfer(std::size_t transfer, std::uint64_t request) const {
  const Transfer& what = routing.transfers[transfer];
  std::vector<std::uint32_t> receivers;
  for (const std::size_t device : receiving_devices(plan, what, request)) {
    receivers.push_back(static_cast<std::uint32_t>(device));
  }
  if (what.to_coordinator) receivers.push_back(kFromCoordinator);
  return receivers;
}

std::map<std::size_t, std::size_t> Deployment::alternatives_for(std::optional<std::size_t> receiver) const {
  std::map<std::size_t, std::size_t> given;
  const auto devices_of = [&](PartId id) -> const std::vector<std::size_t>& {
    return plan.stages[id.stage].parts[id.part].devices;
  };
  const auto receives = [&](PartId id) {
    const std::vector<std::size_t>& devices = devices_of(id);
    return std::find(devices.begin(), devices.end(), *receiver) != devices.end();
  };
  for (std::size_t transfer = 0; transfer < routing.transfers.size(); ++transfer) {
    if (!routing.alternatives_of[transfer]) continue;
    const Transfer& what = routing.transfers[transfer];
    if (receiver ? std::none_of(what.consumers.begin(), what.consumers.end(), receives) : !what.to_coordinator) {
      continue;
    }
    for (const std::size_t device : devices_of(*what.source)) {
      if (device != receiver) ++given[device];
    }
  }
  return given;
}

FrameHeader Deployment::header_of(std::size_t transfer) const {
  const Transfer& what = routing.transfers[transfer];
  FrameHeader header;
  header.epoch = epoch;
  header.transfer = static_cast<std::uint32_t>(transfer);
  header.value = transfer_value[transfer];
  if (what.source) {
    header.source_stage = static_cast<std::uint32_t>(what.source->stage);
    header.source_part = static_cast<std::uint32_t>(what.source->part);
  }
  header.type = type_of(transfer).type;
  header.layout = value_layout[header.value];
  header.region = what.what.region;
  return header;
}

Expected<Deployment> make_deployment(std::uint64_t epoch, Plan plan, std::vector<ManifestValue> values,
                                     std::vector<std::string> inputs, std::vector<std::string> outputs) {
  Deployment deployment{epoch, std::move(plan), std::move(values), std::move(inputs), std::move(outputs), {}, {}, {}};
  const std::size_t parts = part_ids(deployment.plan).size();
  if (parts > kMaxParts || deployment.plan.window > kMaxTransfersInFlight / std::max<std::size_t>(parts, 1)) {
    return fail(ErrorCode::kUnsupported, "{} parts in a window of {}: at most {} parts, and {} together, are supported",
                parts, deployment.plan.window, kMaxParts, kMaxTransfersInFlight);
  }
  TRY_ASSIGN(const ValueIndex index, index_values(deployment.values));
  TRY(check_parts(deployment, index));
  TRY(check_values(deployment, index));
  deployment.value_layout = layouts_of_values(deployment, index);
  TRY_ASSIGN(deployment.routing, make_routing(deployment.plan, deployment.inputs, deployment.outputs));
  if (deployment.plan.window > kMaxTransfersInFlight / std::max<std::size_t>(deployment.routing.transfers.size(), 1)) {
    return fail(ErrorCode::kUnsupported, "{} transfers in a window of {}: at most {} together are supported",
                deployment.routing.transfers.size(), deployment.plan.window, kMaxTransfersInFlight);
  }
  for (const Transfer& transfer : deployment.routing.transfers) {
    TRY_ASSIGN(const std::uint32_t value, check_transfer(deployment, index, transfer));
    deployment.transfer_value.push_back(value);
  }
  return deployment;
}

FrameHeader heartbeat_of(const Deployment& deployment, std::size_t device) {
  FrameHeader header;
  header.epoch = deployment.epoch;
  header.transfer = kHeartbeat;
  header.value = static_cast<std::uint32_t>(device);
  return header;
}

FrameHeader enough_of(const Deployment& deployment, std::uint64_t request, std::size_t transfer,
                      std::uint32_t receiver) {
  FrameHeader header;
  header.epoch = deployment.epoch;
  header.request = request;
  header.transfer = kEnough;
  header.value = static_cast<std::uint32_t>(transfer);
  header.source_part = receiver;
  return header;
}

Json deployment_to_json(const Deployment& deployment) {
  Plan plan = deployment.plan;
  for (Stage& stage : plan.stages) stage.nodes.clear();
  Json values = Json::array();
  for (const ManifestValue& value : deployment.values) values.push_back(manifest_value_to_json(value));
  return {{"epoch", deployment.epoch},
          {"plan", plan_to_json(plan)},
          {"values", std::move(values)},
          {"inputs", deployment.inputs},
          {"outputs", deployment.outputs}};
}

Expected<Deployment> deployment_from_json(const Json& json) {
  const JsonReader reader(json);
  TRY_ASSIGN(const std::int64_t epoch, reader.integer("epoch", 1, INT64_MAX));
  TRY_ASSIGN(const JsonReader plan_reader, reader.at("plan"));
  TRY_ASSIGN(Plan plan, plan_from_json(plan_reader.value()));
  TRY_ASSIGN(const JsonReader values_reader, reader.at("values"));
  TRY_ASSIGN(const std::vector<JsonReader> elements, values_reader.elements());
  std::vector<ManifestValue> values;
  for (const JsonReader& element : elements) {
    TRY_ASSIGN(ManifestValue value, manifest_value_from_json(element));
    values.push_back(std::move(value));
  }
  TRY_ASSIGN(std::vector<std::string> inputs, reader.strings("inputs"));
  TRY_ASSIGN(std::vector<std::string> outputs, reader.strings("outputs"));
  return make_deployment(static_cast<std::uint64_t>(epoch), std::move(plan), std::move(values), std::move(inputs),
                         std::move(outputs));
}

Expected<FrameHeader> check_frame(const Deployment& deployment, std::span<const std::byte> frame) {
  TRY_ASSIGN(FrameHeader header, open_frame(frame));
  if (header.epoch != deployment.epoch) {
    return fail(ErrorCode::kCancelled, "frame of epoch {}: this is {}", header.epoch, deployment.epoch);
  }
  if (header.transfer == kHeartbeat) {
    if (header.value < deployment.plan.devices.size() && frame_payload(frame).empty()) return header;
    return fail(ErrorCode::kInvalid, "heartbeat of device {} with {} bytes: there are {} devices", header.value,
                frame_payload(frame).size(), deployment.plan.devices.size());
  }
  if (header.transfer == kEnough) {
    const bool is_known = header.source_part == kFromCoordinator || header.source_part < deployment.plan.devices.size();
    if (header.value < deployment.routing.transfers.size() && is_known && frame_payload(frame).empty()) return header;
    return fail(ErrorCode::kInvalid, "device {} says that it has enough of transfer {} with {} bytes",
                header.source_part, header.value, frame_payload(frame).size());
  }
  if (header.transfer >= deployment.routing.transfers.size()) {
    return fail(ErrorCode::kInvalid, "frame of transfer {}: there are {}", header.transfer,
                deployment.routing.transfers.size());
  }
  const FrameHeader expected = deployment.header_of(header.transfer);
  if (header.value != expected.value || header.type != expected.type || header.layout != expected.layout ||
      header.region != expected.region || header.source_stage != expected.source_stage ||
      header.source_part != expected.source_part) {
    return fail(ErrorCode::kInvalid, "frame of transfer {}: it doesn't carry what the plan says", header.transfer);
  }
  const std::size_t expected_bytes = deployment.payload_bytes(header.transfer);
  if (frame_payload(frame).size() != expected_bytes) {
    return fail(ErrorCode::kInvalid, "frame of transfer {}: {} bytes, expected {}", header.transfer,
                frame_payload(frame).size(), expected_bytes);
  }
  TRY(check_payload(frame));
  return header;
}

}  // namespace onnx_split
