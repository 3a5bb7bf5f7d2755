// Plans as JSON files. Every field is checked on reading; whether a plan fits a model is check_plan's business.
#pragma once

#include <filesystem>

#include "base/json.h"
#include "partition/plan.h"

namespace onnx_split {

Json plan_to_json(const Plan& plan);
Expected<Plan> plan_from_json(const Json& json);

Expected<void> write_plan(const Plan& plan, const std::filesystem::path& path);
Expected<Plan> read_plan(const std::filesystem::path& path);  // errors name the file

// {"value": "relu5", "offset": [0,0,0,0], "shape": [1,3,8,8], "combine": "place"}: plans, manifests and deployments.
Json value_region_to_json(const ValueRegion& region);
Expected<ValueRegion> value_region_from_json(const JsonReader& reader);

}  // namespace onnx_split
