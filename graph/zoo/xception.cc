// Xception: Chollet, "Xception: deep learning with depthwise separable convolutions", arXiv 1610.02357, as
// keras.applications has it, with its names (the shortcuts have none there).
#include "graph/zoo/families.h"

namespace onnx_split::zoo {
namespace {

constexpr Norm kNorm{.epsilon = 1e-3F};

// A depthwise 3×3 and a 1×1 convolution, no bias, nothing in between; then batch norm.
Activation separable_bn(CalibratingBuilder& net, const std::string& name, const Activation& x, std::int64_t channels,
                        const Norm& norm = kNorm) {
  const Activation y = net.depthwise(name + "_depthwise", x, square(3, 1, 1));
  return net.batch_norm(name + "_bn", net.conv_without_bias(name + "_pointwise", y, channels, square(1)), norm);
}

// TensorFlow's "same" padding: an odd row and column go to the end.
Kernel same_pool(std::int64_t extent) {
  const std::int64_t padding = extent % 2 == 0 ? 1 : 2;
  const std::int64_t begin = padding / 2;
  return {.extents = {3, 3}, .strides = {2, 2}, .pads = {begin, begin, padding - begin, padding - begin}};
}

// Two separable layers and a pool beside a strided 1×1 shortcut. The activation before the first layer is missing in
// block 2, which gets an activation's output.
Activation downsampling_block(CalibratingBuilder& net, const std::string& name, const Activation& x,
                              std::int64_t middle, std::int64_t channels) {
  const Activation shortcut = net.batch_norm(
      name + "_shortcut_bn", net.conv_without_bias(name + "_shortcut", x, channels, square(1, 2)), kNorm);
  Activation y = name == "block2" ? x : net.relu(name + "_sepconv1_act", x);
  y = separable_bn(net, name + "_sepconv1", y, middle);
  y = net.relu(name + "_sepconv2_act", y);
  y = separable_bn(net, name + "_sepconv2", y, channels, kNorm.damped());
  y = net.max_pool(name + "_pool", y, same_pool(net.shape(y)[2]));
  return net.add(name + "_add", y, shortcut);
}

Activation middle_block(CalibratingBuilder& net, const std::string& name, const Activation& x) {
  Activation y = x;
  for (int i = 1; i <= 3; ++i) {
    y = net.relu(fmt::format("{}_sepconv{}_act", name, i), y);
    y = separable_bn(net, fmt::format("{}_sepconv{}", name, i), y, 728, i == 3 ? kNorm.damped() : kNorm);
  }
  return net.add(name + "_add", y, x);
}

}  // namespace

Activation xception(CalibratingBuilder& net) {
  const auto bn_relu = [&](const std::string& name, const Activation& x) {
    return net.relu(name + "_act", net.batch_norm(name + "_bn", x, kNorm));
  };
  Activation x = bn_relu("block1_conv1", net.conv_without_bias("block1_conv1", net.input(), 32, square(3, 2)));
  x = bn_relu("block1_conv2", net.conv_without_bias("block1_conv2", x, 64, square(3)));
  x = downsampling_block(net, "block2", x, 128, 128);
  x = downsampling_block(net, "block3", x, 256, 256);
  x = downsampling_block(net, "block4", x, 728, 728);
  for (int block = 5; block <= 12; ++block) x = middle_block(net, fmt::format("block{}", block), x);
  x = downsampling_block(net, "block13", x, 728, 1024);
  x = net.relu("block14_sepconv1_act", separable_bn(net, "block14_sepconv1", x, 1536));
  x = net.relu("block14_sepconv2_act", separable_bn(net, "block14_sepconv2", x, 2048));
  x = net.flatten("flatten", net.global_average_pool("avg_pool", x));
  return net.linear_logits("predictions", x, 1000);
}

}  // namespace onnx_split::zoo
