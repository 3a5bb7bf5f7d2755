// Plans without a network, whose times and tensors a test chooses: for the simulation and the reports.
#pragma once

#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "partition/plan.h"

namespace onnx_split::testing {

// `elements` floats of a value.
inline ValueRegion floats_of(const std::string& value, std::int64_t elements, Combine combine = Combine::kPlace) {
  return {value, Region(std::vector<Range>{{0, elements}}), combine};
}

class HandPlan {
 public:
  // Messages cost nothing, links have no limit.
  explicit HandPlan(std::size_t devices, std::size_t window = 1) {
    plan_.model = "by hand";
    plan_.inputs = {"x"};
    plan_.outputs = {"y"};
    plan_.window = window;
    for (std::size_t d = 0; d < devices; ++d) plan_.devices.push_back("d" + std::to_string(d));
    plan_.prediction.emplace();
    plan_.prediction->rates.resize(devices);
    plan_.prediction->loads.resize(devices);
  }

  // A whole stage that makes `output` of `input`, on replicas that take turns: (device, seconds).
  HandPlan& stage(const ValueRegion& input, const ValueRegion& output,
                  const std::vector<std::pair<std::size_t, double>>& replicas) {
    Stage& stage = plan_.stages.emplace_back();
    stage.nodes = {output.value};
    stage.schedule.resize(replicas.size());
    std::iota(stage.schedule.begin(), stage.schedule.end(), std::size_t{0});
    part(input, output, replicas);
    return *this;
  }

  // One more part of the last stage.
  HandPlan& part(const ValueRegion& input, const ValueRegion& output,
                 const std::vector<std::pair<std::size_t, double>>& replicas) {
    Part part;
    part.inputs = {input};
    part.outputs = {output};
    for (const auto& [device, seconds] : replicas) {
      part.devices.push_back(device);
      part.compute_s.push_back(seconds);
    }
    plan_.stages.back().parts.push_back(std::move(part));
    return *this;
  }

  Plan& operator*() { return plan_; }
  Plan* operator->() { return &plan_; }

 private:
  Plan plan_;
};

}  // namespace onnx_split::testing
