#include "partition/search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "partition/search_methods.h"

namespace onnx_split {
namespace {

std::vector<std::size_t> kind_representatives(const ClusterModel& model) {
  std::vector<std::size_t> devices(model.kinds, 0);
  for (std::size_t d = model.devices.size(); d-- > 0;) devices[model.devices[d].kind] = d;
  return devices;
}

double total_bytes(const Graph& graph, const std::vector<ValueId>& values) {
  double bytes = 0.0;
  for (const ValueId id : values) bytes += static_cast<double>(graph.value(id).type.size_bytes());
  return bytes;
}

// What has to be done for each request, on each kind of device: receiving the input, each segment, sending the answer.
std::vector<std::vector<double>> work_by_kind(const CostModel& cost, const std::vector<std::size_t>& representatives) {
  const StageShapes& shapes = cost.shapes();
  std::vector<std::vector<double>> work;
  for (const std::size_t d : representatives) {
    const DeviceModel& device = cost.model().devices[d];
    const Graph& graph = shapes.graph();
    std::vector<double> seconds{device.receive.of(1.0, total_bytes(graph, graph.inputs())),
                                device.send.of(1.0, total_bytes(graph, graph.outputs()))};
    for (std::size_t i = 0; i < shapes.segments(); ++i) seconds.push_back(shapes.least_s(device.kind, i, i + 1));
    work.push_back(std::move(seconds));
  }
  return work;
}

std::string seconds_text(double seconds) { return fmt::format("{:.1f} ms", seconds * 1e3); }

class Portfolio {
 public:
  Portfolio(const CostModel& cost, const SearchOptions& options) : cost_(cost), options_(options) {}

  Expected<SearchResult> run() {
    SearchResult result;
    result.bound_s = options_.objective == Objective::kLatency ? latency_bound_s(cost_) : period_bound_s(cost_);
    const std::optional<Scored> complete = search_completely(cost_, options_);
    if (complete) try_all({complete->candidate});
    // They go beyond the space that is searched completely.
    if (!near_bound(result)) try_all(simple_plans(cost_, options_));
    if (!near_bound(result) && options_.objective == Objective::kThroughput) try_all(pipelines(cost_, options_));
    if (!near_bound(result) && (options_.objective == Objective::kLatency || options_.max_latency_s > 0.0)) {
      try_fastest_paths();
    }
    if (!near_bound(result) && options_.objective == Objective::kThroughput && options_.space.splits) {
      try_all(grouped_paths(cost_, options_));
    }
    if (!near_bound(result)) improve_best();
    if (options_.gives_up()) return fail(ErrorCode::kCancelled, "interrupted");
    CHECK(best_.has_value());
    TRY(check_allowed());
    constexpr double kEqual = 1e-9;
    result.exact = complete && is_allowed(complete->cost, options_) &&
                   objective_s(best_->cost, options_) >= (1.0 - kEqual) * objective_s(complete->cost, options_);
    // Near the bound nothing can be better.
    add_others(near_bound(result) ? 0.0 : kNearly, result);
    result.candidate = best_->candidate;
    result.cost = best_->cost;
    return result;
  }

 private:
  static constexpr double kNearly = 1.25;

  bool near_bound(const SearchResult& result) const {
    constexpr double kNear = 1.001;
    return best_ && is_allowed(best_->cost, options_) && objective_s(best_->cost, options_) <= kNear * result.bound_s;
  }

  void try_all(std::vector<Candidate> candidates) {
    for (Candidate& candidate : candidates) {
      Scored scored{std::move(candidate), {}};
      scored.cost = cost_.of(scored.candidate);
      pool_.push_back(scored);
      if (!best_ || is_better(scored.cost, best_->cost, options_)) best_ = std::move(scored);
    }
  }

  // A path is found by what its stages cost one by one. What pays where links are faster, and so is divided more
  // finely, may be better than it looks that way.
  void try_fastest_paths() {
    for (const double factor : {1.0, 3.0, 10.0}) {
      ClusterModel model = cost_.model();
      for (DeviceModel& device : model.devices) {
        device.up_bytes_per_s *= factor;
        device.down_bytes_per_s *= factor;
      }
      for (auto& [pair, link] : model.pairs) link.bytes_per_s *= factor;
      model.medium_bytes_per_s *= factor;
      model.coordinator_bytes_per_s *= factor;
      try_all(fastest_paths(CostModel(model, cost_.shapes()), options_));
    }
  }

  void sort_pool() {
    std::stable_sort(pool_.begin(), pool_.end(),
                     [&](const Scored& a, const Scored& b) { return is_better(a.cost, b.cost, options_); });
  }

  // From the best few.
  void improve_best() {
    constexpr std::size_t kStarts = 3;
    constexpr std::size_t kEvaluations = 6000;
    sort_pool();
    const std::size_t budget = kEvaluations * 8 / std::max<std::size_t>(cost_.model().devices.size(), 8);
    for (std::size_t i = 0; i < std::min(kStarts, pool_.size()); ++i) {
      Scored improved = improve(cost_, options_, pool_[i], budget);
      pool_.push_back(improved);
      if (is_better(improved.cost, best_->cost, options_)) best_ = std::move(improved);
    }
  }

  // As rivals whatever costs less than `nearly` times what the best does, as others what follows it.
  void add_others(double nearly, SearchResult& result) {
    constexpr std::size_t kMostRivals = 6, kMostOthers = 12;
    sort_pool();
    const auto has = [](const std::vector<Candidate>& some, const Candidate& candidate) {
      return std::find(some.begin(), some.end(), candidate) != some.end();
    };
    for (const Scored& scored : pool_) {
      if (!is_allowed(scored.cost, options_) || result.others.size() == kMostOthers) break;
      const Candidate& candidate = scored.candidate;
      if (candidate == best_->candidate || has(result.rivals, candidate) || has(result.others, candidate)) continue;
      const bool is_rival = result.rivals.size() < kMostRivals &&
                            objective_s(scored.cost, options_) <= nearly * objective_s(best_->cost, options_);
      (is_rival ? result.rivals : result.others).push_back(candidate);
    }
  }

  Expected<void> check_allowed() const {
    if (best_->cost.missing_bytes > 0) {
      return fail(ErrorCode::kExhausted, "no plan was found that fits in memory; the nearest lacks {:.1f} MB: {}",
                  static_cast<double>(best_->cost.missing_bytes) * 1e-6,
                  missing_memory(cost_.model(), best_->cost.devices));
    }
    if (options_.max_latency_s > 0.0 && best_->cost.latency_s > options_.max_latency_s) {
      return fail(ErrorCode::kExhausted, "no plan was found with a latency of {}: the quickest takes {}",
                  seconds_text(options_.max_latency_s), seconds_text(best_->cost.latency_s));
    }
    return {};
  }

  const CostModel& cost_;
  const SearchOptions& options_;
  std::optional<Scored> best_;
  std::vector<Scored> pool_;
};

// How uneven the loads are: high powers of them, so that the busiest counts most.
double unevenness(const Cost& cost) {
  double sum = 0.0;
  for (const DeviceLoad& load : cost.devices) {
    const double busiest = std::max({load.busy_s(), load.up_s, load.down_s});
    sum += std::pow(busiest / std::max(cost.period_s, 1e-12), 8.0);
  }
  return sum;
}

}  // namespace

Single best_alone(const CostModel& cost, const SearchOptions& options) {
  std::optional<Single> best;
  for (const std::size_t d : canonical_order(cost)) {
    auto stage = stage_choice(cost, 0, cost.shapes().segments(), std::vector<std::size_t>{d}, Split::kWhole, 1);
    CHECK(stage.has_value());
    Cost alone = cost.of({std::move(*stage)});
    if (best && objective_s(alone, options) >= objective_s(best->cost, options)) continue;
    best = Single{d, std::move(alone)};
  }
  return std::move(*best);
}

double objective_s(const Cost& cost, const SearchOptions& options) {
  return options.objective == Objective::kLatency ? cost.latency_s : cost.period_s;
}

bool is_allowed(const Cost& cost, const SearchOptions& options) {
  return cost.missing_bytes == 0 && (options.max_latency_s <= 0.0 || cost.latency_s <= options.max_latency_s);
}

bool is_better(const Cost& a, const Cost& b, const SearchOptions& options) {
  if (a.missing_bytes != b.missing_bytes) return a.missing_bytes < b.missing_bytes;
  const bool a_allowed = is_allowed(a, options), b_allowed = is_allowed(b, options);
  if (a_allowed != b_allowed) return a_allowed;
  const auto differ = [](double x, double y) { return std::abs(x - y) > 1e-9 * std::max(x, y); };
  if (!a_allowed && differ(a.latency_s, b.latency_s)) return a.latency_s < b.latency_s;
  const double a_s = objective_s(a, options), b_s = objective_s(b, options);
  if (differ(a_s, b_s)) return a_s < b_s;
  const double a_even = unevenness(a), b_even = unevenness(b);
  if (std::abs(a_even - b_even) > 1e-6 * std::max(a_even, b_even)) return a_even < b_even;
  if (differ(a.latency_s, b.latency_s)) return a.latency_s < b.latency_s;
  return differ(a.period_s, b.period_s) && a.period_s < b.period_s;
}

double period_bound_s(const CostModel& cost) {
  const ClusterModel& model = cost.model();
  const std::vector<std::size_t> representatives = kind_representatives(model);
  const std::vector<std::vector<double>> work = work_by_kind(cost, representatives);
  std::vector<double> count(model.kinds, 0.0);
  for (const DeviceModel& device : model.devices) count[device.kind] += 1.0;
  // By the duality of linear programming any prices of the pieces of work give a bound: a device earns at most its best
  // price a second, and each request costs the sum of the prices. As prices serve each kind's own times.
  double bound = 0.0;
  for (const std::vector<double>& prices : work) {
    double earned = 0.0, request = 0.0;
    for (const double price : prices) request += price;
    for (std::size_t kind = 0; kind < work.size(); ++kind) {
      double best = 0.0;
      for (std::size_t i = 0; i < prices.size(); ++i) {
        if (prices[i] > 0.0) best = std::max(best, work[kind][i] > 0.0 ? prices[i] / work[kind][i] : 1e30);
      }
      earned += count[kind] * best;
    }
    if (earned > 0.0) bound = std::max(bound, request / earned);
  }
  const double least_bytes = total_bytes(cost.shapes().graph(), cost.shapes().graph().inputs());
  if (model.medium_bytes_per_s > 0.0) bound = std::max(bound, least_bytes / model.medium_bytes_per_s);
  if (model.coordinator_bytes_per_s > 0.0) bound = std::max(bound, least_bytes / model.coordinator_bytes_per_s);
  return bound;
}

double latency_bound_s(const CostModel& cost) {
  double latency_s = std::numeric_limits<double>::infinity();
  for (const DeviceModel& device : cost.model().devices) latency_s = std::min(latency_s, device.latency_s);
  return period_bound_s(cost) + 2.0 * latency_s;
}

Expected<SearchResult> search(const CostModel& cost, const SearchOptions& options) {
  if (cost.model().devices.empty()) return fail(ErrorCode::kInvalid, "no devices to plan for");
  return Portfolio(cost, options).run();
}

}  // namespace onnx_split
