// A plan's prediction as JSON (partition/plan_json.h).
#pragma once

#include "base/json.h"
#include "partition/prediction.h"

namespace onnx_split {

Json prediction_to_json(const Prediction& prediction);
Expected<Prediction> prediction_from_json(const JsonReader& reader);

// A number of seconds, bytes or the like: finite and not negative.
Expected<double> read_amount(const JsonReader& reader);

}  // namespace onnx_split
