// ResNet: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", arXiv 1512.03385, as torchvision has
// it: in a bottleneck the 3×3 convolution has the stride ("v1.5"). Names are torchvision's.
#include <array>

#include "graph/zoo/families.h"

namespace onnx_split::zoo {
namespace {

using BlocksPerStage = std::array<int, 4>;

// One residual block: `name` of it, its width (a bottleneck gives four times as many channels) and the stride of its
// first 3×3.
struct Block {
  std::string name;
  std::int64_t width;
  std::int64_t stride;
};

Activation conv_bn(CalibratingBuilder& net, const std::string& block, int index, const Activation& x,
                   std::int64_t channels, const Kernel& kernel, const Norm& norm = {}) {
  const Activation y = net.conv_without_bias(fmt::format("{}.conv{}", block, index), x, channels, kernel);
  return net.batch_norm(fmt::format("{}.bn{}", block, index), y, norm);
}

// What the block's result is added to: its input, projected where the shape changes.
Activation shortcut(CalibratingBuilder& net, const Block& block, const Activation& x, std::int64_t channels) {
  if (block.stride == 1 && net.channels(x) == channels) return x;
  const Activation y = net.conv_without_bias(block.name + ".downsample.0", x, channels, square(1, block.stride));
  return net.batch_norm(block.name + ".downsample.1", y);
}

Activation basic(CalibratingBuilder& net, const Block& block, const Activation& x) {
  Activation y = conv_bn(net, block.name, 1, x, block.width, square(3, block.stride, 1));
  y = net.relu(block.name + ".relu1", y);
  y = conv_bn(net, block.name, 2, y, block.width, square(3, 1, 1), Norm{}.damped());
  y = net.add(block.name + ".add", y, shortcut(net, block, x, block.width));
  return net.relu(block.name + ".relu2", y);
}

Activation bottleneck(CalibratingBuilder& net, const Block& block, const Activation& x) {
  const std::int64_t channels = 4 * block.width;
  Activation y = conv_bn(net, block.name, 1, x, block.width, square(1));
  y = net.relu(block.name + ".relu1", y);
  y = conv_bn(net, block.name, 2, y, block.width, square(3, block.stride, 1));
  y = net.relu(block.name + ".relu2", y);
  y = conv_bn(net, block.name, 3, y, channels, square(1), Norm{}.damped());
  y = net.add(block.name + ".add", y, shortcut(net, block, x, channels));
  return net.relu(block.name + ".relu3", y);
}

using BlockFunction = Activation(CalibratingBuilder&, const Block&, const Activation&);

Activation resnet(CalibratingBuilder& net, BlockFunction* block, const BlocksPerStage& blocks) {
  Activation x = net.conv_without_bias("conv1", net.input(), 64, square(7, 2, 3));
  x = net.relu("relu", net.batch_norm("bn1", x));
  x = net.max_pool("maxpool", x, square(3, 2, 1));

  std::int64_t width = 64;
  for (std::size_t stage = 0; stage < blocks.size(); ++stage, width *= 2) {
    for (int i = 0; i < blocks[stage]; ++i) {
      const std::int64_t stride = stage > 0 && i == 0 ? 2 : 1;
      x = block(net, {fmt::format("layer{}.{}", stage + 1, i), width, stride}, x);
    }
  }

  x = net.flatten("flatten", net.global_average_pool("avgpool", x));
  return net.linear_logits("fc", x, 1000);
}

}  // namespace

Activation resnet18(CalibratingBuilder& net) { return resnet(net, basic, {2, 2, 2, 2}); }
Activation resnet34(CalibratingBuilder& net) { return resnet(net, basic, {3, 4, 6, 3}); }
Activation resnet50(CalibratingBuilder& net) { return resnet(net, bottleneck, {3, 4, 6, 3}); }
Activation resnet101(CalibratingBuilder& net) { return resnet(net, bottleneck, {3, 4, 23, 3}); }

}  // namespace onnx_split::zoo
