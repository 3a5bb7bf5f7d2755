#include "partition/plan.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>

#include "base/hash.h"

namespace onnx_split {
namespace {

constexpr std::array<std::string_view, 5> kSplitNames = {"whole", "spatial", "output_channel", "input_channel",
                                                         "channel_pair"};
constexpr std::array<std::string_view, 3> kCombineNames = {"place", "add", "parity"};
constexpr std::array<std::string_view, 3> kSpareNames = {"none", "parity", "standby"};

template <class Enum, std::size_t N>
Expected<Enum> enum_from_name(std::string_view kind, std::string_view name,
                              const std::array<std::string_view, N>& names) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<Enum>(found - names.begin());
  std::string known;
  for (const std::string_view n : names) known += fmt::format("{}{}", known.empty() ? "" : ", ", n);
  return fail(ErrorCode::kInvalid, "unknown {} \"{}\": expected one of {}", kind, name, known);
}

// A value is available to a stage if the network's input or an earlier stage gives it.
struct Availability {
  const Graph& graph;
  std::set<std::string, std::less<>> given;  // by the stages so far

  Expected<ValueId> value_of(const ValueRegion& use) const {
    const auto id = graph.find_value(use.value);
    if (!id) return fail(ErrorCode::kInvalid, "no value \"{}\" in the model", use.value);
    if (!use.region.inside(graph.value(*id).shape()) || use.region.empty()) {
      return fail(ErrorCode::kInvalid, "value \"{}\": region {} isn't inside its shape {}", use.value,
                  use.region.to_string(), graph.value(*id).shape().to_string());
    }
    return *id;
  }
};

Expected<void> check_part(const Plan& plan, const Stage& stage, const Part& part, const Availability& available) {
  if (part.devices.empty()) return fail(ErrorCode::kInvalid, "no device");
  for (const std::size_t device : part.devices) {
    if (device >= plan.devices.size()) {
      return fail(ErrorCode::kInvalid, "device {} of {}", device, plan.devices.size());
    }
  }
  for (const std::size_t replica : stage.schedule) {
    if (replica >= part.devices.size()) {
      return fail(ErrorCode::kInvalid, "the schedule names replica {} of {}", replica, part.devices.size());
    }
  }
  TRY(check_needs(part));
  for (const ValueRegion& input : part.inputs) {
    TRY_ASSIGN(const ValueId id, available.value_of(input));
    const auto& inputs = available.graph.inputs();
    const bool is_network_input = std::find(inputs.begin(), inputs.end(), id) != inputs.end();
    if (!is_network_input && !available.given.contains(input.value)) {
      return fail(ErrorCode::kInvalid, "value \"{}\" isn't computed by an earlier stage", input.value);
    }
  }
  return {};
}

Expected<void> check_division(const Stage& stage) {
  const std::size_t parts = stage.ways();
  if (stage.split == Split::kWhole && parts != 1) return fail(ErrorCode::kInvalid, "{} parts of a whole stage", parts);
  // One at a time, so that huge numbers can't wrap around.
  const Grid& grid = stage.grid;
  if (stage.split == Split::kSpatial &&
      (grid.rows == 0 || parts % grid.rows != 0 || parts / grid.rows != grid.columns)) {
    return fail(ErrorCode::kInvalid, "a grid of {}×{} for {} parts", grid.rows, grid.columns, parts);
  }
  const bool in_range = std::all_of(stage.weights.begin(), stage.weights.end(),
                                    [](auto weight) { return weight > 0 && weight <= kMaxWeight; });
  if (!stage.weights.empty() && (stage.weights.size() != parts || !in_range)) {
    return fail(ErrorCode::kInvalid, "expected a weight from 1 to {} for each of {} parts", kMaxWeight, parts);
  }
  return {};
}

Expected<void> check_stage(const Plan& plan, const Stage& stage, Availability& available, std::set<std::string>& seen) {
  if (stage.parts.empty()) return fail(ErrorCode::kInvalid, "no parts");
  if (stage.schedule.empty()) return fail(ErrorCode::kInvalid, "an empty schedule");
  if (stage.nodes.empty()) return fail(ErrorCode::kInvalid, "no nodes");
  for (const std::string& name : stage.nodes) {
    if (!available.graph.find_node(name)) return fail(ErrorCode::kInvalid, "no node \"{}\" in the model", name);
    if (!seen.insert(name).second) return fail(ErrorCode::kInvalid, "node \"{}\" is in the plan twice", name);
  }
  TRY(check_division(stage));
  std::map<std::string, std::vector<ValueRegion>> given;
  for (std::size_t p = 0; p < stage.parts.size(); ++p) {
    auto checked = check_part(plan, stage, stage.parts[p], available);
    if (!checked) return fail_in(fmt::format("part {}", p), std::move(checked.error()));
    for (const ValueRegion& output : stage.parts[p].outputs) {
      TRY(available.value_of(output));
      if (p < stage.ways()) given[output.value].push_back(output);
    }
  }
  for (const auto& [name, pieces] : given) {
    const Value& value = available.graph.value(*available.graph.find_value(name));
    const std::string* producer = value.producer.valid() ? &available.graph.node(value.producer).name : nullptr;
    if (producer == nullptr || std::find(stage.nodes.begin(), stage.nodes.end(), *producer) == stage.nodes.end()) {
      return fail(ErrorCode::kInvalid, "value \"{}\" isn't computed by this stage's nodes", name);
    }
    TRY(check_pieces(name, value.type, pieces, stage.ways()));
    available.given.insert(name);
  }
  return check_spares(
      stage, [&](const std::string& name) { return available.graph.value(*available.graph.find_value(name)).type; });
}

}  // namespace

std::string_view split_name(Split split) { return kSplitNames[static_cast<std::size_t>(split)]; }
Expected<Split> split_from_name(std::string_view name) { return enum_from_name<Split>("split", name, kSplitNames); }
std::string_view combine_name(Combine combine) { return kCombineNames[static_cast<std::size_t>(combine)]; }
Expected<Combine> combine_from_name(std::string_view name) {
  return enum_from_name<Combine>("combine", name, kCombineNames);
}

std::string_view spare_name(Spare spare) { return kSpareNames[static_cast<std::size_t>(spare)]; }
Expected<Spare> spare_from_name(std::string_view name) { return enum_from_name<Spare>("spare", name, kSpareNames); }

std::size_t Stage::ways() const {
  switch (spare) {
    case Spare::kNone: break;
    case Spare::kParity: return parts.empty() ? 0 : parts.size() - 1;
    case Spare::kStandby: return parts.size() / 2;
  }
  return parts.size();
}

std::size_t Stage::model_of(std::size_t part) const {
  if (part < ways()) return part;
  if (spare == Spare::kStandby) return part - ways();
  const auto smaller = [](const Part& a, const Part& b) { return a.macs < b.macs; };
  const auto end = parts.begin() + static_cast<std::ptrdiff_t>(ways());
  return static_cast<std::size_t>(std::max_element(parts.begin(), end, smaller) - parts.begin());
}

std::string fingerprint(const Graph& graph) {
  std::uint64_t hash = hash64(to_text(graph));
  for (const Value& value : graph.values()) {
    if (value.constant) hash = hash64(value.constant->buffer().bytes(), hash);
  }
  return hex64(hash);
}

std::vector<PartId> part_ids(const Plan& plan) {
  std::vector<PartId> ids;
  for (std::size_t stage = 0; stage < plan.stages.size(); ++stage) {
    for (std::size_t part = 0; part < plan.stages[stage].parts.size(); ++part) ids.push_back({stage, part});
  }
  return ids;
}

std::string to_string(PartId id) { return fmt::format("stage {} part {}", id.stage, id.part); }

std::size_t device_for(const Plan& plan, PartId id, std::uint64_t request) {
  const Stage& stage = plan.stages[id.stage];
  return stage.parts[id.part].devices[stage.schedule[request % stage.schedule.size()]];
}

std::size_t most_served(const Plan& plan, PartId id, std::size_t device, std::size_t window) {
  const Stage& stage = plan.stages[id.stage];
  const std::vector<std::size_t>& schedule = stage.schedule;
  std::vector<bool> serves;
  for (const std::size_t replica : schedule) serves.push_back(stage.parts[id.part].devices[replica] == device);
  const auto in_all = static_cast<std::size_t>(std::count(serves.begin(), serves.end(), true));
  const std::size_t length = schedule.size(), rest = window % length;
  // The rest of the window slides over the schedule, which repeats.
  std::size_t now = 0;
  for (std::size_t i = 0; i < rest; ++i) now += serves[i] ? 1 : 0;
  std::size_t most = now;
  for (std::size_t i = 0; i < length; ++i) {
    now -= rest > 0 && serves[i] ? 1 : 0;
    now += rest > 0 && serves[(i + rest) % length] ? 1 : 0;
    most = std::max(most, now);
  }
  return window / length * in_all + most;
}

std::size_t schedule_round(const Plan& plan, std::size_t most) {
  std::size_t round = 1;
  for (const Stage& stage : plan.stages) {
    round = std::lcm(round, stage.schedule.size());
    if (round >= most) return most;
  }
  return round;
}

std::set<std::size_t> used_devices(const Plan& plan) {
  std::set<std::size_t> used;
  for (const PartId id : part_ids(plan)) {
    const std::vector<std::size_t>& devices = plan.stages[id.stage].parts[id.part].devices;
    used.insert(devices.begin(), devices.end());
  }
  return used;
}

bool can_lose(const Plan& plan, const std::set<std::size_t>& devices) {
  const auto can_spare = [&](const Stage& stage, std::size_t replica) {
    const auto lost = [&](std::size_t part) { return devices.contains(stage.parts[part].devices[replica]); };
    std::size_t lost_parts = 0, lost_pairs = 0;
    for (std::size_t part = 0; part < stage.parts.size(); ++part) {
      if (!lost(part)) continue;
      ++lost_parts;
      if (part < stage.ways() && stage.spare == Spare::kStandby && lost(part + stage.ways())) ++lost_pairs;
    }
    switch (stage.spare) {
      case Spare::kNone: break;
      case Spare::kParity: return lost_parts <= 1;
      case Spare::kStandby: return lost_pairs == 0;
    }
    return lost_parts == 0;
  };
  return std::all_of(plan.stages.begin(), plan.stages.end(), [&](const Stage& stage) {
    return std::all_of(stage.schedule.begin(), stage.schedule.end(),
                       [&](std::size_t replica) { return can_spare(stage, replica); });
  });
}

const NodeChoices& choices_of(const Plan& plan, PartId id) {
  const Stage& stage = plan.stages[id.stage];
  return stage.split == Split::kWhole ? plan.choices : stage.parts[id.part].choices;
}

Expected<void> check_pieces(std::string_view value, const TensorType& type, std::span<const ValueRegion> pieces,
                            std::size_t parts) {
  const Region whole = Region::whole(type.shape);
  std::int64_t elements = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].combine != pieces[0].combine) {
      return fail(ErrorCode::kInvalid, "value \"{}\" is given both as place and as add", value);
    }
    if (pieces[i].combine == Combine::kParity) {
      return fail(ErrorCode::kInvalid, "value \"{}\": only a spare part gives parity", value);
    }
    if (pieces[i].combine == Combine::kAdd && (pieces[i].region != whole || type.type != DataType::kFloat32)) {
      return fail(ErrorCode::kInvalid, "value \"{}\": only all of a float32 value can be added", value);
    }
    elements += pieces[i].region.shape().elements();
    for (std::size_t other = 0; other < i && pieces[i].combine == Combine::kPlace; ++other) {
      if (!overlap(pieces[i].region, pieces[other].region)) continue;
      return fail(ErrorCode::kInvalid, "value \"{}\": the parts own {} and {}, which overlap", value,
                  pieces[other].region.to_string(), pieces[i].region.to_string());
    }
  }
  if (pieces[0].combine == Combine::kAdd) {
    if (pieces.size() == parts) return {};
    return fail(ErrorCode::kInvalid, "value \"{}\": {} partial sums of {} parts", value, pieces.size(), parts);
  }
  if (elements != whole.shape().elements()) {
    return fail(ErrorCode::kInvalid, "value \"{}\": the parts own {} elements of {}", value, elements,
                whole.shape().elements());
  }
  return {};
}

namespace {

Expected<void> check_parity(const Stage& stage, const std::function<TensorType(const std::string& value)>& type_of) {
  if (stage.split != Split::kOutputChannel || stage.ways() < 2) {
    return fail(ErrorCode::kInvalid, "parity in a stage that isn't split by output channels");
  }
  const Part& parity = stage.parts.back();
  if (parity.outputs.size() != 1 || parity.outputs[0].combine != Combine::kParity) {
    return fail(ErrorCode::kInvalid, "the parity part gives something else than parity");
  }
  const ValueRegion& sum = parity.outputs[0];
  const TensorType type = type_of(sum.value);
  if (type.type != DataType::kFloat32 || type.shape.rank() < 2) {
    return fail(ErrorCode::kInvalid, "value \"{}\": parity of something else than float32 channels", sum.value);
  }
  // From the first channel on, as many as the largest part has.
  std::int64_t channels = 0;
  for (std::size_t p = 0; p < stage.ways(); ++p) {
    const Part& part = stage.parts[p];
    if (part.outputs.size() != 1 || part.outputs[0].value != sum.value || part.outputs[0].combine != Combine::kPlace) {
      return fail(ErrorCode::kInvalid, "part {} gives something else than the parity part's value", p);
    }
    if (part.inputs != parity.inputs)
      return fail(ErrorCode::kInvalid, "part {} and the parity part need different things", p);
    Region all_of_its_channels = Region::whole(type.shape);
    all_of_its_channels[kChannelAxis] = part.outputs[0].region[kChannelAxis];
    if (part.outputs[0].region != all_of_its_channels) {
      return fail(ErrorCode::kInvalid, "part {} gives less than all of its channels", p);
    }
    channels = std::max(channels, part.outputs[0].region[kChannelAxis].size());
  }
  Region expected = Region::whole(type.shape);
  expected[kChannelAxis] = {0, channels};
  if (sum.region == expected) return {};
  return fail(ErrorCode::kInvalid, "value \"{}\": a parity of {}", sum.value, sum.region.to_string());
}

Expected<void> check_standby(const Stage& stage) {
  if (stage.parts.size() % 2 != 0)
    return fail(ErrorCode::kInvalid, "standby for some of its {} parts", stage.parts.size());
  for (std::size_t p = 0; p < stage.ways(); ++p) {
    const Part &part = stage.parts[p], &spare = stage.parts[p + stage.ways()];
    if (part.inputs == spare.inputs && part.outputs == spare.outputs && part.choices == spare.choices) continue;
    return fail(ErrorCode::kInvalid, "part {} isn't what part {} is standby for", p + stage.ways(), p);
  }
  return {};
}

}  // namespace

Expected<void> check_spares(const Stage& stage, const std::function<TensorType(const std::string& value)>& type_of) {
  switch (stage.spare) {
    case Spare::kNone: break;
    case Spare::kParity: return check_parity(stage, type_of);
    case Spare::kStandby: return check_standby(stage);
  }
  return {};
}

Expected<void> check_needs(const Part& part) {
  if (part.outputs.empty()) return fail(ErrorCode::kInvalid, "no outputs");
  if (part.inputs.empty()) return fail(ErrorCode::kInvalid, "no inputs: nothing would tell it of a request");
  for (const auto* regions : {&part.inputs, &part.outputs}) {
    std::set<std::string_view> seen;
    for (const ValueRegion& region : *regions) {
      if (seen.insert(region.value).second) continue;
      return fail(ErrorCode::kInvalid, "two regions of value \"{}\"", region.value);
    }
  }
  return {};
}

Expected<void> check_plan(const Plan& plan, const Graph& graph) {
  const std::string expected = fingerprint(graph);
  if (plan.fingerprint != expected) {
    return fail(ErrorCode::kInvalid, "the plan was made for another model: its fingerprint is {}, this model's is {}",
                plan.fingerprint, expected);
  }
  const auto names = [&](const std::vector<ValueId>& values) {
    std::vector<std::string> result;
    for (const ValueId id : values) result.push_back(graph.value(id).name);
    return result;
  };
  if (plan.inputs != names(graph.inputs()) || plan.outputs != names(graph.outputs())) {
    return fail(ErrorCode::kInvalid, "the plan's inputs and outputs aren't the model's");
  }
  if (plan.stages.empty()) return fail(ErrorCode::kInvalid, "the plan has no stages");
  if (plan.window == 0) return fail(ErrorCode::kInvalid, "the plan's window is 0");
  Availability available{graph, {}};
  std::set<std::string> seen;
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    auto checked = check_stage(plan, plan.stages[s], available, seen);
    if (!checked) return fail_in(fmt::format("stage {}", s), std::move(checked.error()));
  }
  if (seen.size() != graph.node_count()) {
    return fail(ErrorCode::kInvalid, "the plan has {} nodes, the model {}", seen.size(), graph.node_count());
  }
  for (const ValueId id : graph.outputs()) {
    if (!available.given.contains(graph.value(id).name)) {
      return fail(ErrorCode::kInvalid, "no stage gives the output \"{}\"", graph.value(id).name);
    }
  }
  return {};
}

}  // namespace onnx_split
