#include "partition/plan_json.h"

#include "base/file.h"
#include "partition/prediction_json.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kPlanFormat = 4;
constexpr std::int64_t kMaxCount = 1 << 20;
constexpr std::uint64_t kMaxPlanBytes = 64 << 20;

Json regions_to_json(const std::vector<ValueRegion>& regions) {
  Json list = Json::array();
  for (const ValueRegion& region : regions) list.push_back(value_region_to_json(region));
  return list;
}

Json choices_to_json(const NodeChoices& choices) {
  Json object = Json::object();
  for (const auto& [node, choice] : choices) object[node] = choice;
  return object;
}

Expected<NodeChoices> read_choices(const JsonReader& reader) {
  TRY_ASSIGN(const JsonReader object, reader.at("choices"));
  TRY_ASSIGN(const auto members, object.members());
  NodeChoices choices;
  for (const auto& [node, choice] : members) {
    TRY_ASSIGN(choices[node], choice.string());
  }
  return choices;
}

Json part_to_json(const Part& part) {
  Json json = {{"devices", part.devices},
               {"inputs", regions_to_json(part.inputs)},
               {"outputs", regions_to_json(part.outputs)},
               {"macs", part.macs},
               {"repeated_macs", part.repeated_macs},
               {"weight_bytes", part.weight_bytes},
               {"activation_bytes", part.activation_bytes},
               {"received_bytes", part.received_bytes},
               {"sent_bytes", part.sent_bytes},
               {"choices", choices_to_json(part.choices)}};
  if (!part.compute_s.empty()) json["compute_s"] = part.compute_s;
  return json;
}

Json stage_to_json(const Stage& stage) {
  Json parts = Json::array();
  for (const Part& part : stage.parts) parts.push_back(part_to_json(part));
  return {{"split", split_name(stage.split)},
          {"grid", {stage.grid.rows, stage.grid.columns}},
          {"weights", stage.weights},
          {"schedule", stage.schedule},
          {"spare", spare_name(stage.spare)},
          {"parts", std::move(parts)},
          {"nodes", stage.nodes}};
}

// Reads the list `name` with `read_one`.
template <class T, class ReadOne>
Expected<std::vector<T>> read_list(const JsonReader& reader, std::string_view name, const ReadOne& read_one) {
  TRY_ASSIGN(const JsonReader list, reader.at(name));
  TRY_ASSIGN(const std::vector<JsonReader> elements, list.elements());
  std::vector<T> result;
  result.reserve(elements.size());
  for (const JsonReader& element : elements) {
    TRY_ASSIGN(T one, read_one(element));
    result.push_back(std::move(one));
  }
  return result;
}

Expected<std::size_t> read_index(const JsonReader& reader) {
  TRY_ASSIGN(const std::int64_t index, reader.integer(0, kMaxCount));
  return static_cast<std::size_t>(index);
}

Expected<Part> read_part(const JsonReader& reader) {
  Part part;
  TRY_ASSIGN(part.devices, read_list<std::size_t>(reader, "devices", read_index));
  TRY_ASSIGN(part.inputs, read_list<ValueRegion>(reader, "inputs", value_region_from_json));
  TRY_ASSIGN(part.outputs, read_list<ValueRegion>(reader, "outputs", value_region_from_json));
  TRY_ASSIGN(part.macs, reader.integer("macs", 0, INT64_MAX));
  TRY_ASSIGN(part.repeated_macs, reader.integer("repeated_macs", 0, INT64_MAX));
  TRY_ASSIGN(part.weight_bytes, reader.integer("weight_bytes", 0, INT64_MAX));
  TRY_ASSIGN(part.activation_bytes, reader.integer("activation_bytes", 0, INT64_MAX));
  TRY_ASSIGN(part.received_bytes, reader.integer("received_bytes", 0, INT64_MAX));
  TRY_ASSIGN(part.sent_bytes, reader.integer("sent_bytes", 0, INT64_MAX));
  TRY_ASSIGN(part.choices, read_choices(reader));
  if (reader.has("compute_s")) {
    TRY_ASSIGN(part.compute_s, read_list<double>(reader, "compute_s", read_amount));
  }
  return part;
}

Expected<Stage> read_stage(const JsonReader& reader) {
  Stage stage;
  TRY_ASSIGN(const std::string split, reader.string("split"));
  TRY_ASSIGN(stage.split, split_from_name(split));
  TRY_ASSIGN(const std::vector<std::size_t> grid, read_list<std::size_t>(reader, "grid", read_index));
  TRY_ASSIGN(const JsonReader grid_reader, reader.at("grid"));
  if (grid.size() != 2) return grid_reader.expected("[rows, columns]");
  stage.grid = {grid[0], grid[1]};
  TRY_ASSIGN(const JsonReader weights, reader.at("weights"));
  TRY_ASSIGN(stage.weights, weights.integers());
  TRY_ASSIGN(stage.schedule, read_list<std::size_t>(reader, "schedule", read_index));
  TRY_ASSIGN(const std::string spare, reader.string("spare"));
  TRY_ASSIGN(stage.spare, spare_from_name(spare));
  TRY_ASSIGN(stage.parts, read_list<Part>(reader, "parts", read_part));
  TRY_ASSIGN(stage.nodes, reader.strings("nodes"));
  return stage;
}

}  // namespace

Json value_region_to_json(const ValueRegion& region) {
  Json offset = Json::array();
  for (std::size_t axis = 0; axis < region.region.rank(); ++axis) offset.push_back(region.region[axis].begin);
  return {{"value", region.value},
          {"offset", std::move(offset)},
          {"shape", region.region.shape().vector()},
          {"combine", combine_name(region.combine)}};
}

Expected<ValueRegion> value_region_from_json(const JsonReader& reader) {
  ValueRegion result;
  TRY_ASSIGN(result.value, reader.string("value"));
  TRY_ASSIGN(const JsonReader offset_reader, reader.at("offset"));
  TRY_ASSIGN(const std::vector<std::int64_t> offset, offset_reader.integers());
  TRY_ASSIGN(const JsonReader shape_reader, reader.at("shape"));
  TRY_ASSIGN(std::vector<std::int64_t> dims, shape_reader.integers());
  TRY_ASSIGN(const std::string combine, reader.string("combine"));
  TRY_ASSIGN(result.combine, combine_from_name(combine));
  TRY_ASSIGN(const Shape shape, Shape::checked(std::move(dims)));
  if (offset.size() != shape.rank()) {
    return offset_reader.expected(fmt::format("{} numbers, as the shape has", shape.rank()));
  }
  std::vector<Range> ranges(offset.size());
  for (std::size_t axis = 0; axis < offset.size(); ++axis) {
    if (offset[axis] < 0 || offset[axis] > kMaxElements) return offset_reader.expected("offsets inside the value");
    ranges[axis] = {offset[axis], offset[axis] + shape[axis]};
  }
  result.region = Region(std::move(ranges));
  return result;
}

Json plan_to_json(const Plan& plan) {
  Json stages = Json::array();
  for (const Stage& stage : plan.stages) stages.push_back(stage_to_json(stage));
  Json json = {{"format", kPlanFormat},
               {"model", plan.model},
               {"fingerprint", plan.fingerprint},
               {"inputs", plan.inputs},
               {"outputs", plan.outputs},
               {"devices", plan.devices},
               {"threads", plan.threads},
               {"core_type", plan.core_type},
               {"window", plan.window},
               {"stages", std::move(stages)},
               {"choices", choices_to_json(plan.choices)}};
  if (plan.prediction) json["prediction"] = prediction_to_json(*plan.prediction);
  return json;
}

Expected<Plan> plan_from_json(const Json& json) {
  const JsonReader reader(json);
  TRY(reader.integer("format", kPlanFormat, kPlanFormat));
  Plan plan;
  TRY_ASSIGN(plan.model, reader.string("model"));
  TRY_ASSIGN(plan.fingerprint, reader.string("fingerprint"));
  TRY_ASSIGN(plan.inputs, reader.strings("inputs"));
  TRY_ASSIGN(plan.outputs, reader.strings("outputs"));
  TRY_ASSIGN(plan.devices, reader.strings("devices"));
  TRY_ASSIGN(const std::int64_t threads, reader.integer("threads", 1, 1024));
  plan.threads = static_cast<unsigned>(threads);
  TRY_ASSIGN(plan.core_type, reader.string("core_type"));
  TRY_ASSIGN(const std::int64_t window, reader.integer("window", 1, 1 << 16));
  plan.window = static_cast<std::size_t>(window);
  TRY_ASSIGN(plan.stages, read_list<Stage>(reader, "stages", read_stage));
  TRY_ASSIGN(plan.choices, read_choices(reader));
  if (reader.has("prediction")) {
    TRY_ASSIGN(const JsonReader prediction, reader.at("prediction"));
    TRY_ASSIGN(plan.prediction, prediction_from_json(prediction));
  }
  return plan;
}

Expected<void> write_plan(const Plan& plan, const std::filesystem::path& path) {
  return write_file(path, to_text(plan_to_json(plan), 1) + "\n");
}

Expected<Plan> read_plan(const std::filesystem::path& path) {
  TRY_ASSIGN(const std::string text, read_file(path, kMaxPlanBytes));
  auto json = parse_json(text);
  if (!json) return fail_in(path.string(), std::move(json.error()));
  auto plan = plan_from_json(*json);
  if (!plan) return fail_in(path.string(), std::move(plan.error()));
  return plan;
}

}  // namespace onnx_split
