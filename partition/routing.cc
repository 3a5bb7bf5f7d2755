#include "partition/routing.h"

#include <algorithm>
#include <map>

namespace onnx_split {
namespace {

// An owner of (a piece of) a value: a part's output, or a network input of the coordinator's.
struct Owned {
  std::optional<PartId> source;
  ValueRegion what;
};

void add_consumer(Routing& routing, const Owned& owned, const Region& region, std::optional<PartId> consumer) {
  auto found = std::find_if(routing.transfers.begin(), routing.transfers.end(), [&](const Transfer& transfer) {
    return transfer.source == owned.source && transfer.what.value == owned.what.value && transfer.what.region == region;
  });
  if (found == routing.transfers.end()) {
    routing.transfers.push_back({{owned.what.value, region, owned.what.combine}, owned.source, {}, false});
    found = routing.transfers.end() - 1;
  }
  if (consumer) {
    found->consumers.push_back(*consumer);
  } else {
    found->to_coordinator = true;
  }
}

// Connects one need to the owners of its value; placed pieces must cover it exactly.
Expected<void> connect(Routing& routing, const std::vector<Owned>& owners, const ValueRegion& need,
                       std::optional<PartId> consumer) {
  std::int64_t covered = 0;
  std::size_t addends = 0;
  for (const Owned& owned : owners) {
    const std::optional<Region> common = intersect(owned.what.region, need.region);
    if (!common) continue;
    if (owned.what.combine == Combine::kPlace) {
      covered += common->shape().elements();
    } else if (addends++ == 0) {
      covered += common->shape().elements();
    }
    add_consumer(routing, owned, *common, consumer);
  }
  if (covered != need.region.shape().elements()) {
    return fail(ErrorCode::kInvalid, "value \"{}\" {}: {} of {} elements are given by earlier parts", need.value,
                need.region.to_string(), covered, need.region.shape().elements());
  }
  return {};
}

}  // namespace

std::vector<std::size_t> Routing::from(std::optional<PartId> source) const {
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    if (transfers[i].source == source) indices.push_back(i);
  }
  return indices;
}

std::vector<std::size_t> Routing::pieces_of(PartId consumer, const ValueRegion& input) const {
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    const Transfer& transfer = transfers[i];
    const bool consumed =
        std::find(transfer.consumers.begin(), transfer.consumers.end(), consumer) != transfer.consumers.end();
    if (consumed && transfer.what.value == input.value && input.region.contains(transfer.what.region)) {
      indices.push_back(i);
    }
  }
  return indices;
}

Expected<Routing> make_routing(const Plan& plan, const std::vector<std::string>& inputs,
                               const std::vector<std::string>& outputs) {
  std::map<std::string, std::vector<Owned>> owners;
  Routing routing;
  for (const PartId id : part_ids(plan)) {
    const Part& part = plan.stages[id.stage].parts[id.part];
    for (const ValueRegion& input : part.inputs) {
      const bool from_outside = std::find(inputs.begin(), inputs.end(), input.value) != inputs.end();
      const std::vector<Owned> outside{{std::nullopt, {input.value, input.region, Combine::kPlace}}};
      auto connected = connect(routing, from_outside ? outside : owners[input.value], input, id);
      if (!connected) return fail_in(to_string(id), std::move(connected.error()));
    }
    for (const ValueRegion& output : part.outputs) owners[output.value].push_back({id, output});
  }
  for (const std::string& name : outputs) {
    const std::vector<Owned>& owned = owners[name];
    if (owned.empty()) return fail(ErrorCode::kInvalid, "no part gives the output \"{}\"", name);
    for (const Owned& piece : owned) add_consumer(routing, piece, piece.what.region, std::nullopt);
  }
  return routing;
}

std::vector<std::size_t> receiving_devices(const Plan& plan, const Transfer& transfer, std::uint64_t request) {
  std::vector<std::size_t> devices;
  for (const PartId consumer : transfer.consumers) devices.push_back(device_for(plan, consumer, request));
  std::sort(devices.begin(), devices.end());
  devices.erase(std::unique(devices.begin(), devices.end()), devices.end());
  return devices;
}

}  // namespace onnx_split
