#include "partition/routing.h"

#include <algorithm>
#include <map>

namespace onnx_split {
namespace {

// A plan from outside mustn't cost more memory than this, nor more time: a few seconds.
constexpr std::size_t kMaxConnections = 1 << 20;
constexpr std::size_t kMaxComparisons = 1 << 26;

struct Need {
  Region region;
  std::optional<PartId> consumer;  // nothing: the coordinator
};

// (A piece of) a value and its owner.
struct Owned {
  std::optional<PartId> source;
  std::string value;
  std::optional<Region> region;  // nothing: all of it (a network input)
  Combine combine = Combine::kPlace;
  std::vector<Need> needs;
};

class Router {
 public:
  explicit Router(const Plan& plan) : plan_(plan) {}

  Expected<Routing> route(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
    for (const std::string& name : inputs) add_owned({std::nullopt, name, std::nullopt, Combine::kPlace, {}});
    for (const PartId id : part_ids(plan_)) {
      for (const ValueRegion& output : part(id).outputs) {
        add_owned({id, output.value, output.region, output.combine, {}});
      }
    }
    for (const std::string& name : outputs) {
      const auto pieces = by_value_.find(name);
      if (pieces == by_value_.end()) return fail(ErrorCode::kInvalid, "no part gives the output \"{}\"", name);
      for (const std::size_t piece : pieces->second) {
        if (!owned_[piece].source) {
          return fail(ErrorCode::kUnsupported, "the network's output \"{}\" is its input: no stage gives it", name);
        }
        owned_[piece].needs.push_back({*owned_[piece].region, std::nullopt});
      }
    }
    // Backwards, so that a part that nobody needs doesn't need anything either.
    const std::vector<PartId> ids = part_ids(plan_);
    for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
      if (is_idle(*id)) continue;
      for (const ValueRegion& input : part(*id).inputs) {
        auto connected = connect(input, *id);
        if (!connected) return fail_in(to_string(*id), std::move(connected.error()));
      }
    }
    for (Owned& owned : owned_) TRY(add_transfers(owned));
    TRY(find_alternatives());
    return std::move(routing_);
  }

 private:
  const Part& part(PartId id) const { return plan_.stages[id.stage].parts[id.part]; }

  void add_owned(Owned owned) {
    by_value_[owned.value].push_back(owned_.size());
    if (owned.source) by_part_[*owned.source].push_back(owned_.size());
    owned_.push_back(std::move(owned));
  }

  bool is_idle(PartId id) const {
    const auto pieces = by_part_.find(id);
    return pieces == by_part_.end() || std::all_of(pieces->second.begin(), pieces->second.end(),
                                                   [&](std::size_t piece) { return owned_[piece].needs.empty(); });
  }

  bool is_spare(const Owned& owned) const {
    return owned.source && owned.source->part >= plan_.stages[owned.source->stage].ways();
  }

  bool have_same_receivers(std::size_t a, std::size_t b) const {
    const Transfer &one = routing_.transfers[a], &other = routing_.transfers[b];
    return one.consumers == other.consumers && one.to_coordinator == other.to_coordinator;
  }

  // A part and its spare one have the same consumers, so that their transfers are alike, in the same order.
  Expected<void> find_alternatives() {
    routing_.alternatives_of.resize(routing_.transfers.size());
    std::map<PartId, std::vector<std::size_t>> by_source;
    for (std::size_t i = 0; i < routing_.transfers.size(); ++i) {
      if (routing_.transfers[i].source) by_source[*routing_.transfers[i].source].push_back(i);
    }
    for (std::size_t s = 0; s < plan_.stages.size(); ++s) {
      const Stage& stage = plan_.stages[s];
      if (stage.spare == Spare::kNone) continue;
      const std::size_t ways = stage.ways();
      if (ways == 0) return fail(ErrorCode::kInvalid, "stage {}: nothing but spare parts", s);
      // Parity: all parts are one group; standby: each part with its copy.
      const std::size_t groups = stage.spare == Spare::kParity ? 1 : ways;
      for (std::size_t group = 0; group < groups; ++group) {
        const std::vector<std::size_t> own = by_source[{s, group}];
        for (std::size_t i = 0; i < own.size(); ++i) {
          Alternatives alternatives{{}, stage.spare == Spare::kParity ? ways : 1};
          for (std::size_t part = group; part < stage.parts.size(); part += groups) {
            const std::vector<std::size_t>& others = by_source[{s, part}];
            if (others.size() != own.size() || !have_same_receivers(others[i], own[i])) {
              return fail(ErrorCode::kInvalid, "{} doesn't give what {} is spare for", to_string(PartId{s, part}),
                          to_string(PartId{s, group}));
            }
            alternatives.transfers.push_back(others[i]);
          }
          for (const std::size_t transfer : alternatives.transfers) {
            routing_.alternatives_of[transfer] = routing_.alternatives.size();
          }
          routing_.alternatives.push_back(std::move(alternatives));
        }
      }
    }
    return {};
  }

  // Connects one need to the owners of its value; placed pieces must cover it exactly.
  Expected<void> connect(const ValueRegion& need, PartId consumer) {
    std::int64_t covered = 0;
    bool is_sum = false;
    const std::vector<std::size_t>& pieces = by_value_[need.value];
    TRY(count_comparisons(pieces.size()));
    for (const std::size_t piece : pieces) {
      Owned& owned = owned_[piece];
      if (owned.source && owned.source->stage >= consumer.stage) continue;
      std::optional<Region> common = owned.region ? intersect(*owned.region, need.region) : need.region;
      if (common && !is_sum && !is_spare(owned)) covered += common->shape().elements();
      // To tell one of them from the others takes all of each.
      if (owned.source && plan_.stages[owned.source->stage].spare == Spare::kParity) common = owned.region;
      if (!common) continue;
      is_sum = owned.combine == Combine::kAdd;  // every addend is all of it
      if (++connections_ > kMaxConnections) {
        return fail(ErrorCode::kUnsupported, "more than {} connections between parts", kMaxConnections);
      }
      owned.needs.push_back({*common, consumer});
    }
    if (covered == need.region.shape().elements()) return {};
    return fail(ErrorCode::kInvalid, "value \"{}\" {}: {} of {} elements are given by earlier stages", need.value,
                need.region.to_string(), covered, need.region.shape().elements());
  }

  // Whether the two parts are on the same device, for every request.
  bool same_device(PartId a, PartId b) const {
    return part(a).devices == part(b).devices && plan_.stages[a.stage].schedule == plan_.stages[b.stage].schedule;
  }

  // Whether a need can be met by a transfer that is made for others: it has all of that already and goes there, or it
  // goes nowhere else and one box isn't more than two.
  bool can_join(const Transfer& transfer, const Need& need) const {
    if (!need.consumer) return false;
    const auto there = [&](PartId other) { return same_device(other, *need.consumer); };
    const auto& consumers = transfer.consumers;
    if (std::none_of(consumers.begin(), consumers.end(), there)) return false;
    const Region& region = transfer.what.region;
    const Region box = bounding_box(region, need.region);
    return box == region || (!transfer.to_coordinator && std::all_of(consumers.begin(), consumers.end(), there) &&
                             box.shape().elements() <= region.shape().elements() + need.region.shape().elements());
  }

  Expected<void> count_comparisons(std::size_t count) {
    comparisons_ += count;
    if (comparisons_ <= kMaxComparisons) return {};
    return fail(ErrorCode::kUnsupported, "its parts need too many different regions of what others own");
  }

  Expected<void> add_transfers(Owned& owned) {
    std::reverse(owned.needs.begin(), owned.needs.end());  // they were found backwards
    // What others may be a part of comes first.
    std::stable_sort(owned.needs.begin(), owned.needs.end(), [](const Need& a, const Need& b) {
      return a.region.shape().elements() > b.region.shape().elements();
    });
    const std::size_t first = routing_.transfers.size();
    for (const Need& need : owned.needs) {
      TRY(count_comparisons(routing_.transfers.size() - first));
      const auto begin = routing_.transfers.begin() + static_cast<std::ptrdiff_t>(first);
      const auto same = [&](const Transfer& transfer) { return transfer.what.region == need.region; };
      const auto joinable = [&](const Transfer& transfer) { return can_join(transfer, need); };
      auto found = std::find_if(begin, routing_.transfers.end(), same);
      if (found == routing_.transfers.end()) found = std::find_if(begin, routing_.transfers.end(), joinable);
      if (found == routing_.transfers.end()) {
        routing_.transfers.push_back({{owned.value, need.region, owned.combine}, owned.source, {}, false});
        found = routing_.transfers.end() - 1;
      }
      found->what.region = bounding_box(found->what.region, need.region);
      if (need.consumer) {
        found->consumers.push_back(*need.consumer);
      } else {
        found->to_coordinator = true;
      }
    }
    for (std::size_t i = first; i < routing_.transfers.size(); ++i) {
      auto& consumers = routing_.transfers[i].consumers;
      std::sort(consumers.begin(), consumers.end());
    }
    return {};
  }

  const Plan& plan_;
  std::vector<Owned> owned_;  // network inputs, then by part
  std::map<std::string, std::vector<std::size_t>> by_value_;
  std::map<PartId, std::vector<std::size_t>> by_part_;
  std::size_t connections_ = 0;
  std::size_t comparisons_ = 0;
  Routing routing_;
};

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
    if (transfer.what.value != input.value) continue;
    const auto& consumers = transfer.consumers;
    if (std::find(consumers.begin(), consumers.end(), consumer) != consumers.end()) indices.push_back(i);
  }
  return indices;
}

Expected<Routing> make_routing(const Plan& plan, const std::vector<std::string>& inputs,
                               const std::vector<std::string>& outputs) {
  return Router(plan).route(inputs, outputs);
}

std::vector<std::size_t> receiving_devices(const Plan& plan, const Transfer& transfer, std::uint64_t request) {
  std::vector<std::size_t> devices;
  for (const PartId consumer : transfer.consumers) devices.push_back(device_for(plan, consumer, request));
  std::sort(devices.begin(), devices.end());
  devices.erase(std::unique(devices.begin(), devices.end()), devices.end());
  return devices;
}

Expected<void> predict_traffic(const Graph& graph, Plan& plan) {
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  for (const ValueId id : graph.inputs()) inputs.push_back(graph.value(id).name);
  for (const ValueId id : graph.outputs()) outputs.push_back(graph.value(id).name);
  TRY_ASSIGN(const Routing routing, make_routing(plan, inputs, outputs));
  const auto part_of = [&](PartId id) -> Part& { return plan.stages[id.stage].parts[id.part]; };
  for (const PartId id : part_ids(plan)) part_of(id).received_bytes = part_of(id).sent_bytes = 0;
  for (const Transfer& transfer : routing.transfers) {
    const auto value = graph.find_value(transfer.what.value);
    if (!value) return fail(ErrorCode::kInvalid, "no value \"{}\" in the model", transfer.what.value);
    const auto bytes = transfer.what.region.shape().elements() *
                       static_cast<std::int64_t>(element_bytes(graph.value(*value).type.type));
    std::vector<std::size_t> served;
    if (transfer.source) served.push_back(device_for(plan, *transfer.source, 0));  // by pointer
    std::int64_t copies = transfer.to_coordinator ? 1 : 0;
    for (const PartId consumer : transfer.consumers) {
      const std::size_t device = device_for(plan, consumer, 0);
      if (std::find(served.begin(), served.end(), device) != served.end()) continue;
      served.push_back(device);
      part_of(consumer).received_bytes += bytes;
      ++copies;
    }
    if (transfer.source) part_of(*transfer.source).sent_bytes += copies * bytes;
  }
  return {};
}

}  // namespace onnx_split
