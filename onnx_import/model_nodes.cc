#include "onnx_import/model_nodes.h"

#include <functional>
#include <optional>
#include <queue>
#include <unordered_map>

#include "onnx/onnx.pb.h"

namespace onnx_split {
namespace {

using onnx::AttributeProto;

bool is_onnx_domain(std::string_view domain) { return domain.empty() || domain == "ai.onnx"; }

// Older writers leave the type out; the field that is there tells it.
AttributeProto::AttributeType type_of(const AttributeProto& attribute) {
  if (attribute.has_type() && attribute.type() != AttributeProto::UNDEFINED) return attribute.type();
  if (attribute.has_f()) return AttributeProto::FLOAT;
  if (attribute.has_i()) return AttributeProto::INT;
  if (attribute.has_s()) return AttributeProto::STRING;
  if (attribute.has_t()) return AttributeProto::TENSOR;
  if (attribute.has_g() || attribute.graphs_size() > 0) return AttributeProto::GRAPH;
  if (attribute.floats_size() > 0) return AttributeProto::FLOATS;
  if (attribute.strings_size() > 0) return AttributeProto::STRINGS;
  return AttributeProto::INTS;
}

// Nothing for kinds that the graph has no use for. A tensor is represented by 0: its data is taken when the node's turn
// comes.
std::optional<AttributeValue> attribute_value(const AttributeProto& attribute) {
  switch (type_of(attribute)) {
    case AttributeProto::FLOAT: return attribute.f();
    case AttributeProto::INT: return static_cast<std::int64_t>(attribute.i());
    case AttributeProto::STRING: return attribute.s();
    case AttributeProto::FLOATS: return Floats(attribute.floats().begin(), attribute.floats().end());
    case AttributeProto::INTS: return Ints(attribute.ints().begin(), attribute.ints().end());
    case AttributeProto::TENSOR: return std::int64_t{0};
    default: return std::nullopt;
  }
}

// Reads the attributes and finds the row; or says why the node isn't supported.
std::string match(const onnx::NodeProto& proto, std::int64_t opset, ModelNode& node) {
  if (!is_onnx_domain(proto.domain())) return "only ONNX's own operators are supported";
  node.row = find_row(proto.op_type(), opset);
  if (node.row == nullptr) {
    bool other_opset = false;
    for (const OpRow& row : all_rows()) other_opset = other_opset || row.name == proto.op_type();
    return other_opset ? "not at this opset" : "no such operator here";
  }
  for (const AttributeProto& attribute : proto.attribute()) {
    // Before opset 6 this said which inputs may be overwritten.
    if (opset < 6 && attribute.name() == "consumed_inputs") continue;
    std::optional<AttributeValue> value = attribute_value(attribute);
    if (!value || attribute.has_ref_attr_name())
      return fmt::format("attribute \"{}\" is of a kind that isn't supported", attribute.name());
    node.attributes.set(attribute.name(), std::move(*value));
  }
  std::string reason = check_attributes(*node.row, node.attributes);
  for (const AttributeProto& attribute : proto.attribute()) {
    if (type_of(attribute) == AttributeProto::TENSOR) node.attributes.erase(attribute.name());
  }
  return reason;
}

std::string first_output(const onnx::NodeProto& proto) {
  for (const std::string& output : proto.output()) {
    if (!output.empty()) return output;
  }
  return {};
}

// Nodes' own names first, in order; then the unnamed ones get their first output's. Numbers make them unique.
std::vector<std::string> unique_names(const onnx::GraphProto& graph) {
  std::vector<std::string> names(static_cast<std::size_t>(graph.node_size()));
  std::unordered_set<std::string> taken;
  std::unordered_map<std::string, int> numbered;
  for (const bool named : {true, false}) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      const onnx::NodeProto& proto = graph.node(static_cast<int>(i));
      if (proto.name().empty() == named) continue;
      const std::string base = named ? proto.name() : first_output(proto);
      names[i] = base;
      while (!taken.insert(names[i]).second) names[i] = fmt::format("{}_{}", base, ++numbered[base]);
    }
  }
  return names;
}

// Follows inputs that still wait for their node until one comes round again.
std::string node_on_cycle(const std::vector<ModelNode>& nodes, const std::vector<std::size_t>& waiting,
                          const std::unordered_map<std::string_view, std::size_t>& origin, std::size_t start) {
  std::unordered_set<std::size_t> seen;
  std::size_t at = start;
  while (seen.insert(at).second) {
    for (const std::string& input : nodes[at].proto->input()) {
      const auto found = origin.find(input);
      if (found == origin.end() || waiting[found->second] == 0) continue;
      at = found->second;
      break;
    }
  }
  return describe(nodes[at]);
}

}  // namespace

std::string describe(const ModelNode& node) {
  return fmt::format("node \"{}\" ({})", node.name, node.proto->op_type());
}

Expected<ModelNodes> match_nodes(onnx::GraphProto& graph, std::int64_t opset) {
  ModelNodes result;
  const std::vector<std::string> names = unique_names(graph);
  for (std::size_t i = 0; i < names.size(); ++i) {
    onnx::NodeProto& proto = *graph.mutable_node(static_cast<int>(i));
    ModelNode node{&proto, nullptr, names[i], {}};
    if (proto.op_type().empty())
      return fail(ErrorCode::kInvalid, "node \"{}\" (number {}) has no operator", node.name, i);
    if (first_output(proto).empty())
      return fail(ErrorCode::kInvalid, "{} (number {}) has no output", describe(node), i);
    std::string reason = match(proto, opset, node);
    if (reason.empty()) {
      result.nodes.push_back(std::move(node));
    } else {
      const std::string prefix = is_onnx_domain(proto.domain()) ? "" : proto.domain() + ".";
      result.unsupported.push_back({names[i], prefix + proto.op_type(), opset, std::move(reason)});
    }
  }
  return result;
}

Expected<std::vector<ModelNode>> ordered(std::vector<ModelNode> nodes, const std::unordered_set<std::string>& given) {
  std::unordered_map<std::string_view, std::size_t> origin;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (const std::string& output : nodes[i].proto->output()) {
      if (output.empty()) continue;
      if (given.contains(output) || !origin.emplace(output, i).second) {
        return fail(ErrorCode::kInvalid, "{}: output \"{}\" is already defined elsewhere", describe(nodes[i]), output);
      }
    }
  }

  std::vector<std::size_t> waiting(nodes.size(), 0);  // for how many inputs
  std::vector<std::vector<std::size_t>> readers(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (const std::string& input : nodes[i].proto->input()) {
      if (input.empty() || given.contains(input)) continue;
      const auto found = origin.find(input);
      if (found == origin.end()) {
        return fail(ErrorCode::kInvalid, "{}: input \"{}\" is no node's output, graph input or initializer",
                    describe(nodes[i]), input);
      }
      ++waiting[i];
      readers[found->second].push_back(i);
    }
  }

  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (waiting[i] == 0) ready.push(i);
  }
  std::vector<std::size_t> order;
  while (!ready.empty()) {
    const std::size_t next = ready.top();
    ready.pop();
    order.push_back(next);
    for (const std::size_t reader : readers[next]) {
      if (--waiting[reader] == 0) ready.push(reader);
    }
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (waiting[i] > 0) {
      return fail(ErrorCode::kInvalid, "{} depends on its own output", node_on_cycle(nodes, waiting, origin, i));
    }
  }
  std::vector<ModelNode> sorted;
  sorted.reserve(nodes.size());
  for (const std::size_t index : order) sorted.push_back(std::move(nodes[index]));
  return sorted;
}

}  // namespace onnx_split
