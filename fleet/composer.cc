#include "fleet/composer.h"

#include <algorithm>

#include "fleet/assemble.h"
#include "graph/cut_out.h"
#include "onnx_import/import.h"
#include "partition/extract.h"

namespace onnx_split {
namespace {

// The part's values must be named and shaped as the manifest says, in whatever order the file has them.
Expected<std::vector<std::size_t>> order_of(const Graph& graph, const std::vector<ValueId>& ids,
                                            const std::vector<ManifestTensor>& tensors, const Manifest& manifest) {
  if (ids.size() != tensors.size()) {
    return fail(ErrorCode::kInvalid, "the part has {} inputs or outputs where the manifest has {}", ids.size(),
                tensors.size());
  }
  std::vector<std::size_t> order;
  for (const ValueId id : ids) {
    const Value& value = graph.value(id);
    const auto found = std::find_if(tensors.begin(), tensors.end(),
                                    [&](const ManifestTensor& tensor) { return tensor.tensor == value.name; });
    if (found == tensors.end()) {
      return fail(ErrorCode::kInvalid, "the manifest doesn't list the part's tensor \"{}\"", value.name);
    }
    const TensorType expected{manifest.find_value(found->region.value)->type, found->region.region.shape()};
    if (value.type != expected) {
      return fail(ErrorCode::kInvalid, "tensor \"{}\": expected {}, found {}", value.name, expected.to_string(),
                  value.type.to_string());
    }
    order.push_back(static_cast<std::size_t>(found - tensors.begin()));
  }
  return order;
}

// One value being put together.
class Assembly {
 public:
  explicit Assembly(const TensorType& type) : region_(Region::whole(type.shape)), builder_(type, true) {}
  void take(const ValueRegion& what, const Tensor& tensor) {
    const MutableRegionView target{region_, builder_.view()};
    what.combine == Combine::kPlace ? place({what.region, tensor.view()}, target)
                                    : add({what.region, tensor.view()}, target);
  }
  Tensor build() && { return std::move(builder_).build(); }

 private:
  Region region_;
  TensorBuilder builder_;
};

}  // namespace

KernelChoices choices_for(const Graph& graph, const KernelChoices& choices) {
  KernelChoices own;
  for (const Node& node : graph.nodes()) {
    const auto found = choices.find(node.name);
    if (found != choices.end()) own.insert(*found);
  }
  return own;
}

Expected<Composer> Composer::create(const Graph& graph, const Plan& plan, const SessionOptions& options) {
  TRY_ASSIGN(std::vector<PartGraph> extracted, extract_parts(graph, plan));
  Manifest manifest = make_manifest(graph, plan);
  std::vector<ComposedPart> parts;
  for (PartGraph& part : extracted) {
    if (manifest.find_part(part.id) == nullptr) continue;  // standby
    parts.push_back({std::move(part.graph), choices_of(plan, part.id)});
  }
  return create(std::move(manifest), std::move(parts), options);
}

Expected<Composer> Composer::create(Manifest manifest, std::vector<ComposedPart> parts, const SessionOptions& options) {
  if (parts.size() != manifest.parts.size()) {
    return fail(ErrorCode::kInvalid, "the manifest has {} parts, {} are given", manifest.parts.size(), parts.size());
  }
  Composer composer;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string& file = manifest.parts[i].file;
    for (const bool inputs : {true, false}) {
      const Graph& graph = parts[i].graph;
      auto order = order_of(graph, inputs ? graph.inputs() : graph.outputs(),
                            inputs ? manifest.parts[i].inputs : manifest.parts[i].outputs, manifest);
      if (!order) return fail_in(file, std::move(order.error()));
      // From here on the manifest's order is the part's.
      std::vector<ManifestTensor>& tensors = inputs ? manifest.parts[i].inputs : manifest.parts[i].outputs;
      std::vector<ManifestTensor> sorted;
      for (const std::size_t index : *order) sorted.push_back(tensors[index]);
      tensors = std::move(sorted);
    }
    SessionOptions part_options = options;
    part_options.choices = choices_for(parts[i].graph, parts[i].choices);
    auto session = Session::create(std::move(parts[i].graph), part_options);
    if (!session) return fail_in(file, std::move(session.error()));
    composer.sessions_.push_back(std::move(*session));
  }
  composer.manifest_ = std::move(manifest);
  return composer;
}

DecodedValue Composer::decoded_without(const Piece& lost, const Piece& parity, const std::vector<Piece>& members,
                                       const TensorType& type) {
  Assembly assembly(type);
  std::vector<RegionView> others;
  for (const Piece& member : members) {
    if (member.part == lost.part) continue;
    assembly.take(member.what, member.tensor);
    others.push_back({member.what.region, member.tensor.view()});
  }
  TensorBuilder builder(lost.tensor.type());
  decode({parity.what.region, parity.tensor.view()}, others, {lost.what.region, builder.view()});
  assembly.take(lost.what, std::move(builder).build());
  return {lost.what.value, lost.part, std::move(assembly).build()};
}

Expected<NamedTensors> Composer::run(std::span<const Tensor> inputs, std::vector<DecodedValue>* decoded) {
  if (inputs.size() != manifest_.inputs.size()) {
    return fail(ErrorCode::kInvalid, "the model has {} inputs, {} are given", manifest_.inputs.size(), inputs.size());
  }
  NamedTensors values;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const TensorType* expected = manifest_.find_value(manifest_.inputs[i]);
    if (expected == nullptr || *expected != inputs[i].type()) {
      return fail(ErrorCode::kInvalid, "input \"{}\" is {} in the manifest, {} is given", manifest_.inputs[i],
                  expected == nullptr ? "nothing" : expected->to_string(), inputs[i].type().to_string());
    }
    values[manifest_.inputs[i]] = inputs[i];
  }
  std::map<std::string, Assembly> assemblies;
  std::vector<Piece> pieces;  // of the stage
  for (std::size_t p = 0; p < manifest_.parts.size(); ++p) {
    const ManifestPart& part = manifest_.parts[p];
    const bool is_parity = part.outputs.size() == 1 && part.outputs[0].region.combine == Combine::kParity;
    if (is_parity && decoded == nullptr) continue;
    if (p > 0 && part.id.stage != manifest_.parts[p - 1].id.stage) pieces.clear();
    std::vector<Tensor> part_inputs;
    std::vector<TensorView> input_views;
    for (const ManifestTensor& input : part.inputs) {
      // The first part that needs a value finds it whole: the manifest's order says so.
      const auto assembly = assemblies.find(input.region.value);
      if (assembly != assemblies.end()) {
        values[input.region.value] = std::move(assembly->second).build();
        assemblies.erase(assembly);
      }
      part_inputs.push_back(cut_out(values[input.region.value], input.region.region));
    }
    for (const Tensor& tensor : part_inputs) input_views.push_back(tensor.view());
    std::vector<TensorBuilder> builders;
    std::vector<MutableTensorView> output_views;
    for (const ManifestTensor& output : part.outputs) {
      builders.emplace_back(TensorType{manifest_.find_value(output.region.value)->type, output.region.region.shape()});
    }
    for (TensorBuilder& builder : builders) output_views.push_back(builder.view());
    auto ran = sessions_[p]->run(input_views, output_views);
    if (!ran) return fail_in(part.file, std::move(ran.error()));
    for (std::size_t i = 0; i < part.outputs.size(); ++i) {
      const ValueRegion& what = part.outputs[i].region;
      const TensorType& type = *manifest_.find_value(what.value);
      Piece piece{part.id, what, std::move(builders[i]).build()};
      if (is_parity) {
        const std::vector<std::size_t>& members = part.outputs[i].members;
        std::erase_if(pieces, [&](const Piece& other) {
          return std::find(members.begin(), members.end(), other.part.part) == members.end();
        });
        for (const Piece& lost : pieces) decoded->push_back(decoded_without(lost, piece, pieces, type));
        continue;
      }
      const auto [assembly, fresh] = assemblies.try_emplace(what.value, type);
      assembly->second.take(what, piece.tensor);
      if (decoded != nullptr) pieces.push_back(std::move(piece));
    }
  }
  for (auto& [name, assembly] : assemblies) values[name] = std::move(assembly).build();
  for (const std::string& name : manifest_.inputs) values.erase(name);
  return values;
}

Expected<PartFolder> read_part_folder(const std::filesystem::path& folder) {
  PartFolder result;
  TRY_ASSIGN(result.manifest, read_manifest(folder / "manifest.json"));
  ImportOptions options;
  options.simplify = false;
  for (const ManifestPart& part : result.manifest.parts) {
    TRY_ASSIGN(Graph graph, import_onnx(folder / part.file, options));
    result.parts.push_back(std::move(graph));
  }
  return result;
}

}  // namespace onnx_split
