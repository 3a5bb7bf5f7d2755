#include "partition/manifest.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "base/file.h"
#include "partition/plan_json.h"

namespace onnx_split {
namespace {

Json tensors_to_json(const std::vector<ManifestTensor>& tensors) {
  Json list = Json::array();
  for (const ManifestTensor& tensor : tensors) {
    Json entry = {{"tensor", tensor.tensor}};
    entry.update(value_region_to_json(tensor.region));
    if (!tensor.members.empty()) entry["members"] = tensor.members;
    list.push_back(std::move(entry));
  }
  return list;
}

Expected<DataType> data_type_from_name(const JsonReader& reader) {
  TRY_ASSIGN(const std::string name, reader.string());
  for (const DataType type : {DataType::kFloat32, DataType::kInt64, DataType::kBool}) {
    if (name == data_type_name(type)) return type;
  }
  return reader.expected("float32, int64 or bool");
}

Expected<ManifestValue> read_value(const std::string& name, const JsonReader& reader) {
  ManifestValue value{name, {}};
  TRY_ASSIGN(const JsonReader dtype, reader.at("dtype"));
  TRY_ASSIGN(value.type.type, data_type_from_name(dtype));
  TRY_ASSIGN(const JsonReader shape, reader.at("shape"));
  TRY_ASSIGN(std::vector<std::int64_t> dims, shape.integers());
  TRY_ASSIGN(value.type.shape, Shape::checked(std::move(dims)));
  return value;
}

Expected<std::vector<ManifestTensor>> read_tensors(const Manifest& manifest, const JsonReader& reader,
                                                   const std::set<std::string>& available) {
  TRY_ASSIGN(const std::vector<JsonReader> elements, reader.elements());
  std::vector<ManifestTensor> tensors;
  for (const JsonReader& element : elements) {
    ManifestTensor tensor;
    TRY_ASSIGN(tensor.tensor, element.string("tensor"));
    TRY_ASSIGN(tensor.region, value_region_from_json(element));
    const TensorType* type = manifest.find_value(tensor.region.value);
    if (type == nullptr) return element.expected("a value that \"values\" lists");
    if (!tensor.region.region.inside(type->shape)) {
      return element.expected(fmt::format("a region inside {}", type->shape.to_string()));
    }
    if (!available.empty() && !available.contains(tensor.region.value)) {
      return element.expected("a value that an earlier part gives");
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Expected<std::vector<std::string>> read_names(const JsonReader& root, std::string_view name) {
  TRY_ASSIGN(std::vector<std::string> names, root.strings(name));
  if (names.empty()) return fail(ErrorCode::kInvalid, "{}: expected at least one name", name);
  return names;
}

// Whether what the parts give makes up every value that they give: placed regions cover it, addends are float32.
Expected<void> check_given(const Manifest& manifest) {
  for (const ManifestValue& value : manifest.values) {
    std::int64_t placed = 0;
    bool added = false;
    bool given = false;
    for (const ManifestPart& part : manifest.parts) {
      for (const ManifestTensor& output : part.outputs) {
        if (output.region.value != value.name || output.region.combine == Combine::kParity) continue;
        given = true;
        added = added || output.region.combine == Combine::kAdd;
        placed += output.region.region.shape().elements();
      }
    }
    if (!given) continue;
    if (added && value.type.type != DataType::kFloat32) {
      return fail(ErrorCode::kInvalid, "value \"{}\": only float32 can be added, not {}", value.name,
                  data_type_name(value.type.type));
    }
    if (!added && placed != value.type.shape.elements()) {
      return fail(ErrorCode::kInvalid, "value \"{}\": the parts give {} elements of {}", value.name, placed,
                  value.type.shape.elements());
    }
  }
  return {};
}

// Of the parts so far.
Expected<void> read_members(const Manifest& manifest, const ManifestPart& part, const JsonReader& reader,
                            ManifestTensor& output) {
  TRY_ASSIGN(const JsonReader members, reader.at("members"));
  TRY_ASSIGN(const std::vector<std::int64_t> indices, members.integers());
  if (indices.empty()) return members.expected("at least one part");
  if (manifest.find_value(output.region.value)->type != DataType::kFloat32 || output.region.region.rank() < 2) {
    return reader.expected("parity of float32 channels");
  }
  for (const std::int64_t index : indices) {
    const auto gives = [&](const ManifestPart& other) {
      return other.id.stage == part.id.stage && other.id.part == static_cast<std::size_t>(index) &&
             other.outputs.size() == 1 && other.outputs[0].region.value == output.region.value &&
             other.outputs[0].region.combine == Combine::kPlace;
    };
    if (index < 0 || std::none_of(manifest.parts.begin(), manifest.parts.end(), gives)) {
      return members.expected("parts of the same stage that give the value");
    }
    output.members.push_back(static_cast<std::size_t>(index));
  }
  return {};
}

Expected<ManifestPart> read_manifest_part(const Manifest& manifest, const JsonReader& reader,
                                          const std::set<std::string>& available) {
  ManifestPart part;
  TRY_ASSIGN(const JsonReader file, reader.at("file"));
  TRY_ASSIGN(part.file, file.string());
  if (part.file.empty() || part.file.front() == '.' || part.file.find('/') != std::string::npos) {
    return file.expected("a plain file name");
  }
  TRY_ASSIGN(const std::int64_t stage, reader.integer("stage", 0, 1 << 20));
  TRY_ASSIGN(const std::int64_t index, reader.integer("part", 0, 1 << 20));
  part.id = {static_cast<std::size_t>(stage), static_cast<std::size_t>(index)};
  TRY_ASSIGN(const JsonReader inputs, reader.at("inputs"));
  TRY_ASSIGN(part.inputs, read_tensors(manifest, inputs, available));
  TRY_ASSIGN(const JsonReader outputs, reader.at("outputs"));
  TRY_ASSIGN(part.outputs, read_tensors(manifest, outputs, {}));
  TRY_ASSIGN(const std::vector<JsonReader> elements, outputs.elements());
  for (std::size_t i = 0; i < elements.size(); ++i) {
    if (part.outputs[i].region.combine == Combine::kParity)
      TRY(read_members(manifest, part, elements[i], part.outputs[i]));
  }
  return part;
}

}  // namespace

const TensorType* Manifest::find_value(std::string_view name) const {
  const auto found = std::find_if(values.begin(), values.end(), [&](const auto& value) { return value.name == name; });
  return found == values.end() ? nullptr : &found->type;
}

const ManifestPart* Manifest::find_part(PartId id) const {
  const auto found = std::find_if(parts.begin(), parts.end(), [&](const ManifestPart& part) { return part.id == id; });
  return found == parts.end() ? nullptr : &*found;
}

Manifest make_manifest(const Graph& graph, const Plan& plan) {
  Manifest manifest;
  manifest.model = graph.name();
  const auto add_value = [&](const std::string& name) {
    if (manifest.find_value(name) != nullptr) return;
    manifest.values.push_back({name, graph.value(*graph.find_value(name)).type});
  };
  for (const ValueId id : graph.inputs()) {
    manifest.inputs.push_back(graph.value(id).name);
    add_value(graph.value(id).name);
  }
  for (const PartId id : part_ids(plan)) {
    const Stage& stage = plan.stages[id.stage];
    const Part& part = stage.parts[id.part];
    if (stage.spare == Spare::kStandby && id.part >= stage.ways()) continue;
    ManifestPart entry{fmt::format("stage{}_part{}.onnx", id.stage, id.part), id, {}, {}};
    for (const ValueRegion& input : part.inputs) entry.inputs.push_back({input.value, input, {}});
    for (const ValueRegion& output : part.outputs) {
      ManifestTensor& tensor = entry.outputs.emplace_back(ManifestTensor{output.value, output, {}});
      if (output.combine == Combine::kParity) {
        tensor.members.resize(stage.ways());
        std::iota(tensor.members.begin(), tensor.members.end(), std::size_t{0});
      }
      add_value(output.value);
    }
    manifest.parts.push_back(std::move(entry));
  }
  for (const ValueId id : graph.outputs()) manifest.outputs.push_back(graph.value(id).name);
  return manifest;
}

Json manifest_value_to_json(const ManifestValue& value) {
  return {{"name", value.name}, {"dtype", data_type_name(value.type.type)}, {"shape", value.type.shape.vector()}};
}

Expected<ManifestValue> manifest_value_from_json(const JsonReader& reader) {
  TRY_ASSIGN(const std::string name, reader.string("name"));
  return read_value(name, reader);
}

Json manifest_to_json(const Manifest& manifest) {
  Json values = Json::object();
  for (const ManifestValue& value : manifest.values) {
    values[value.name] = {{"dtype", data_type_name(value.type.type)}, {"shape", value.type.shape.vector()}};
  }
  Json parts = Json::array();
  for (const ManifestPart& part : manifest.parts) {
    parts.push_back({{"file", part.file},
                     {"stage", part.id.stage},
                     {"part", part.id.part},
                     {"inputs", tensors_to_json(part.inputs)},
                     {"outputs", tensors_to_json(part.outputs)}});
  }
  return {{"model", manifest.model},
          {"values", std::move(values)},
          {"parts", std::move(parts)},
          {"inputs", manifest.inputs},
          {"outputs", manifest.outputs}};
}

Expected<Manifest> manifest_from_json(const Json& json) {
  const JsonReader root(json);
  Manifest manifest;
  TRY_ASSIGN(manifest.model, root.string("model"));
  TRY_ASSIGN(const JsonReader values, root.at("values"));
  TRY_ASSIGN(const auto members, values.members());
  for (const auto& [name, reader] : members) {
    TRY_ASSIGN(ManifestValue value, read_value(name, reader));
    manifest.values.push_back(std::move(value));
  }
  TRY_ASSIGN(manifest.inputs, read_names(root, "inputs"));
  TRY_ASSIGN(manifest.outputs, read_names(root, "outputs"));
  std::set<std::string> available(manifest.inputs.begin(), manifest.inputs.end());
  TRY_ASSIGN(const JsonReader parts, root.at("parts"));
  TRY_ASSIGN(const std::vector<JsonReader> elements, parts.elements());
  for (const JsonReader& element : elements) {
    TRY_ASSIGN(ManifestPart part, read_manifest_part(manifest, element, available));
    for (const ManifestTensor& output : part.outputs) available.insert(output.region.value);
    manifest.parts.push_back(std::move(part));
  }
  if (manifest.parts.empty()) return parts.expected("at least one part");
  TRY(check_given(manifest));
  for (const std::string& name : manifest.inputs) {
    if (manifest.find_value(name) == nullptr)
      return fail(ErrorCode::kInvalid, "inputs: \"{}\" isn't in \"values\"", name);
  }
  for (const std::string& name : manifest.outputs) {
    if (!available.contains(name)) return fail(ErrorCode::kInvalid, "outputs: no part gives \"{}\"", name);
  }
  return manifest;
}

Expected<Manifest> read_manifest(const std::filesystem::path& path) {
  TRY_ASSIGN(const std::string text, read_file(path));
  auto json = parse_json(text);
  if (!json) return fail_in(path.string(), std::move(json.error()));
  auto manifest = manifest_from_json(*json);
  if (!manifest) return fail_in(path.string(), std::move(manifest.error()));
  return manifest;
}

}  // namespace onnx_split
