// MobileNet V1: Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications",
// arXiv 1704.04861, width 1.0 at 224×224, as keras.applications has it: ReLU6, and TensorFlow's padding, which puts the
// odd row and column of a stride-2 layer at the end. MobileNet V2: Sandler et al., "MobileNetV2: inverted residuals and
// linear bottlenecks", arXiv 1801.04381, as torchvision has it.
#include "graph/zoo/families.h"

namespace onnx_split::zoo {
namespace {

constexpr float kKerasEpsilon = 1e-3F;

// "same" padding of a 3×3 window on an even extent.
Kernel same(std::int64_t stride) {
  if (stride == 1) return square(3, 1, 1);
  return {.extents = {3, 3}, .strides = {stride, stride}, .pads = {0, 0, 1, 1}};
}

struct SeparableLayer {
  std::int64_t channels;
  std::int64_t stride;
};
constexpr SeparableLayer kMobileNetV1[] = {
    {64, 1},  {128, 2}, {128, 1}, {256, 2}, {256, 1},  {512, 2},  {512, 1},
    {512, 1}, {512, 1}, {512, 1}, {512, 1}, {1024, 2}, {1024, 1},
};

struct InvertedResiduals {
  std::int64_t expansion;
  std::int64_t channels;
  int repeats;
  std::int64_t stride;  // of the first
};
constexpr InvertedResiduals kMobileNetV2[] = {
    {1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1},
};

Activation inverted_residual(CalibratingBuilder& net, const std::string& name, const Activation& x,
                             std::int64_t expansion, std::int64_t channels, std::int64_t stride) {
  const bool residual = stride == 1 && net.channels(x) == channels;
  int index = 0;
  const auto next_name = [&] { return fmt::format("{}.conv.{}", name, index++); };

  Activation y = x;
  if (expansion > 1) {
    const std::string expand = next_name();
    y = net.conv_without_bias(expand + ".0", y, expansion * net.channels(x), square(1));
    y = net.relu6(expand + ".2", net.batch_norm(expand + ".1", y));
  }
  const std::string spatial = next_name();
  y = net.depthwise(spatial + ".0", y, square(3, stride, 1));
  y = net.relu6(spatial + ".2", net.batch_norm(spatial + ".1", y));
  y = net.conv_without_bias(next_name(), y, channels, square(1));
  y = net.batch_norm(next_name(), y, residual ? Norm{}.damped() : Norm{});
  return residual ? net.add(name + ".add", x, y) : y;
}

}  // namespace

Activation mobilenet_v1(CalibratingBuilder& net) {
  const Norm norm{.epsilon = kKerasEpsilon};
  const auto bn_relu6 = [&](const std::string& name, const Activation& x) {
    return net.relu6(name + "_relu", net.batch_norm(name + "_bn", x, norm));
  };
  Activation x = bn_relu6("conv1", net.conv_without_bias("conv1", net.input(), 32, same(2)));
  int index = 1;
  for (const SeparableLayer& layer : kMobileNetV1) {
    const std::string depthwise = fmt::format("conv_dw_{}", index);
    const std::string pointwise = fmt::format("conv_pw_{}", index);
    x = bn_relu6(depthwise, net.depthwise(depthwise, x, same(layer.stride)));
    x = bn_relu6(pointwise, net.conv_without_bias(pointwise, x, layer.channels, square(1)));
    ++index;
  }
  x = net.flatten("flatten", net.global_average_pool("global_average_pooling2d", x));
  return net.linear_logits("conv_preds", x, 1000);
}

Activation mobilenet_v2(CalibratingBuilder& net) {
  const auto conv_bn_relu6 = [&](const std::string& name, const Activation& x, std::int64_t channels,
                                 const Kernel& kernel) {
    const Activation y = net.conv_without_bias(name + ".0", x, channels, kernel);
    return net.relu6(name + ".2", net.batch_norm(name + ".1", y));
  };
  Activation x = conv_bn_relu6("features.0", net.input(), 32, square(3, 2, 1));
  int index = 1;
  for (const InvertedResiduals& row : kMobileNetV2) {
    for (int i = 0; i < row.repeats; ++i) {
      const std::int64_t stride = i == 0 ? row.stride : 1;
      x = inverted_residual(net, fmt::format("features.{}", index++), x, row.expansion, row.channels, stride);
    }
  }
  x = conv_bn_relu6(fmt::format("features.{}", index), x, 1280, square(1));
  x = net.flatten("flatten", net.global_average_pool("avgpool", x));
  return net.linear_logits("classifier.1", x, 1000);
}

}  // namespace onnx_split::zoo
