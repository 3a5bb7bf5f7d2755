// Every plan of the space, by depth-first search with a bound.
#include <algorithm>

#include "partition/search_methods.h"

namespace onnx_split {
namespace {

// Splits that stage_choices tries for each number of ways: four, and the square grid.
constexpr double kSplitsTried = 5.0;

double choices_on(std::size_t devices, const SearchOptions& options) {
  double choices = devices == 1 || options.space.replicas ? 1.0 : 0.0;
  for (std::size_t ways = 2; ways <= devices; ++ways) {
    if (devices % ways == 0 && options.space.splits) choices += kSplitsTried;
  }
  return choices;
}

// The number of plans, at most: each device in one stage.
double count_disjoint(std::size_t segments, std::size_t devices, const SearchOptions& options) {
  // plans[m][n]: of the last m segments on n devices.
  std::vector<std::vector<double>> plans(segments + 1, std::vector<double>(devices + 1, 0.0));
  for (std::size_t n = 0; n <= devices; ++n) plans[0][n] = 1.0;
  for (std::size_t m = 1; m <= segments; ++m) {
    for (std::size_t n = 1; n <= devices; ++n) {
      for (std::size_t length = 1; length <= m; ++length) {
        double ways_to_choose = 1.0;  // C(n, k)
        for (std::size_t k = 1; k <= n; ++k) {
          ways_to_choose *= static_cast<double>(n - k + 1) / static_cast<double>(k);
          plans[m][n] += ways_to_choose * choices_on(k, options) * plans[m - length][n - k];
        }
      }
    }
  }
  return plans[segments][devices];
}

class CompleteSearch {
 public:
  CompleteSearch(const CostModel& cost, const SearchOptions& options)
      : cost_(cost), options_(options), order_(canonical_order(cost)) {}

  std::optional<Scored> run() {
    const std::size_t segments = cost_.shapes().segments();
    const std::size_t devices = order_.size();
    constexpr std::size_t kMostDevices = 16;  // bits of a set
    if (devices > kMostDevices) return std::nullopt;
    double plans = 0.0;
    if (shared()) {
      const double choices = static_cast<double>(devices) + kSplitsTried * static_cast<double>(devices - 1);
      plans = choices;
      for (std::size_t i = 1; i < segments && plans <= options_.exact_plans; ++i) plans *= choices + 1.0;
    } else {
      plans = count_disjoint(segments, devices, options_);
    }
    if (plans > options_.exact_plans) return std::nullopt;
    compute_.assign(cost_.model().devices.size(), 0.0);
    extend(0, 0);
    return std::move(best_);
  }

 private:
  bool shared() const { return options_.objective == Objective::kLatency; }

  void extend(std::size_t begin, unsigned used) {
    if (begin == cost_.shapes().segments()) {
      Scored scored{plan_, cost_.of(plan_)};
      if (!best_ || is_better(scored.cost, best_->cost, options_)) best_ = std::move(scored);
      return;
    }
    const unsigned all = (1U << order_.size()) - 1;
    for (std::size_t end = begin + 1; end <= cost_.shapes().segments(); ++end) {
      for (unsigned set = 1; set <= all; ++set) {
        if (shared() ? !is_prefix_or_single(set) : (set & used) != 0) continue;
        std::vector<std::size_t> devices;
        for (std::size_t i = 0; i < order_.size(); ++i) {
          if ((set >> i & 1U) != 0) devices.push_back(order_[i]);
        }
        SpaceOptions space = options_.space;
        if (shared()) space.replicas = false;
        for (CandidateStage& stage : stage_choices(cost_, begin, end, devices, space)) try_stage(stage, used | set);
      }
    }
  }

  static bool is_prefix_or_single(unsigned set) { return (set & (set + 1)) == 0 || (set & (set - 1)) == 0; }

  // A device is at least as busy as it computes, and a plan's latency and period are at least that. (Replicas share
  // the requests: together they are as quick as the sum of their speeds.)
  void try_stage(const CandidateStage& stage, unsigned used) {
    const StageShape& shape = *cost_.shapes().find(stage.begin, stage.end, stage.division);
    const std::vector<double> before = compute_;
    double speed = 0.0, busiest_s = 0.0;
    for (std::size_t r = 0; r < stage.replicas; ++r) {
      double slowest_s = 0.0;
      for (std::size_t p = 0; p < shape.parts.size(); ++p) {
        const std::size_t d = stage.devices[p * stage.replicas + r];
        const double seconds = shape.parts[p].compute_s[cost_.model().devices[d].kind];
        slowest_s = std::max(slowest_s, seconds);
        if (stage.replicas == 1) busiest_s = std::max(busiest_s, compute_[d] += seconds);
      }
      speed += 1.0 / std::max(slowest_s, 1e-12);
    }
    if (stage.replicas > 1) busiest_s = 1.0 / speed;
    const bool hopeless = best_ && is_allowed(best_->cost, options_) && busiest_s > objective_s(best_->cost, options_);
    if (!hopeless) {
      plan_.push_back(stage);
      extend(stage.end, used);
      plan_.pop_back();
    }
    compute_ = before;
  }

  const CostModel& cost_;
  const SearchOptions& options_;
  std::vector<std::size_t> order_;
  std::vector<double> compute_;  // by device, of the stages so far
  Candidate plan_;
  std::optional<Scored> best_;
};

}  // namespace

std::optional<Scored> search_completely(const CostModel& cost, const SearchOptions& options) {
  return CompleteSearch(cost, options).run();
}

}  // namespace onnx_split
