// How a plan's devices, splits and layers are called in reports and drawings.
#pragma once

#include <string>
#include <vector>

#include "partition/plan.h"

namespace onnx_split {

// "pi1, pi2, pi3, pi4"; more: "pi1 … pi8 (8)".
std::string short_list(const std::vector<std::string>& names);

// The names of devices, in their order.
std::vector<std::string> device_names(const Plan& plan, const std::vector<std::size_t>& devices);

// All devices of a stage, each once, in increasing order.
std::vector<std::size_t> stage_devices(const Stage& stage);

// "whole", "spatial 2×2", "output_channel ×3", with unequal shares "… (1:2:2)", with replicas "…, 4 replicas".
std::string split_text(const Stage& stage);

// "conv1 … relu5", "conv1"
std::string layers_text(const Stage& stage);

}  // namespace onnx_split
