#include "graph/zoo/zoo.h"

#include <algorithm>

#include "graph/zoo/families.h"

namespace onnx_split::zoo {
namespace {

struct Entry {
  Network network;
  Activation (*add_layers)(CalibratingBuilder& net);
};

const std::vector<Entry>& entries() {
  static const Shape picture{1, 3, 224, 224};
  static const std::vector<Entry> all = {
      {{"alexnet", "AlexNet, one tower (Krizhevsky 2014)", picture, 61'100'840}, alexnet},
      {{"vgg11", "VGG, configuration A (Simonyan and Zisserman 2014)", picture, 132'863'336}, vgg11},
      {{"vgg16", "VGG, configuration D (Simonyan and Zisserman 2014)", picture, 138'357'544}, vgg16},
      {{"vgg19", "VGG, configuration E (Simonyan and Zisserman 2014)", picture, 143'667'240}, vgg19},
      {{"resnet18", "ResNet of basic blocks (He et al. 2015)", picture, 11'689'512}, resnet18},
      {{"resnet34", "ResNet of basic blocks (He et al. 2015)", picture, 21'797'672}, resnet34},
      {{"resnet50", "ResNet of bottlenecks (He et al. 2015)", picture, 25'557'032}, resnet50},
      {{"resnet101", "ResNet of bottlenecks (He et al. 2015)", picture, 44'549'160}, resnet101},
      {{"mobilenet_v1", "MobileNet 1.0-224 (Howard et al. 2017)", picture, 4'231'976}, mobilenet_v1},
      {{"mobilenet_v2", "MobileNet V2 1.0 (Sandler et al. 2018)", picture, 3'504'872}, mobilenet_v2},
      {{"squeezenet1_1", "SqueezeNet 1.1 (Iandola et al. 2016)", picture, 1'235'496}, squeezenet1_1},
      {{"xception", "Xception (Chollet 2016)", {1, 3, 299, 299}, 22'855'952}, xception},
      {{"c3d", "C3D on Sports-1M clips (Tran et al. 2015)", {1, 3, 16, 112, 112}, 79'991'015}, c3d},
  };
  return all;
}

Expected<const Entry*> find(std::string_view name) {
  const auto found = std::ranges::find(entries(), name, [](const Entry& entry) { return entry.network.name; });
  if (found != entries().end()) return &*found;
  std::string known;
  for (const Entry& entry : entries()) known += fmt::format("{}{}", known.empty() ? "" : ", ", entry.network.name);
  return fail(ErrorCode::kNotFound, "no network \"{}\" in the zoo; it has {}", name, known);
}

Expected<Graph> build_with(std::string_view name, std::uint64_t seed, const Evaluate* evaluate) {
  TRY_ASSIGN(const Entry* entry, find(name));
  CalibratingBuilder net(entry->network, seed, evaluate);
  const Activation logits = entry->add_layers(net);
  return std::move(net).finish(logits);
}

}  // namespace

std::span<const Network> networks() {
  static const std::vector<Network> all = [] {
    std::vector<Network> rows;
    for (const Entry& entry : entries()) rows.push_back(entry.network);
    return rows;
  }();
  return all;
}

Expected<Graph> build(std::string_view name, std::uint64_t seed, const Evaluate& evaluate) {
  CHECK(evaluate);
  return build_with(name, seed, &evaluate);
}

Expected<Graph> structure(std::string_view name) { return build_with(name, 0, nullptr); }

std::int64_t count_parameters(const Graph& graph) {
  std::int64_t count = 0;
  for (const Node& node : graph.nodes()) {
    const std::size_t trained = node.op == OpType::kBatchNormalization ? 3 : node.inputs.size();
    for (std::size_t i = 0; i < trained; ++i) {
      const Value& value = graph.value(node.inputs[i]);
      if (value.constant) count += value.shape().elements();
    }
  }
  return count;
}

}  // namespace onnx_split::zoo
