// The networks, one file a family; zoo.cc lists them. Each adds its layers to `net` and returns the logits.
#pragma once

#include "graph/zoo/calibrating_builder.h"

namespace onnx_split::zoo {

Activation alexnet(CalibratingBuilder& net);
Activation vgg11(CalibratingBuilder& net);
Activation vgg16(CalibratingBuilder& net);
Activation vgg19(CalibratingBuilder& net);
Activation resnet18(CalibratingBuilder& net);
Activation resnet34(CalibratingBuilder& net);
Activation resnet50(CalibratingBuilder& net);
Activation resnet101(CalibratingBuilder& net);
Activation mobilenet_v1(CalibratingBuilder& net);
Activation mobilenet_v2(CalibratingBuilder& net);
Activation squeezenet1_1(CalibratingBuilder& net);
Activation xception(CalibratingBuilder& net);
Activation c3d(CalibratingBuilder& net);

}  // namespace onnx_split::zoo
