// What the reports say of a plan's stages and devices, worked out from the plan's prediction.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "partition/plan.h"

namespace onnx_split {

// For one request, of the stage's part (and replica) that takes longest.
struct StageFigures {
  double compute_s = 0.0;
  double receive_s = 0.0;         // on the wire and in the processor
  double send_s = 0.0;            // the same
  std::int64_t memory_bytes = 0;  // of the largest part: weights, activations and waiting inputs
  double utilisation = 0.0;       // of the busiest device's processor, at the predicted throughput
};

// By stage. The plan must have a prediction that fits (check_prediction).
Expected<std::vector<StageFigures>> stage_figures(const Plan& plan);

// The share of the time that a device's processor, or its link, is busy at the predicted throughput.
double utilisation(const Plan& plan, std::size_t device);
double link_utilisation(const Plan& plan, std::size_t device);

// What takes longest for each request, with its share in figures: "70.1 ms computing, 6.0 receiving and 5.2 sending for
// each request"; empty where it is no device or link of one.
std::string bottleneck_figures(const Plan& plan);

}  // namespace onnx_split
