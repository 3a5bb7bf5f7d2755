// What a plan from a file must fulfil before it is simulated or drawn without the model that check_plan compares it
// with.
#include <algorithm>
#include <map>

#include "partition/simulate.h"

namespace onnx_split {
namespace {

Expected<void> check_stage(const Plan& plan, const Stage& stage) {
  if (stage.parts.empty()) return fail(ErrorCode::kInvalid, "no parts");
  if (stage.nodes.empty()) return fail(ErrorCode::kInvalid, "no nodes");
  if (stage.schedule.empty()) return fail(ErrorCode::kInvalid, "an empty schedule");
  for (std::size_t p = 0; p < stage.parts.size(); ++p) {
    const Part& part = stage.parts[p];
    if (part.compute_s.size() != part.devices.size()) {
      return fail(ErrorCode::kInvalid, "part {}: compute_s: expected one for each of {} replicas, found {}", p,
                  part.devices.size(), part.compute_s.size());
    }
    for (const std::size_t device : part.devices) {
      if (device < plan.devices.size()) continue;
      return fail(ErrorCode::kInvalid, "part {}: device {} of {}", p, device, plan.devices.size());
    }
    const auto largest = std::max_element(stage.schedule.begin(), stage.schedule.end());
    if (*largest >= part.devices.size()) {
      return fail(ErrorCode::kInvalid, "part {}: the schedule names replica {} of {}", p, *largest,
                  part.devices.size());
    }
  }
  return {};
}

// All regions of a value have its rank, and it has no more elements than a value may have.
Expected<void> check_regions(const Plan& plan) {
  std::map<std::string_view, std::vector<std::int64_t>> extents;
  for (const PartId id : part_ids(plan)) {
    const Part& part = plan.stages[id.stage].parts[id.part];
    for (const auto* regions : {&part.inputs, &part.outputs}) {
      for (const ValueRegion& use : *regions) {
        const auto [found, is_new] = extents.try_emplace(use.value, use.region.rank(), 0);
        if (found->second.size() != use.region.rank()) {
          return fail(ErrorCode::kInvalid, "{}: value \"{}\": region {} has rank {}, others {}", to_string(id),
                      use.value, use.region.to_string(), use.region.rank(), found->second.size());
        }
        for (std::size_t axis = 0; axis < use.region.rank(); ++axis) {
          found->second[axis] = std::max(found->second[axis], use.region[axis].end);
        }
      }
    }
  }
  for (auto& [value, dims] : extents) {
    auto shape = Shape::checked(std::move(dims));
    if (!shape) return fail_in(fmt::format("value \"{}\"", value), std::move(shape.error()));
  }
  return {};
}

}  // namespace

Expected<void> check_prediction(const Plan& plan) {
  if (!plan.prediction) {
    return fail(ErrorCode::kInvalid, "the plan has no prediction: let this version's `plan` make it again");
  }
  const Prediction& prediction = *plan.prediction;
  const std::size_t devices = plan.devices.size();
  for (const auto& [name, size] : {std::pair{"rates", prediction.rates.size()}, {"loads", prediction.loads.size()}}) {
    if (size == devices) continue;
    return fail(ErrorCode::kInvalid, "prediction.{}: expected one for each of {} devices, found {}", name, devices,
                size);
  }
  if (plan.window == 0) return fail(ErrorCode::kInvalid, "the plan's window is 0");
  if (plan.stages.empty()) return fail(ErrorCode::kInvalid, "the plan has no stages");
  if (plan.outputs.empty()) return fail(ErrorCode::kInvalid, "the plan has no outputs");
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    auto checked = check_stage(plan, plan.stages[s]);
    if (!checked) return fail_in(fmt::format("stage {}", s), std::move(checked.error()));
  }
  for (const LinkRates& link : prediction.links) {
    if (link.from < devices && link.to < devices) continue;
    return fail(ErrorCode::kInvalid, "prediction.links: from {} to {}: there are {} devices", link.from, link.to,
                devices);
  }
  return check_regions(plan);
}

}  // namespace onnx_split
