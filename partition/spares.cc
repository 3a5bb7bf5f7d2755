#include "partition/spares.h"

#include <algorithm>
#include <set>

#include "partition/divide.h"
#include "partition/predict.h"
#include "partition/routing.h"
#include "partition/spare_parts.h"

namespace onnx_split {
namespace {

// Of the plan without spare parts, if the spare ones were always waited for.
constexpr double kThroughputKept = 0.5;

class SparePlanner {
 public:
  SparePlanner(const Graph& graph, const ClusterModel& model, const EngineFacts& engine,
               const std::vector<std::size_t>& devices, const Plan& plan)
      : graph_(graph),
        model_(model),
        engine_(engine),
        devices_(devices),
        units_(channel_units(graph)),
        wanted_per_s_(kThroughputKept * plan.prediction->throughput_per_s) {}

  // The plan with spare parts of one more stage; nothing if they don't fit.
  Expected<std::optional<Plan>> with_spares(const Plan& plan, std::size_t stage) const {
    for (const Spare spare : {Spare::kParity, Spare::kStandby}) {
      auto divided = divide(plan.stages[stage], spare);
      if (!divided) continue;
      Plan with = plan;
      add_parts(*divided, spare, with, stage);
      TRY(predict_traffic(graph_, with));
      TRY(predict(graph_, model_, with));
      if (fits(with)) return with;
    }
    return std::nullopt;
  }

 private:
  Expected<DividedStage> divide(const Stage& stage, Spare spare) const {
    StageNodes nodes;
    for (const std::string& name : stage.nodes) nodes.push_back(*graph_.find_node(name));
    TRY_ASSIGN(DividedStage divided, divide_stage(graph_, nodes, division_of(stage), units_, PartWeights::kBlank));
    TRY(add_spare_parts(divided, spare, PartWeights::kBlank));
    return divided;
  }

  // Each replica of them on whichever of the devices is the least busy.
  void add_parts(const DividedStage& divided, Spare spare, Plan& plan, std::size_t index) const {
    Stage& stage = plan.stages[index];
    std::vector<double> busy_s;
    for (const std::size_t device : devices_) busy_s.push_back(plan.prediction->loads[device].busy_s());
    const std::size_t ways = stage.parts.size();
    stage.spare = spare;
    for (std::size_t p = ways; p < divided.parts.size(); ++p) {
      const Part model = stage.parts[spare == Spare::kStandby ? p - ways : 0];
      std::vector<std::size_t> replicas;
      for (std::size_t replica = 0; replica < model.devices.size(); ++replica) {
        const auto least = static_cast<std::size_t>(std::min_element(busy_s.begin(), busy_s.end()) - busy_s.begin());
        const auto served = std::count(stage.schedule.begin(), stage.schedule.end(), replica);
        replicas.push_back(devices_[least]);
        busy_s[least] +=
            model.compute_s[replica] * static_cast<double>(served) / static_cast<double>(stage.schedule.size());
      }
      Part part = make_part(divided.parts[p], stage.split, replicas, engine_);
      if (spare == Spare::kStandby) {  // with the same kernels, whatever rule chose them
        part = model;
        part.devices = std::move(replicas);
        part.repeated_macs = part.macs;
        part.compute_s.clear();
      }
      stage.parts.push_back(std::move(part));
    }
  }

  bool fits(const Plan& plan) const {
    if (plan.prediction->throughput_per_s < wanted_per_s_) return false;
    return missing_memory(model_, plan.prediction->loads).empty();  // also of those that receive what spare parts give
  }

  const Graph& graph_;
  const ClusterModel& model_;
  const EngineFacts& engine_;
  const std::vector<std::size_t>& devices_;
  std::vector<std::int64_t> units_;
  double wanted_per_s_;
};

}  // namespace

Expected<void> add_spares(const Graph& graph, const ClusterModel& model, const EngineFacts& engine,
                          const std::vector<std::size_t>& devices, Plan& plan) {
  const SparePlanner planner(graph, model, engine, devices, plan);
  bool has_any = false;
  for (std::size_t stage = 0; stage < plan.stages.size(); ++stage) {
    if (plan.stages[stage].spare != Spare::kNone) continue;
    TRY_ASSIGN(std::optional<Plan> with, planner.with_spares(plan, stage));
    if (!with) continue;
    plan = std::move(*with);
    has_any = true;
  }
  if (has_any) return {};
  return fail(ErrorCode::kExhausted,
              "no stage's parts can be repeated on {} spare device(s): they lack the memory, or can't keep up",
              devices.size());
}

std::size_t count_spare_devices(const Plan& plan) {
  std::set<std::size_t> needed;
  for (const Stage& stage : plan.stages) {
    for (std::size_t p = 0; p < stage.ways(); ++p) {
      needed.insert(stage.parts[p].devices.begin(), stage.parts[p].devices.end());
    }
  }
  return used_devices(plan).size() - needed.size();
}

}  // namespace onnx_split
