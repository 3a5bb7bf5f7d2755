// Every plan of the space that search_completely promises, one after the other: no bounds, no order, nothing clever.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "partition/search.h"

namespace onnx_split::testing {

class PlanSpace {
 public:
  // For kThroughput each device serves one stage; for kLatency a stage is on one device, or divided over the first w.
  PlanSpace(const CostModel& cost, const SearchOptions& options)
      : segments_(cost.shapes().segments()), devices_(cost.model().devices.size()), shared_(is_shared(options)) {
    const std::vector<std::size_t> order = canonical_order(cost);
    SpaceOptions space = options.space;
    if (shared_) space.replicas = false;
    choices_.resize(segments_ * (segments_ + 1) << devices_);
    for (std::size_t begin = 0; begin < segments_; ++begin) {
      for (std::size_t end = begin + 1; end <= segments_; ++end) {
        for (std::size_t set = 1; set < std::size_t{1} << devices_; ++set) {
          std::vector<std::size_t> members;
          for (std::size_t i = 0; i < devices_; ++i) {
            if ((set >> i) % 2 == 1) members.push_back(order[i]);
          }
          const bool is_prefix = members.back() == order[members.size() - 1];
          if (shared_ && members.size() > 1 && !is_prefix) continue;
          at(begin, end, set) = stage_choices(cost, begin, end, members, space);
        }
      }
    }
  }

  double count() const {
    // By the first segment that isn't done yet and the devices that are taken.
    const std::size_t sets = std::size_t{1} << devices_;
    std::vector<std::vector<double>> plans(segments_ + 1, std::vector<double>(sets, 1.0));
    for (std::size_t begin = segments_; begin-- > 0;) {
      for (std::size_t used = 0; used < sets; ++used) {
        plans[begin][used] = 0.0;
        for (std::size_t end = begin + 1; end <= segments_; ++end) {
          for (std::size_t set = 1; set < sets; ++set) {
            if (!shared_ && (set & used) != 0) continue;
            plans[begin][used] +=
                static_cast<double>(at(begin, end, set).size()) * plans[end][shared_ ? 0 : used | set];
          }
        }
      }
    }
    return plans[0][0];
  }

  void for_each(const std::function<void(const Candidate&)>& visit) const {
    Candidate plan;
    extend(plan, 0, 0, visit);
  }

  // Whether it is one of the plans.
  bool contains(const Candidate& plan) const {
    bool found = false;
    // Few plans begin like it.
    std::function<void(std::size_t, std::size_t)> follow = [&](std::size_t stage, std::size_t used) {
      if (stage == plan.size()) found = true;
      for (std::size_t set = 1; stage < plan.size() && set < std::size_t{1} << devices_; ++set) {
        if (!shared_ && (set & used) != 0) continue;
        for (const CandidateStage& choice : at(plan[stage].begin, plan[stage].end, set)) {
          if (choice == plan[stage]) follow(stage + 1, used | set);
        }
      }
    };
    follow(0, 0);
    return found;
  }

 private:
  static bool is_shared(const SearchOptions& options) { return options.objective == Objective::kLatency; }

  std::vector<CandidateStage>& at(std::size_t begin, std::size_t end, std::size_t set) {
    return choices_[((begin * (segments_ + 1) + end) << devices_) + set];
  }
  const std::vector<CandidateStage>& at(std::size_t begin, std::size_t end, std::size_t set) const {
    return choices_[((begin * (segments_ + 1) + end) << devices_) + set];
  }

  void extend(Candidate& plan, std::size_t begin, std::size_t used,
              const std::function<void(const Candidate&)>& visit) const {
    if (begin == segments_) visit(plan);
    for (std::size_t end = begin + 1; end <= segments_; ++end) {
      for (std::size_t set = 1; set < std::size_t{1} << devices_; ++set) {
        if (!shared_ && (set & used) != 0) continue;
        for (const CandidateStage& stage : at(begin, end, set)) {
          plan.push_back(stage);
          extend(plan, end, used | set, visit);
          plan.pop_back();
        }
      }
    }
  }

  std::size_t segments_;
  std::size_t devices_;
  bool shared_;
  std::vector<std::vector<CandidateStage>> choices_;  // by begin, end and set
};

// The best of a space.
struct Optimum {
  double objective_s = std::numeric_limits<double>::infinity();  // of the plans that are allowed
  std::int64_t missing_bytes = std::numeric_limits<std::int64_t>::max();
  double latency_s = std::numeric_limits<double>::infinity();  // the least of those that fit
  Candidate candidate;

  bool exists() const { return objective_s < std::numeric_limits<double>::infinity(); }
};

inline Optimum exhaustive_optimum(const CostModel& cost, const SearchOptions& options, const PlanSpace& space) {
  Optimum best;
  space.for_each([&](const Candidate& plan) {
    const Cost found = cost.of(plan);
    best.missing_bytes = std::min(best.missing_bytes, found.missing_bytes);
    if (found.missing_bytes > 0) return;
    best.latency_s = std::min(best.latency_s, found.latency_s);
    if (options.max_latency_s > 0.0 && found.latency_s > options.max_latency_s) return;
    const double seconds = options.objective == Objective::kLatency ? found.latency_s : found.period_s;
    if (seconds >= best.objective_s) return;
    best.objective_s = seconds;
    best.candidate = plan;
  });
  return best;
}

}  // namespace onnx_split::testing
