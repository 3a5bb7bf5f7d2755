// VGG: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", arXiv 1409.1556:
// configurations A, D and E. Layers are numbered as in torchvision.
#include <array>

#include "graph/zoo/families.h"

namespace onnx_split::zoo {
namespace {

// Five groups of 3×3 convolutions, each closed by a pool; the configuration says how many in each.
using ConvolutionsPerGroup = std::array<int, 5>;
constexpr std::array<std::int64_t, 5> kChannels = {64, 128, 256, 512, 512};

Activation vgg(CalibratingBuilder& net, const ConvolutionsPerGroup& configuration) {
  int index = 0;
  const auto next_name = [&index] { return fmt::format("features.{}", index++); };

  Activation x = net.input();
  for (std::size_t group = 0; group < configuration.size(); ++group) {
    for (int i = 0; i < configuration[group]; ++i) {
      x = net.conv(next_name(), x, kChannels[group], square(3, 1, 1));
      x = net.relu(next_name(), x);
    }
    x = net.max_pool(next_name(), x, square(2, 2));
  }

  x = net.flatten("flatten", x);
  x = net.relu("classifier.1", net.linear("classifier.0", x, 4096));
  x = net.relu("classifier.4", net.linear("classifier.3", x, 4096));
  return net.linear_logits("classifier.6", x, 1000);
}

}  // namespace

Activation vgg11(CalibratingBuilder& net) { return vgg(net, {1, 1, 2, 2, 2}); }
Activation vgg16(CalibratingBuilder& net) { return vgg(net, {2, 2, 3, 3, 3}); }
Activation vgg19(CalibratingBuilder& net) { return vgg(net, {2, 2, 4, 4, 4}); }

}  // namespace onnx_split::zoo
