#include "tests/fuzz/mutate_model.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "onnx/onnx.pb.h"
#include "onnx_import/op_table.h"
#include "tests/onnx_import/model_maker.h"

namespace onnx_split::fuzz {
namespace {

using onnx::AttributeProto;
using onnx::NodeProto;
using onnx::TensorProto;

constexpr int kTypes[] = {TensorProto::FLOAT, TensorProto::INT64, TensorProto::INT32,
                          TensorProto::BOOL,  TensorProto::FLOAT, TensorProto::DOUBLE};
constexpr std::int64_t kDims[] = {
    0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, -1, 100, 1 << 10, 1 << 20, std::int64_t{1} << 40};
constexpr std::int64_t kInts[] = {0,  1,  2,  3,  4,  5,    7,         8,         16,
                                  -1, -2, -3, 64, 10, 1000, INT32_MAX, INT64_MAX, INT64_MIN};
constexpr float kFloats[] = {0.0F, 1.0F, 2.0F, 0.5F, -1.0F, 1e-5F, 1e30F, -0.0F, 0.3F};
constexpr std::size_t kFewElements = 4096;
constexpr int kMostNodes = 24;

class Mutation {
 public:
  Mutation(onnx::ModelProto& model, Random& random) : model_(model), graph_(*model.mutable_graph()), random_(random) {}

  void run() {
    switch (random_.integer(0, 15)) {
      case 0: return change_input();
      case 1:
      case 2: return change_initializer();
      case 3:
      case 4:
      case 5: return change_attribute();
      case 6:
      case 7: return change_edge();
      case 8: return change_operator();
      case 9: return change_opset();
      case 10:
      case 11:
      case 12: return add_node();
      case 13: return remove_node();
      case 14: return change_output();
      default: return change_name();
    }
  }

 private:
  std::size_t below(std::size_t count) {
    return static_cast<std::size_t>(random_.integer(0, static_cast<std::int64_t>(count) - 1));
  }
  int below(int count) { return static_cast<int>(random_.integer(0, count - 1)); }
  bool chance(std::int64_t one_in) { return random_.integer(1, one_in) == 1; }
  template <class T, std::size_t N>
  T any(const T (&list)[N]) {
    return list[below(N)];
  }

  // Every name that stands for a value.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& input : graph_.input()) names.push_back(input.name());
    for (const auto& tensor : graph_.initializer()) names.push_back(tensor.name());
    for (const NodeProto& node : graph_.node()) names.insert(names.end(), node.output().begin(), node.output().end());
    return names;
  }
  std::string any_name() {
    const std::vector<std::string> all = names();
    // The newest are the ones that make networks deeper.
    if (all.empty() || chance(60)) return chance(2) ? "" : "nobody";
    return chance(3) ? all.back() : all[below(all.size())];
  }
  std::string new_name() {
    const std::vector<std::string> all = names();
    std::string name;
    do name = "v" + std::to_string(random_.integer(0, 999));
    while (std::find(all.begin(), all.end(), name) != all.end());
    return name;
  }
  NodeProto* any_node() { return graph_.node_size() == 0 ? nullptr : graph_.mutable_node(below(graph_.node_size())); }

  void change_input() {
    if (graph_.input_size() == 0 || chance(20)) return add_input();
    onnx::ValueInfoProto& input = *graph_.mutable_input(below(graph_.input_size()));
    auto& type = *input.mutable_type()->mutable_tensor_type();
    if (chance(6)) return type.set_elem_type(any(kTypes));
    auto& shape = *type.mutable_shape();
    if (shape.dim_size() == 0 || chance(8)) return shape.add_dim()->set_dim_value(any(kDims));
    if (chance(8)) return shape.mutable_dim()->RemoveLast();
    auto& dim = *shape.mutable_dim(below(shape.dim_size()));
    chance(8) ? dim.set_dim_param("N") : dim.set_dim_value(any(kDims));
  }
  void add_input() {
    onnx::ValueInfoProto& input = *graph_.add_input();
    input.set_name(new_name());
    auto& type = *input.mutable_type()->mutable_tensor_type();
    type.set_elem_type(any(kTypes));
    for (int rank = below(5); rank > 0; --rank) type.mutable_shape()->add_dim()->set_dim_value(any(kDims));
  }

  // As many bytes as the shape says, if they are few.
  static void fill(TensorProto& tensor) {
    std::size_t elements = 1;
    for (const std::int64_t dim : tensor.dims()) {
      if (dim < 0 || (dim > 0 && elements > kFewElements / static_cast<std::size_t>(dim))) return;
      elements *= static_cast<std::size_t>(dim);
    }
    const int type = tensor.data_type();
    const std::size_t width = type == TensorProto::INT64 ? 8 : type == TensorProto::BOOL ? 1 : 4;
    tensor.clear_float_data();
    tensor.clear_int32_data();
    tensor.clear_int64_data();
    std::string bytes = tensor.raw_data();
    bytes.resize(elements * width);
    tensor.set_raw_data(std::move(bytes));
  }

  void change_initializer() {
    if (graph_.initializer_size() == 0 || chance(10)) return static_cast<void>(add_initializer());
    TensorProto& tensor = *graph_.mutable_initializer(below(graph_.initializer_size()));
    if (chance(12)) {
      tensor.set_data_type(any(kTypes));
    } else if (chance(2)) {
      return set_element(tensor);
    } else if (tensor.dims_size() == 0 || chance(8)) {
      tensor.add_dims(any(kDims));
    } else if (chance(8)) {
      tensor.mutable_dims()->RemoveLast();
    } else {
      tensor.set_dims(below(tensor.dims_size()), any(kDims));
    }
    if (!chance(10)) fill(tensor);
    if (chance(40)) {
      tensor.set_data_location(TensorProto::EXTERNAL);
      onnx::StringStringEntryProto& entry = *tensor.add_external_data();
      entry.set_key(chance(2) ? "location" : "offset");
      entry.set_value(chance(2) ? "../passwd" : "18446744073709551615");
    }
  }
  void set_element(TensorProto& tensor) {
    fill(tensor);
    std::string& bytes = *tensor.mutable_raw_data();
    const auto put = [&](auto value) {
      if (bytes.size() < sizeof value) return;
      const std::size_t at = below(bytes.size() / sizeof value) * sizeof value;
      bytes.replace(at, sizeof value, reinterpret_cast<const char*>(&value), sizeof value);
    };
    switch (tensor.data_type()) {
      case TensorProto::INT64: return put(any(kInts));
      case TensorProto::INT32: return put(static_cast<std::int32_t>(any(kInts)));
      case TensorProto::BOOL: return put(static_cast<std::uint8_t>(below(2)));
      default: return put(any(kFloats));
    }
  }
  std::string add_initializer() {
    TensorProto& tensor = *graph_.add_initializer();
    tensor.set_name(new_name());
    tensor.set_data_type(chance(3) ? TensorProto::INT64 : TensorProto::FLOAT);
    for (int rank = below(5); rank > 0; --rank) tensor.add_dims(any(kDims) % 17);
    fill(tensor);
    for (int i = below(4); i > 0; --i) set_element(tensor);
    return tensor.name();
  }

  void set_value(AttributeProto& attribute) {
    const auto type = attribute.type();
    const std::string name = attribute.name();
    attribute.Clear();
    attribute.set_name(name);
    attribute.set_type(type);
    switch (type) {
      case AttributeProto::FLOAT: return attribute.set_f(any(kFloats));
      case AttributeProto::INT: return attribute.set_i(any(kInts));
      case AttributeProto::STRING: return attribute.set_s(any(kWords));
      case AttributeProto::FLOATS:
        for (int i = below(6); i > 0; --i) attribute.add_floats(any(kFloats));
        return;
      case AttributeProto::TENSOR:
        attribute.mutable_t()->set_data_type(any(kTypes));
        if (chance(2)) attribute.mutable_t()->add_dims(any(kDims));
        return fill(*attribute.mutable_t());
      default:
        for (int i = below(9); i > 0; --i) attribute.add_ints(any(kInts));
        return;
    }
  }
  void change_attribute() {
    NodeProto* node = any_node();
    if (node == nullptr) return;
    if (node->attribute_size() == 0 || chance(4)) return add_attribute(*node);
    AttributeProto& attribute = *node->mutable_attribute(below(node->attribute_size()));
    if (chance(8)) {
      attribute.Swap(node->mutable_attribute(node->attribute_size() - 1));
      return node->mutable_attribute()->RemoveLast();
    }
    if (attribute.ints_size() > 0 && !chance(4)) {
      return attribute.set_ints(below(attribute.ints_size()), any(kInts));
    }
    if (attribute.floats_size() > 0 && !chance(4)) {
      return attribute.set_floats(below(attribute.floats_size()), any(kFloats));
    }
    if (chance(10)) attribute.set_type(any(kAttributeTypes));
    set_value(attribute);
  }
  // One that the operator understands, mostly.
  void add_attribute(NodeProto& node) {
    const OpRow* row = find_row(node.op_type(), opset());
    AttributeProto& attribute = *node.add_attribute();
    std::string name = "axis";
    if (row != nullptr && !row->attributes.empty()) {
      std::vector<std::string> known;
      std::string word;
      for (const char c : std::string(row->attributes) + " ") {
        if (c != ' ') {
          word += c;
        } else {
          known.push_back(word.substr(word.find_first_not_of("-!"), word.find('=')));
          word.clear();
        }
      }
      name = known[below(known.size())];
    }
    attribute.set_name(name);
    attribute.set_type(any(kAttributeTypes));
    set_value(attribute);
  }

  void change_edge() {
    NodeProto* node = any_node();
    if (node == nullptr) return;
    if (node->input_size() == 0 || chance(6)) return node->add_input(any_name());
    if (chance(8)) return node->mutable_input()->RemoveLast();
    node->set_input(below(node->input_size()), any_name());
  }
  std::int64_t opset() const { return model_.opset_import_size() == 0 ? 13 : model_.opset_import(0).version(); }
  std::string any_operator() {
    for (int tries = 0; tries < 20; ++tries) {
      const OpRow& row = all_rows()[below(all_rows().size())];
      if (row.since <= opset() && opset() <= row.until) return std::string(row.name);
    }
    return "Constant";
  }
  void change_operator() {
    if (NodeProto* node = any_node()) node->set_op_type(any_operator());
  }
  void change_opset() {
    if (model_.opset_import_size() == 0) model_.add_opset_import();
    model_.mutable_opset_import(0)->set_version(random_.integer(1, 21));
  }
  void add_node() {
    if (graph_.node_size() >= kMostNodes) return remove_node();
    NodeProto node;
    const NodeProto* like = any_node();
    if (like != nullptr && chance(3)) {
      node = *like;
      node.clear_output();
      node.clear_name();
    } else {
      node.set_op_type(any_operator());
      for (int i = 1 + below(3); i > 0; --i) node.add_input(chance(4) ? add_initializer() : any_name());
    }
    if (node.input_size() > 0 && !chance(4)) node.set_input(0, any_name());
    for (int i = chance(6) ? 2 : 1; i > 0; --i) node.add_output(new_name());
    const std::string output = node.output(0);
    graph_.add_node()->Swap(&node);
    if (chance(2)) add_output(output);
  }
  void remove_node() {
    if (graph_.node_size() == 0) return;
    const int at = below(graph_.node_size());
    graph_.mutable_node()->SwapElements(at, graph_.node_size() - 1);
    if (!chance(4)) graph_.mutable_node()->RemoveLast();  // otherwise only the order is another one
  }
  void add_output(const std::string& name) {
    if (graph_.output_size() > 2) graph_.mutable_output()->RemoveLast();
    onnx::ValueInfoProto& output = *graph_.add_output();
    output.set_name(name);
    output.mutable_type()->mutable_tensor_type();
    if (chance(10)) output.mutable_type()->mutable_tensor_type()->set_elem_type(any(kTypes));
  }
  void change_output() {
    if (graph_.output_size() > 1 && chance(2)) return graph_.mutable_output()->RemoveLast();
    if (graph_.output_size() > 0) graph_.mutable_output()->RemoveLast();
    add_output(any_name());
  }
  void change_name() {
    NodeProto* node = any_node();
    if (node == nullptr) return;
    if (chance(2) && node->output_size() > 0) return node->set_output(below(node->output_size()), any_name());
    node->set_name(any(kNames));
  }

  static constexpr const char* kWords[] = {"constant",
                                           "edge",
                                           "reflect",
                                           "nearest",
                                           "linear",
                                           "floor",
                                           "ceil",
                                           "asymmetric",
                                           "SAME_UPPER",
                                           "SAME_LOWER",
                                           "VALID",
                                           "NOTSET",
                                           "half_pixel",
                                           "align_corners",
                                           "pytorch_half_pixel",
                                           "round_prefer_floor",
                                           "round_prefer_ceil",
                                           ""};
  static constexpr const char* kNames[] = {"", "a", "a", "v1", "\xff", "x"};
  static constexpr AttributeProto::AttributeType kAttributeTypes[] = {
      AttributeProto::INT,    AttributeProto::INT,    AttributeProto::INTS,
      AttributeProto::INTS,   AttributeProto::FLOAT,  AttributeProto::FLOATS,
      AttributeProto::STRING, AttributeProto::TENSOR, AttributeProto::STRINGS};

  onnx::ModelProto& model_;
  onnx::GraphProto& graph_;
  Random& random_;
};

}  // namespace

void make_model(onnx::ModelProto& model) {
  ModelMaker made(13);
  made.input("x", {1, 2, 4, 4}).output("y");
  made.floats("w", {3, 2, 3, 3}, seeded(54, 1)).floats("b", {3}, seeded(3, 2)).floats("fc", {12, 2}, seeded(24, 3));
  made.ints("zero", {0}).ints("rest", {-1});
  made.node("Conv", {"x", "w", "b"}, {"c"}).attribute("pads", Dims{1, 1, 1, 1});
  made.node("Relu", {"c"}, {"r"});
  made.node("MaxPool", {"r"}, {"p"}).attribute("kernel_shape", Dims{2, 2}).attribute("strides", Dims{2, 2});
  made.node("Shape", {"p"}, {"s"});
  made.node("Gather", {"s", "zero"}, {"n"});
  made.node("Concat", {"n", "rest"}, {"to"}).attribute("axis", std::int64_t{0});
  made.node("Reshape", {"p", "to"}, {"flat"});
  made.node("MatMul", {"flat", "fc"}, {"y"});
  model.Swap(&made.proto());
}

void mutate_model(onnx::ModelProto& model, Random& random) {
  for (std::int64_t changes = random.integer(1, 4); changes > 0; --changes) Mutation(model, random).run();
}

}  // namespace onnx_split::fuzz
