// C3D: Tran et al., "Learning spatiotemporal features with 3D convolutional networks", arXiv 1412.0767: 16 frames of
// 112×112, the 487 sports of Sports-1M. Names and pool5's padding are those of the authors' published model.
#include "graph/zoo/families.h"

namespace onnx_split::zoo {

Activation c3d(CalibratingBuilder& net) {
  const Kernel convolution{.extents = {3, 3, 3}, .strides = {1, 1, 1}, .pads = {1, 1, 1, 1, 1, 1}};
  const Kernel spatial_pool{.extents = {1, 2, 2}, .strides = {1, 2, 2}, .pads = {0, 0, 0, 0, 0, 0}};
  const Kernel pool{.extents = {2, 2, 2}, .strides = {2, 2, 2}, .pads = {0, 0, 0, 0, 0, 0}};
  const Kernel padded_pool{.extents = {2, 2, 2}, .strides = {2, 2, 2}, .pads = {0, 1, 1, 0, 1, 1}};
  const auto conv_relu = [&](const std::string& index, const Activation& x, std::int64_t channels) {
    return net.relu("relu" + index, net.conv("conv" + index, x, channels, convolution));
  };

  Activation x = net.max_pool("pool1", conv_relu("1a", net.input(), 64), spatial_pool);
  x = net.max_pool("pool2", conv_relu("2a", x, 128), pool);
  x = net.max_pool("pool3", conv_relu("3b", conv_relu("3a", x, 256), 256), pool);
  x = net.max_pool("pool4", conv_relu("4b", conv_relu("4a", x, 512), 512), pool);
  x = net.max_pool("pool5", conv_relu("5b", conv_relu("5a", x, 512), 512), padded_pool);

  x = net.flatten("flatten", x);
  x = net.relu("relu6", net.linear("fc6", x, 4096));
  x = net.relu("relu7", net.linear("fc7", x, 4096));
  return net.linear_logits("fc8", x, 487);
}

}  // namespace onnx_split::zoo
