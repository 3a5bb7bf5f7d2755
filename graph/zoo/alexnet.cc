// AlexNet as torchvision has it: Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
// arXiv 1404.5997. The adaptive pool before the classifier changes nothing at 224×224 and is left out.
#include "graph/zoo/families.h"

namespace onnx_split::zoo {

Activation alexnet(CalibratingBuilder& net) {
  Activation x = net.input();
  x = net.relu("features.1", net.conv("features.0", x, 64, square(11, 4, 2)));
  x = net.max_pool("features.2", x, square(3, 2));
  x = net.relu("features.4", net.conv("features.3", x, 192, square(5, 1, 2)));
  x = net.max_pool("features.5", x, square(3, 2));
  x = net.relu("features.7", net.conv("features.6", x, 384, square(3, 1, 1)));
  x = net.relu("features.9", net.conv("features.8", x, 256, square(3, 1, 1)));
  x = net.relu("features.11", net.conv("features.10", x, 256, square(3, 1, 1)));
  x = net.max_pool("features.12", x, square(3, 2));

  x = net.flatten("flatten", x);
  x = net.relu("classifier.2", net.linear("classifier.1", x, 4096));
  x = net.relu("classifier.5", net.linear("classifier.4", x, 4096));
  return net.linear_logits("classifier.6", x, 1000);
}

}  // namespace onnx_split::zoo
