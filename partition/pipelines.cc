// Pipelines in which each device serves one stage, by dynamic programming over cuts and numbers of devices of each
// type.
//
// For a period B the question is which cuts can be reached with which devices, every stage taking at most B. The
// answers for one set of devices are a word of bits, one for each cut; the smallest B is found by bisection. Stages are
// costed alone here (what they receive and send once); the real cost decides afterwards.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "base/check.h"
#include "partition/search_methods.h"

namespace onnx_split {
namespace {

constexpr std::size_t kMostSegments = 64;  // bits of a word
constexpr std::size_t kMostStates = 4096;
constexpr std::size_t kMostTypes = 12;
constexpr std::size_t kMostUnits = 128;  // of one type
constexpr float kTooSlow = std::numeric_limits<float>::infinity();
constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max() / 2;

// Devices that the search doesn't tell apart, in units that it doesn't part.
struct Type {
  std::vector<std::size_t> devices;  // in canonical order
  std::size_t units = 0;

  double unit_size() const { return static_cast<double>(devices.size()) / static_cast<double>(units); }
  // The devices of the first `count` units.
  std::size_t first(std::size_t count) const {
    return static_cast<std::size_t>(std::llround(static_cast<double>(count) * unit_size()));
  }
};

class PipelineSearch {
 public:
  // The segments from `segments` on are stages on all devices together. `waiting`: for how many requests at once each
  // device is taken to hold inputs.
  // `known_s`: a period that some plan is known to have; nothing longer is looked at.
  PipelineSearch(const CostModel& cost, const SearchOptions& options, std::size_t segments, std::int64_t waiting,
                 double known_s)
      : cost_(cost),
        options_(options),
        shapes_(cost.shapes()),
        segments_(segments),
        waiting_(waiting),
        known_s_(known_s) {}

  std::vector<Candidate> run() {
    CHECK(segments_ <= kMostSegments);
    if (!divide_common()) return {};
    make_types();
    enumerate_groups();
    fill_times();
    if (options_.gives_up()) return {};
    double low = period_bound_s(cost_) * 0.5, high = std::max(low, 1e-9);
    constexpr int kMostDoublings = 60;
    int doublings = 0;
    while (!reachable(high) && ++doublings < kMostDoublings) high *= 2.0;
    if (doublings == kMostDoublings) return {};
    constexpr double kClose = 1.002;
    while (high > kClose * low) {
      const double middle = std::sqrt(low * high);
      (reachable(middle) ? high : low) = middle;
    }
    std::vector<Candidate> plans;
    // A little slack allows for fewer stages, and with them for less to send.
    for (const double slack : {1.0, 1.02, 1.06}) {
      if (!reachable(high * slack)) continue;
      for (const bool all_devices : {false, true}) {
        auto plan = trace_back(high * slack, all_devices);
        if (!plan) continue;
        plan->insert(plan->end(), common_.begin(), common_.end());
        if (std::find(plans.begin(), plans.end(), *plan) == plans.end()) plans.push_back(std::move(*plan));
      }
    }
    return plans;
  }

 private:
  // The stages that all devices share, each divided as is quickest, and the memory that they leave.
  bool divide_common() {
    const std::vector<std::size_t> devices = canonical_order(cost_);
    free_bytes_.assign(devices.size(), kUnlimited);
    for (const std::size_t d : devices) {
      const DeviceModel& device = cost_.model().devices[d];
      if (device.memory_bytes > 0) free_bytes_[d] = device.memory_bytes - device.idle_bytes;
    }
    for (std::size_t begin = segments_; begin < shapes_.segments(); ++begin) {
      SpaceOptions space = options_.space;
      space.replicas = false;
      std::optional<CandidateStage> best;
      for (CandidateStage& stage : stage_choices(cost_, begin, begin + 1, devices, space)) {
        if (!best || stage_s(stage) < stage_s(*best)) best = std::move(stage);
      }
      if (!best) return false;
      const StageShape& shape = *shapes_.find(begin, begin + 1, best->division);
      for (std::size_t p = 0; p < shape.parts.size(); ++p) free_bytes_[best->devices[p]] -= held_bytes(shape.parts[p]);
      common_.push_back(std::move(*best));
    }
    return true;
  }

  void make_types() {
    for (const std::size_t d : canonical_order(cost_)) {
      const std::size_t kind = cost_.model().devices[d].kind;
      if (types_.empty() || cost_.model().devices[types_.back().devices.front()].kind != kind) types_.emplace_back();
      types_.back().devices.push_back(d);
    }
    // Too many types: neighbours in speed become one, the smallest first.
    while (types_.size() > kMostTypes) {
      std::size_t least = 0;
      const auto joined = [&](std::size_t t) { return types_[t].devices.size() + types_[t + 1].devices.size(); };
      for (std::size_t t = 1; t + 1 < types_.size(); ++t) {
        if (joined(t) < joined(least)) least = t;
      }
      Type& into = types_[least];
      into.devices.insert(into.devices.end(), types_[least + 1].devices.begin(), types_[least + 1].devices.end());
      types_.erase(types_.begin() + static_cast<std::ptrdiff_t>(least) + 1);
    }
    for (Type& type : types_) type.units = 1;
    // More units for whichever type has the coarsest, as long as there are states for them.
    while (true) {
      Type* coarsest = nullptr;
      for (Type& type : types_) {
        if (type.units == std::min(type.devices.size(), kMostUnits)) continue;
        std::size_t states = type.units + 2;
        for (const Type& other : types_) {
          if (&other != &type) states *= other.units + 1;
        }
        if (states > kMostStates) continue;
        if (coarsest == nullptr || type.unit_size() > coarsest->unit_size()) coarsest = &type;
      }
      if (coarsest == nullptr) break;
      ++coarsest->units;
    }
    states_ = 1;
    for (const Type& type : types_) {
      strides_.push_back(states_);
      states_ *= type.units + 1;
    }
  }

  std::vector<std::size_t> counts_of(std::size_t state) const {
    std::vector<std::size_t> counts;
    for (const Type& type : types_) {
      counts.push_back(state % (type.units + 1));
      state /= type.units + 1;
    }
    return counts;
  }

  // For each state, the groups that it contains.
  void enumerate_groups() {
    groups_.resize(states_);
    for (std::size_t state = 1; state < states_; ++state) {
      const std::vector<std::size_t> counts = counts_of(state);
      std::vector<std::size_t> group(types_.size(), 0);
      std::size_t index = 0;
      while (true) {
        std::size_t t = 0;
        while (t < types_.size() && group[t] == counts[t]) {
          index -= group[t] * strides_[t];
          group[t] = 0;
          ++t;
        }
        if (t == types_.size()) break;
        ++group[t];
        index += strides_[t];
        groups_[state].push_back(static_cast<std::uint32_t>(index));
      }
    }
  }

  // The devices that stand for a group: the first of each type.
  std::vector<std::size_t> devices_of(std::size_t group) const {
    const std::vector<std::size_t> counts = counts_of(group);
    std::vector<std::size_t> devices;
    for (std::size_t t = 0; t < types_.size(); ++t) {
      const auto begin = types_[t].devices.begin();
      devices.insert(devices.end(), begin, begin + static_cast<std::ptrdiff_t>(types_[t].first(counts[t])));
    }
    return devices;
  }

  std::size_t place(std::size_t group, std::size_t begin, std::size_t end) const {
    return (group * segments_ + begin) * segments_ + end - 1;
  }

  // The time of one part on a device: computing, and messages in and out, once.
  double part_s(const PartShape& part, std::size_t d) const {
    const DeviceModel& device = cost_.model().devices[d];
    double in = 0.0, out = 0.0;
    for (const ValuePiece& input : part.inputs) in += static_cast<double>(input.bytes);
    for (const ValuePiece& output : part.outputs) out += static_cast<double>(output.bytes);
    const double busy_s = part.compute_s[device.kind] + device.receive.of(static_cast<double>(part.inputs.size()), in) +
                          device.send.of(static_cast<double>(part.outputs.size()), out);
    return std::max({busy_s, in / device.down_bytes_per_s, out / device.up_bytes_per_s});
  }

  std::int64_t held_bytes(const PartShape& part) const {
    std::int64_t bytes = part.weight_bytes + part.activation_bytes;
    for (const ValuePiece& input : part.inputs) bytes += waiting_ * input.bytes;
    return bytes;
  }

  bool fits(const PartShape& part, std::size_t d) const { return held_bytes(part) <= free_bytes_[d]; }

  double stage_s(const CandidateStage& stage) const {
    const StageShape& shape = *shapes_.find(stage.begin, stage.end, stage.division);
    double speed = 0.0;
    for (std::size_t r = 0; r < stage.replicas; ++r) {
      double slowest_s = 0.0;
      for (std::size_t p = 0; p < shape.parts.size(); ++p) {
        const std::size_t d = stage.devices[p * stage.replicas + r];
        if (!fits(shape.parts[p], d)) return kTooSlow;
        slowest_s = std::max(slowest_s, part_s(shape.parts[p], d));
      }
      speed += 1.0 / slowest_s;
    }
    return 1.0 / speed;
  }

  // Something of each stage, by begin and end - 1.
  using OfStages = std::vector<double>;

  template <class Of>
  OfStages of_stages(const Of& of) const {
    OfStages result(segments_ * segments_, 0.0);
    for (std::size_t begin = 0; begin < segments_; ++begin) {
      for (std::size_t end = begin + 1; end <= segments_; ++end) result[begin * segments_ + end - 1] = of(begin, end);
    }
    return result;
  }

  // The sum over a group's devices, where `by_type` has it for one device of each type.
  void sum_up(std::size_t group, const std::vector<OfStages>& by_type, OfStages& sum) const {
    std::fill(sum.begin(), sum.end(), 0.0);
    const std::vector<std::size_t> counts = counts_of(group);
    for (std::size_t t = 0; t < types_.size(); ++t) {
      if (counts[t] == 0) continue;
      const double devices = static_cast<double>(counts[t]) * types_[t].unit_size();
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += devices * by_type[t][i];
    }
  }

  void fill_times() {
    times_.assign(states_ * segments_ * segments_, kTooSlow);
    // Whole stages: the speeds of the types add up. One for which a stage is too large can't be in its group.
    std::vector<OfStages> speeds;
    for (const Type& type : types_) {
      speeds.push_back(of_stages([&](std::size_t begin, std::size_t end) {
        const PartShape& part = shapes_.find(begin, end, {})->parts[0];
        double fitting = 0.0;
        for (const std::size_t d : {type.devices.front(), type.devices.back()}) {
          if (fits(part, d)) fitting += 0.5 / part_s(part, d);
        }
        return fitting > 0.0 ? fitting : -std::numeric_limits<double>::infinity();
      }));
    }
    OfStages sum(segments_ * segments_);
    for (std::size_t group = 1; group < states_; ++group) {
      if (!options_.space.replicas && devices_of(group).size() > 1) continue;
      sum_up(group, speeds, sum);
      float* times = times_.data() + group * sum.size();
      for (std::size_t i = 0; i < sum.size(); ++i)
        times[i] = sum[i] > 0.0 ? static_cast<float>(1.0 / sum[i]) : kTooSlow;
    }
    if (options_.space.splits) add_divided();
  }

  // Divided stages, where whole ones don't do: without replicas, or for want of memory.
  void add_divided() {
    const double bound_s = period_bound_s(cost_);
    const OfStages whole_bytes = of_stages([&](std::size_t begin, std::size_t end) {
      return static_cast<double>(held_bytes(shapes_.find(begin, end, {})->parts[0]));
    });
    std::vector<OfStages> speeds;  // of computing alone
    for (const Type& type : types_) {
      const std::size_t kind = cost_.model().devices[type.devices.front()].kind;
      speeds.push_back(of_stages([&](std::size_t begin, std::size_t end) {
        return 1.0 / std::max(shapes_.whole_s(kind, begin, end), 1e-12);
      }));
    }
    OfStages speed(segments_ * segments_);
    for (std::size_t group = 1; group < states_; ++group) {
      const std::vector<std::size_t> devices = devices_of(group);
      if (devices.size() < 2) continue;
      if (options_.gives_up()) return;
      sum_up(group, speeds, speed);
      const std::int64_t free_bytes = least_free_bytes(devices);
      for (std::size_t begin = 0; begin < segments_; ++begin) {
        for (std::size_t end = begin + 1; end <= segments_; ++end) {
          const std::size_t i = begin * segments_ + end - 1;
          float& best = times_[place(group, begin, end)];
          const bool fits_whole = best < kTooSlow || whole_bytes[i] <= static_cast<double>(free_bytes);
          if (fits_whole && options_.space.replicas) continue;
          // With fewer devices it would be quick enough, or it can't be with these.
          constexpr double kWasteful = 0.4;
          const double ideal_s = 1.0 / speed[i];
          if (ideal_s > known_s_ || (fits_whole && ideal_s < kWasteful * bound_s)) continue;
          const Estimate& estimate = divided(begin, end, devices.size(), devices.back(), free_bytes);
          best = std::min(best, static_cast<float>(estimate.overhead * ideal_s));
        }
      }
    }
  }

  // How a stage is divided best, and the sum of its parts' times over the whole stage's: for devices that are all like
  // the slowest, the fullest of which has `free_bytes`.
  struct Estimate {
    double overhead = kTooSlow;
    Split split = Split::kWhole;
    std::size_t ways = 1;
  };

  const Estimate& divided(std::size_t begin, std::size_t end, std::size_t devices, std::size_t slowest,
                          std::int64_t free_bytes) {
    const bool weights_fit = shapes_.weight_bytes(begin, end) <= free_bytes;
    const std::size_t kind = cost_.model().devices[slowest].kind;
    const std::size_t key =
        (((devices * cost_.model().kinds + kind) * 2 + (weights_fit ? 1 : 0)) * kMostSegments + begin) * kMostSegments +
        end - 1;
    const auto [known, is_new] = estimates_.try_emplace(key);
    Estimate& best = known->second;
    if (!is_new) return best;
    for (std::size_t ways = 2; ways <= std::min(devices, options_.space.most_ways); ++ways) {
      if (devices % ways != 0 || (ways < devices && !options_.space.replicas)) continue;
      for (const Split split : kDividingSplits) {
        if (split == Split::kSpatial && !weights_fit) continue;  // every part has all of them
        const double overhead = overhead_of(begin, end, split, ways, slowest);
        if (overhead < best.overhead) best = {overhead, split, ways};
      }
    }
    return best;
  }

  double overhead_of(std::size_t begin, std::size_t end, Split split, std::size_t ways, std::size_t device) const {
    const std::size_t kind = cost_.model().devices[device].kind;
    // Long fused stages repeat too much of their work.
    constexpr double kLongest = 0.5;
    const double whole_s = std::max(shapes_.whole_s(kind, begin, end), 1e-12);
    if (split == Split::kSpatial && end > begin + 1 && whole_s > kLongest * shapes_.whole_s(kind, 0, segments_)) {
      return kTooSlow;
    }
    Division division{split, ways, {}, {}};
    if (split == Split::kSpatial) division.grid = {ways, 1};
    const StageShape* shape = shapes_.find(begin, end, division);
    if (shape == nullptr) return kTooSlow;
    double slowest_s = 0.0;
    for (const PartShape& part : shape->parts) {
      slowest_s = std::max(slowest_s, fits(part, device) ? part_s(part, device) : kTooSlow);
    }
    return slowest_s * static_cast<double>(ways) / whole_s;
  }

  std::int64_t least_free_bytes(const std::vector<std::size_t>& devices) const {
    std::int64_t least = kUnlimited;
    for (const std::size_t d : devices) least = std::min(least, free_bytes_[d]);
    return least;
  }

  // Whether all nodes can be computed with stages of at most `period_s`; fills reach_.
  bool reachable(double period_s) {
    const auto limit = static_cast<float>(period_s * (1.0 + 1e-6));
    good_.assign(states_ * segments_, 0);
    for (std::size_t i = 0; i < good_.size(); ++i) {
      const float* times = times_.data() + i * segments_;
      std::uint64_t word = 0;
      for (std::size_t e = i % segments_; e < segments_; ++e) word |= std::uint64_t{times[e] <= limit} << e;
      good_[i] = word;
    }
    reach_.assign(states_, 0);
    bool done = false;
    for (std::size_t state = 1; state < states_; ++state) {
      std::uint64_t reached = 0;
      for (const std::uint32_t group : groups_[state]) {
        const std::uint64_t* good = good_.data() + group * segments_;
        if (group == state) {
          reached |= good[0];
          continue;
        }
        // Bit e of a word: the first e + 1 segments are done.
        for (std::uint64_t from = reach_[state - group]; from != 0; from &= from - 1) {
          const auto begin = static_cast<std::size_t>(std::countr_zero(from)) + 1;
          if (begin < segments_) reached |= good[begin];
        }
      }
      reach_[state] = reached;
      done = done || (reached >> (segments_ - 1) & 1) != 0;
    }
    return done;
  }

  double size_of(std::size_t state) const {
    const std::vector<std::size_t> counts = counts_of(state);
    double size = 0.0;
    for (std::size_t t = 0; t < types_.size(); ++t) size += static_cast<double>(types_[t].first(counts[t]));
    return size;
  }

  // A plan of reachable(period_s), with as few devices as possible, or with as many.
  std::optional<Candidate> trace_back(double period_s, bool all_devices) {
    if (!reachable(period_s)) return std::nullopt;
    std::size_t best_state = 0;
    for (std::size_t state = 1; state < states_; ++state) {
      if ((reach_[state] >> (segments_ - 1) & 1) == 0) continue;
      const bool better = all_devices ? size_of(state) > size_of(best_state) : size_of(state) < size_of(best_state);
      if (best_state == 0 || better) best_state = state;
    }
    struct Step {
      std::size_t group, begin, end;
    };
    std::vector<Step> steps;
    std::size_t state = best_state, end = segments_;
    while (end > 0) {
      std::optional<Step> step;
      double step_s = 0.0;
      for (const std::uint32_t group : groups_[state]) {
        const std::size_t rest = state - group;
        for (std::size_t begin = 0; begin < end; ++begin) {
          const bool leads_here = begin == 0 ? rest == 0 : rest != 0 && (reach_[rest] >> (begin - 1) & 1) != 0;
          if (!leads_here || (good_[group * segments_ + begin] >> (end - 1) & 1) == 0) continue;
          // Long stages first: there are fewer of them. Among equals the quicker.
          const double seconds = times_[place(group, begin, end)];
          const bool better = !step || begin < step->begin || (begin == step->begin && seconds < step_s);
          if (!better) continue;
          step = Step{group, begin, end};
          step_s = seconds;
        }
      }
      CHECK(step.has_value());
      steps.push_back(*step);
      state -= step->group;
      end = step->begin;
    }
    std::reverse(steps.begin(), steps.end());
    // The devices of each type are handed out in order.
    std::vector<std::size_t> units_used(types_.size(), 0);
    Candidate plan;
    for (const Step& step : steps) {
      const std::vector<std::size_t> counts = counts_of(step.group);
      std::vector<std::size_t> devices;
      for (std::size_t t = 0; t < types_.size(); ++t) {
        const std::size_t first = types_[t].first(units_used[t]);
        units_used[t] += counts[t];
        const std::size_t last = types_[t].first(units_used[t]);
        for (std::size_t i = first; i < last; ++i) devices.push_back(types_[t].devices[i]);
      }
      auto stage = best_choice(step.begin, step.end, devices);
      if (!stage) return std::nullopt;
      plan.push_back(std::move(*stage));
    }
    return plan;
  }

  std::optional<CandidateStage> best_choice(std::size_t begin, std::size_t end,
                                            const std::vector<std::size_t>& devices) {
    std::optional<CandidateStage> best;
    if (devices.size() == 1 || options_.space.replicas) {
      best = stage_choice(cost_, begin, end, devices, Split::kWhole, 1);
      if (best && stage_s(*best) < kTooSlow) return best;
    }
    const Estimate& estimate = divided(begin, end, devices.size(), devices.back(), least_free_bytes(devices));
    if (estimate.overhead < kTooSlow) {
      auto stage = stage_choice(cost_, begin, end, devices, estimate.split, estimate.ways);
      if (stage) return stage;
    }
    return best;
  }

  const CostModel& cost_;
  const SearchOptions& options_;
  StageShapes& shapes_;
  std::size_t segments_;
  std::int64_t waiting_;
  double known_s_;
  std::vector<CandidateStage> common_;
  std::vector<std::int64_t> free_bytes_;  // by device; after the stages that all share
  std::unordered_map<std::size_t, Estimate> estimates_;
  std::vector<Type> types_;
  std::vector<std::size_t> strides_;
  std::size_t states_ = 1;                          // a state: how many units of each type are used
  std::vector<std::vector<std::uint32_t>> groups_;  // by state
  std::vector<float> times_;                        // by group, begin, end - 1
  std::vector<std::uint64_t> good_;                 // by group and begin: the ends that are quick enough
  std::vector<std::uint64_t> reach_;                // by state
};

}  // namespace

// How many requests wait in front of a stage depends on the window, which depends on the plan: more and more are
// allowed for until the plans fit with a window that keeps all devices busy; and if none do, as few as possible.
std::vector<Candidate> pipelines(const CostModel& cost, const SearchOptions& options) {
  const StageShapes& shapes = cost.shapes();
  const std::size_t segments = shapes.segments();
  // Where the last layers have most of the weights and little to compute, as fully connected ones have, devices that
  // held them alone would idle: all devices share them beside their own stage.
  constexpr std::size_t kMostShared = 4;
  constexpr double kHeavy = 0.2;
  std::vector<std::size_t> ends{segments};
  const std::size_t devices = cost.model().devices.size();
  const bool may_share = options.space.splits && devices > 1 && devices <= options.space.most_ways;
  for (std::size_t count = 1; may_share && count <= std::min(kMostShared, segments - 1); ++count) {
    const auto weights = static_cast<double>(shapes.weight_bytes(segments - count, segments));
    if (weights >= kHeavy * static_cast<double>(shapes.weight_bytes(0, segments))) ends.push_back(segments - count);
  }
  double known_s = std::numeric_limits<double>::infinity();
  for (const Candidate& plan : simple_plans(cost, options)) {
    const Cost simple = cost.of(plan);
    if (is_allowed(simple, options)) known_s = std::min(known_s, simple.period_s);
  }
  std::vector<Candidate> plans;
  for (const std::size_t end : ends) {
    for (const std::int64_t waiting : {2, 5, 12, 30, 1}) {
      bool fits = false;
      for (Candidate& plan : PipelineSearch(cost, options, end, waiting, known_s).run()) {
        const Cost of = cost.of(plan);
        fits = fits || (of.missing_bytes == 0 && of.window >= least_window(plan));
        plans.push_back(std::move(plan));
      }
      if (fits) break;
    }
  }
  return plans;
}

}  // namespace onnx_split
