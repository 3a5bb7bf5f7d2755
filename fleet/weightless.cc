#include "fleet/weightless.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <unordered_map>

#include "base/random.h"
#include "graph/builder.h"
#include "graph/operators.h"

namespace onnx_split {
namespace {

// Its normal numbers are repeated: drawing a hundred million of them takes longer than using them. An odd length, so
// that rows of a matrix don't repeat each other.
constexpr std::size_t kDistinctNumbers = 65'521;

const std::vector<float>& normal_numbers() {
  static const std::vector<float> numbers = [] {
    Random random(1);
    std::vector<float> drawn(kDistinctNumbers);
    for (float& number : drawn) number = random.normal();
    return drawn;
  }();
  return numbers;
}

template <class Map>
void fill(std::span<float> target, const Map& map) {
  const std::vector<float>& numbers = normal_numbers();
  for (std::size_t done = 0; done < target.size(); done += numbers.size()) {
    const std::size_t count = std::min(numbers.size(), target.size() - done);
    for (std::size_t i = 0; i < count; ++i) target[done + i] = map(numbers[i]);
  }
}

template <class Map>
Tensor filled(const TensorType& type, const Map& map) {
  TensorBuilder builder(type);
  fill(builder.as<float>(), map);
  return std::move(builder).build();
}

// How many products a constant's consumer adds up for one element; 0 if it doesn't.
std::int64_t fan_in(const Graph& graph, const Value& constant) {
  if (constant.consumers.empty()) return 0;
  const Node& node = graph.node(constant.consumers.front());
  const std::int64_t outputs = graph.value(node.outputs.front()).shape().elements();
  return outputs == 0 ? 0 : node_cost(graph, node).macs / outputs;
}

Tensor random_constant(const Graph& graph, const Value& value) {
  const std::int64_t summed = fan_in(graph, value);
  if (summed > 0) {
    const float deviation = std::sqrt(2.0F / static_cast<float>(summed));
    return filled(value.type, [deviation](float number) { return deviation * number; });
  }
  // A factor, an addend, a variance: near 1, whatever it is.
  return filled(value.type, [](float number) { return 1.0F + 0.5F * std::tanh(number); });
}

// A graph being copied node by node into a builder.
class Copy {
 public:
  explicit Copy(const Graph& graph) : graph_(graph), builder_(graph.name()) {}

  Expected<void> input(ValueId id) {
    const Value& value = graph_.value(id);
    TRY_ASSIGN(copies_[id], builder_.add_input(value.name, value.type));
    return {};
  }
  Expected<void> constant(ValueId id, Tensor data) {
    TRY_ASSIGN(copies_[id], builder_.add_constant(graph_.value(id).name, std::move(data)));
    return {};
  }
  Expected<void> node(const Node& node) {
    std::vector<ValueId> inputs;
    std::vector<std::string> outputs;
    for (const ValueId input : node.inputs) inputs.push_back(copies_.at(input));
    for (const ValueId output : node.outputs) outputs.push_back(graph_.value(output).name);
    TRY_ASSIGN(const NodeId copy, builder_.add_node(node.name, node.op, node.attributes, inputs, std::move(outputs)));
    const std::vector<ValueId>& made = builder_.graph().node(copy).outputs;
    for (std::size_t i = 0; i < made.size(); ++i) copies_[node.outputs[i]] = made[i];
    return {};
  }
  bool has(ValueId id) const { return copies_.contains(id); }
  Expected<Graph> build(const std::vector<ValueId>& outputs) && {
    std::vector<ValueId> copies;
    for (const ValueId output : outputs) copies.push_back(copies_.at(output));
    return std::move(builder_).build(std::move(copies));
  }

 private:
  const Graph& graph_;
  GraphBuilder builder_;
  std::unordered_map<ValueId, ValueId> copies_;
};

Expected<void> check_constants(const Weightless& weightless) {
  std::vector<std::string> names = weightless.constants;
  std::sort(names.begin(), names.end());
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0 && names[i] == names[i - 1]) return fail(ErrorCode::kInvalid, "constant \"{}\" is given twice", names[i]);
    const std::optional<ValueId> id = weightless.graph.find_value(names[i]);
    const auto& inputs = weightless.graph.inputs();
    if (!id || std::find(inputs.begin(), inputs.end(), *id) == inputs.end()) {
      return fail(ErrorCode::kInvalid, "constant \"{}\": the model has no such input", names[i]);
    }
    const TensorType& type = weightless.graph.value(*id).type;
    if (type.type != DataType::kFloat32) {
      return fail(ErrorCode::kInvalid, "constant \"{}\": expected float32, found {}", names[i], type.to_string());
    }
  }
  return {};
}

// The graph with `data_of(value)` for each constant without data.
Expected<Graph> with_weights(const Weightless& weightless, const std::function<Tensor(const Value&)>& data_of) {
  TRY(check_constants(weightless));
  const Graph& graph = weightless.graph;
  Copy copy(graph);
  for (const std::string& name : weightless.constants) {
    const ValueId id = *graph.find_value(name);
    TRY(copy.constant(id, data_of(graph.value(id))));
  }
  for (const ValueId id : graph.inputs()) {
    if (!copy.has(id)) TRY(copy.input(id));
  }
  for (std::size_t i = 0; i < graph.value_count(); ++i) {
    if (graph.values()[i].constant) TRY(copy.constant(ValueId(i), *graph.values()[i].constant));
  }
  for (const Node& node : graph.nodes()) TRY(copy.node(node));
  return std::move(copy).build(graph.outputs());
}

}  // namespace

Expected<Weightless> without_weights(const Graph& graph, std::size_t begin, std::size_t end) {
  CHECK(begin < end && end <= graph.node_count());
  Copy copy(graph);
  std::vector<std::string> constants;
  std::vector<ValueId> outputs;
  const auto inside = [&](NodeId node) { return node.valid() && node.index() >= begin && node.index() < end; };
  for (std::size_t i = begin; i < end; ++i) {
    for (const ValueId id : graph.nodes()[i].inputs) {
      const Value& value = graph.value(id);
      if (copy.has(id) || inside(value.producer)) continue;
      const bool is_weight =
          value.constant && value.type.type == DataType::kFloat32 && value.type.size_bytes() > kKeptConstantBytes;
      if (is_weight) constants.push_back(value.name);
      if (value.constant && !is_weight) {
        TRY(copy.constant(id, *value.constant));
      } else {
        TRY(copy.input(id));
      }
    }
    TRY(copy.node(graph.nodes()[i]));
    for (const ValueId id : graph.nodes()[i].outputs) {
      const std::vector<NodeId>& consumers = graph.value(id).consumers;
      if (graph.is_output(id) || !std::all_of(consumers.begin(), consumers.end(), inside)) outputs.push_back(id);
    }
  }
  // A run of nodes whose results nobody needs is still one to measure.
  if (outputs.empty()) outputs.push_back(graph.nodes()[end - 1].outputs.front());
  TRY_ASSIGN(Graph part, std::move(copy).build(outputs));
  return Weightless{std::move(part), std::move(constants)};
}

Expected<Graph> with_blank_weights(const Weightless& weightless) {
  return with_weights(weightless,
                      [](const Value& value) { return Tensor(value.type, untouched_zeros(value.type.size_bytes())); });
}

RandomBlock::RandomBlock(std::size_t size_bytes) {
  MutableBuffer buffer(size_bytes);
  fill({reinterpret_cast<float*>(buffer.bytes().data()), size_bytes / sizeof(float)}, [](float x) { return x; });
  block_ = std::move(buffer).freeze();
}

Tensor RandomBlock::next(const TensorType& type) {
  const std::size_t size_bytes = type.size_bytes();
  CHECK(type.type == DataType::kFloat32 && size_bytes <= block_.size());
  if (at_ + size_bytes > block_.size()) at_ = 0;
  Tensor tensor(type, block_.sub(at_, size_bytes));
  at_ += (size_bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
  return tensor;
}

Expected<Graph> with_random_weights(const Weightless& weightless, RandomBlock* block) {
  return with_weights(weightless, [&](const Value& value) {
    return block != nullptr ? block->next(value.type) : random_constant(weightless.graph, value);
  });
}

Tensor random_input(const TensorType& type, RandomBlock* block) {
  if (type.type != DataType::kFloat32) return std::move(TensorBuilder(type, true)).build();
  return block != nullptr ? block->next(type) : filled(type, [](float number) { return number; });
}

}  // namespace onnx_split
