// A plan as a picture: which device does what for a request, when, and how busy it is.
#pragma once

#include <string>

#include "partition/plan.h"

namespace onnx_split {

// An SVG document. A lane a device: on the left, to scale, what it receives, computes (in its stage's colour) and sends
// for a request that is alone on its way, and the messages between the lanes; on the right how busy its processor and
// its link are at the predicted throughput, and its memory. Replicas show requests of their own. Of more than 32
// devices those that serve the same stages share a lane. Every device and every stage is named; whatever the names
// hold, the document is well-formed. An error where the plan has no prediction that fits it.
Expected<std::string> draw_plan(const Plan& plan);

}  // namespace onnx_split
