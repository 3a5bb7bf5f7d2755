// SqueezeNet 1.1: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
// arXiv 1602.07360, in the cheaper version 1.1 of its authors, as torchvision has it.
#include "graph/zoo/families.h"

namespace onnx_split::zoo {
namespace {

// A narrow 1×1 layer, then 1×1 and 3×3 layers side by side, each of `expand` channels.
Activation fire(CalibratingBuilder& net, const std::string& name, const Activation& x, std::int64_t squeeze,
                std::int64_t expand) {
  const Activation narrow = net.relu(name + ".squeeze_activation", net.conv(name + ".squeeze", x, squeeze, square(1)));
  const Activation small =
      net.relu(name + ".expand1x1_activation", net.conv(name + ".expand1x1", narrow, expand, square(1)));
  const Activation large =
      net.relu(name + ".expand3x3_activation", net.conv(name + ".expand3x3", narrow, expand, square(3, 1, 1)));
  return net.concat(name + ".concat", small, large);
}

}  // namespace

Activation squeezenet1_1(CalibratingBuilder& net) {
  Kernel pool = square(3, 2);
  pool.ceil_mode = true;

  Activation x = net.relu("features.1", net.conv("features.0", net.input(), 64, square(3, 2)));
  x = net.max_pool("features.2", x, pool);
  x = fire(net, "features.3", x, 16, 64);
  x = fire(net, "features.4", x, 16, 64);
  x = net.max_pool("features.5", x, pool);
  x = fire(net, "features.6", x, 32, 128);
  x = fire(net, "features.7", x, 32, 128);
  x = net.max_pool("features.8", x, pool);
  x = fire(net, "features.9", x, 48, 192);
  x = fire(net, "features.10", x, 48, 192);
  x = fire(net, "features.11", x, 64, 256);
  x = fire(net, "features.12", x, 64, 256);

  // The logits are averages of what a ReLU leaves. Most of it must be cut off, or every input's average is much the
  // same.
  const Target sparse{.mean_low = -32.0F, .mean_high = -8.0F, .deviation = 16.0F};
  x = net.relu("classifier.2", net.conv("classifier.1", x, 1000, square(1), sparse));
  return net.flatten_logits("flatten", net.global_average_pool("classifier.3", x));
}

}  // namespace onnx_split::zoo
