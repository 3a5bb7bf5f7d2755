// Local search: small changes to a plan, as long as they help.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>

#include "base/check.h"
#include "partition/search_methods.h"

namespace onnx_split {
namespace {

class LocalSearch {
 public:
  LocalSearch(const CostModel& cost, const SearchOptions& options, Scored from, std::size_t evaluations)
      : cost_(cost), options_(options), best_(std::move(from)), left_(evaluations), order_(canonical_order(cost)) {
    rank_.resize(order_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) rank_[order_[i]] = i;
  }

  Scored run() {
    // Whichever kind of change helped is tried again from the beginning.
    bool improved = true;
    while (improved && left_ > 0) {
      improved = move_cuts() || divide_otherwise() || move_devices() || exchange_devices() || shift_shares() ||
                 join_stages() || part_stages() || widen_stages();
    }
    return std::move(best_);
  }

 private:
  using Devices = std::vector<std::size_t>;

  // Devices of a stage that other stages use too may not be moved about.
  bool disjoint() const {
    std::vector<bool> used(order_.size(), false);
    for (const CandidateStage& stage : best_.candidate) {
      for (const std::size_t d : stage.devices) {
        if (used[d]) return false;
        used[d] = true;
      }
    }
    return true;
  }

  Devices sorted(Devices devices) const {
    std::sort(devices.begin(), devices.end(), [&](std::size_t a, std::size_t b) { return rank_[a] < rank_[b]; });
    return devices;
  }

  bool try_plan(Candidate candidate) {
    if (options_.gives_up()) left_ = 0;
    if (left_ == 0) return false;
    --left_;
    Cost cost = cost_.of(candidate);
    if (!is_better(cost, best_.cost, options_)) return false;
    best_ = {std::move(candidate), std::move(cost)};
    return true;
  }

  // The stage with other ends or devices, divided as before.
  std::optional<CandidateStage> like(const CandidateStage& stage, std::size_t begin, std::size_t end,
                                     const Devices& devices) const {
    return stage_like(cost_, stage, begin, end, devices);
  }

  // Replaces stages [first, first + count) by others.
  bool try_replacing(std::size_t first, std::size_t count, std::vector<CandidateStage> stages) {
    Candidate candidate(best_.candidate.begin(), best_.candidate.begin() + static_cast<std::ptrdiff_t>(first));
    candidate.insert(candidate.end(), stages.begin(), stages.end());
    candidate.insert(candidate.end(), best_.candidate.begin() + static_cast<std::ptrdiff_t>(first + count),
                     best_.candidate.end());
    return try_plan(std::move(candidate));
  }

  // All that the stage could be on these devices.
  std::vector<CandidateStage> choices(std::size_t begin, std::size_t end, const Devices& devices) const {
    return stage_choices(cost_, begin, end, devices, options_.space);
  }

  bool move_cuts() {
    for (std::size_t s = 0; s + 1 < best_.candidate.size(); ++s) {
      for (const std::ptrdiff_t step : {-1, 1, -2, 2, -4, 4}) {
        const CandidateStage& a = best_.candidate[s];
        const CandidateStage& b = best_.candidate[s + 1];
        const auto cut = static_cast<std::ptrdiff_t>(a.end) + step;
        if (cut <= static_cast<std::ptrdiff_t>(a.begin) || cut >= static_cast<std::ptrdiff_t>(b.end)) continue;
        const auto at = static_cast<std::size_t>(cut);
        auto first = like(a, a.begin, at, sorted(a.devices));
        auto second = like(b, at, b.end, sorted(b.devices));
        if (first && second && try_replacing(s, 2, {std::move(*first), std::move(*second)})) return true;
      }
    }
    return false;
  }

  // Another split, another number of ways; where devices may serve several stages, also on more or fewer of them.
  bool divide_otherwise() {
    const bool may_share = options_.objective == Objective::kLatency || !disjoint();
    for (std::size_t s = 0; s < best_.candidate.size(); ++s) {
      const CandidateStage stage = best_.candidate[s];
      std::vector<Devices> sets{sorted(stage.devices)};
      if (options_.objective == Objective::kThroughput && may_share) {
        if (s > 0) sets.push_back(sorted(best_.candidate[s - 1].devices));
        if (s + 1 < best_.candidate.size()) sets.push_back(sorted(best_.candidate[s + 1].devices));
      } else if (may_share) {
        const std::size_t n = stage.devices.size();
        for (const std::size_t w : {n - 1, n + 1, n / 2, n * 2, order_.size(), std::size_t{1}}) {
          if (w >= 1 && w <= order_.size() && w != n) {
            sets.emplace_back(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(w));
          }
        }
      }
      for (const Devices& devices : sets) {
        SpaceOptions space = options_.space;
        if (may_share) space.replicas = false;
        for (CandidateStage& other : stage_choices(cost_, stage.begin, stage.end, devices, space)) {
          if (other != stage && try_replacing(s, 1, {std::move(other)})) return true;
        }
      }
    }
    return false;
  }

  // One device of each kind that the stage has: the others are like it.
  Devices one_of_each_kind(const Devices& devices) const {
    std::set<std::size_t> seen;
    Devices result;
    for (const std::size_t d : sorted(devices)) {
      if (seen.insert(cost_.model().devices[d].kind).second) result.push_back(d);
    }
    return result;
  }

  Devices idle() const {
    std::vector<bool> used(order_.size(), false);
    for (const CandidateStage& stage : best_.candidate) {
      for (const std::size_t d : stage.devices) used[d] = true;
    }
    Devices result;
    for (const std::size_t d : order_) {
      if (!used[d]) result.push_back(d);
    }
    return result;
  }

  static Devices without(Devices devices, std::size_t device) {
    std::erase(devices, device);
    return devices;
  }
  Devices with(Devices devices, std::size_t device) const {
    devices.push_back(device);
    return sorted(std::move(devices));
  }

  // From one stage to another; from the idle ones to a stage; from a stage to the idle ones.
  bool move_devices() {
    if (!disjoint()) return false;
    const std::size_t stages = best_.candidate.size();
    for (std::size_t to = 0; to < stages; ++to) {
      const CandidateStage target = best_.candidate[to];
      for (const std::size_t d : one_of_each_kind(idle())) {
        for (CandidateStage& choice : choices(target.begin, target.end, with(target.devices, d))) {
          if (try_replacing(to, 1, {std::move(choice)})) return true;
        }
      }
    }
    for (std::size_t from = 0; from < stages; ++from) {
      const CandidateStage source = best_.candidate[from];
      if (source.devices.size() < 2) continue;
      for (const std::size_t d : one_of_each_kind(source.devices)) {
        const std::vector<CandidateStage> left = choices(source.begin, source.end, sorted(without(source.devices, d)));
        for (const CandidateStage& smaller : left) {
          if (try_replacing(from, 1, {smaller})) return true;
          for (std::size_t to = 0; to < stages; ++to) {
            if (to == from) continue;
            const CandidateStage target = best_.candidate[to];
            for (const CandidateStage& larger : choices(target.begin, target.end, with(target.devices, d))) {
              Candidate candidate = best_.candidate;
              candidate[from] = smaller;
              candidate[to] = larger;
              if (try_plan(std::move(candidate))) return true;
            }
          }
        }
      }
    }
    return false;
  }

  bool exchange_devices() {
    if (!disjoint()) return false;
    for (std::size_t a = 0; a < best_.candidate.size(); ++a) {
      for (std::size_t b = a + 1; b <= best_.candidate.size(); ++b) {
        const CandidateStage first = best_.candidate[a];
        const bool with_idle = b == best_.candidate.size();
        const Devices others = with_idle ? idle() : best_.candidate[b].devices;
        for (const std::size_t x : one_of_each_kind(first.devices)) {
          for (const std::size_t y : one_of_each_kind(others)) {
            if (cost_.model().devices[x].kind == cost_.model().devices[y].kind) continue;
            Candidate candidate = best_.candidate;
            auto changed = like(first, first.begin, first.end, with(without(first.devices, x), y));
            if (!changed) continue;
            candidate[a] = std::move(*changed);
            if (!with_idle) {
              const CandidateStage& second = best_.candidate[b];
              auto other = like(second, second.begin, second.end, with(without(second.devices, y), x));
              if (!other) continue;
              candidate[b] = std::move(*other);
            }
            if (try_plan(std::move(candidate))) return true;
          }
        }
      }
    }
    return false;
  }

  bool join_stages() {
    for (std::size_t s = 0; s + 1 < best_.candidate.size(); ++s) {
      const CandidateStage a = best_.candidate[s];
      const CandidateStage b = best_.candidate[s + 1];
      Devices both = a.devices;
      for (const std::size_t d : b.devices) {
        if (std::find(both.begin(), both.end(), d) == both.end()) both.push_back(d);
      }
      std::vector<Devices> sets{sorted(both)};
      if (sorted(a.devices) != sets[0]) sets.push_back(sorted(a.devices));
      if (sorted(b.devices) != sets[0]) sets.push_back(sorted(b.devices));
      for (const Devices& devices : sets) {
        for (CandidateStage& joined : choices(a.begin, b.end, devices)) {
          if (try_replacing(s, 2, {std::move(joined)})) return true;
        }
      }
    }
    return false;
  }

  // One stage becomes two: on its devices both, or each on some of them.
  bool part_stages() {
    for (std::size_t s = 0; s < best_.candidate.size(); ++s) {
      const CandidateStage stage = best_.candidate[s];
      const Devices devices = sorted(stage.devices);
      const bool same = options_.objective == Objective::kLatency || !disjoint();
      for (std::size_t cut = stage.begin + 1; cut < stage.end; ++cut) {
        for (std::size_t count = 1; count < devices.size() && !same; ++count) {
          const auto middle = devices.begin() + static_cast<std::ptrdiff_t>(count);
          if (try_parts(s, cut, {devices.begin(), middle}, {middle, devices.end()})) return true;
        }
        if (same && try_parts(s, cut, devices, devices)) return true;
      }
    }
    return false;
  }

  bool try_parts(std::size_t s, std::size_t cut, const Devices& first, const Devices& second) {
    const CandidateStage stage = best_.candidate[s];
    const std::vector<CandidateStage> seconds = choices(cut, stage.end, second);
    for (const CandidateStage& a : choices(stage.begin, cut, first)) {
      for (const CandidateStage& b : seconds) {
        if (try_replacing(s, 1, {a, b})) return true;
      }
    }
    return false;
  }

  double load_s(std::size_t d) const {
    const DeviceLoad& load = best_.cost.devices[d];
    return std::max({load.busy_s(), load.up_s, load.down_s});
  }

  // The stage with these shares (of devices in the order of its parts), if it can be divided so.
  std::optional<CandidateStage> with_weights(CandidateStage stage, std::vector<std::int64_t> weights) const {
    stage.division.weights = std::move(weights);
    if (cost_.shapes().find(stage.begin, stage.end, stage.division) == nullptr) return std::nullopt;
    return stage;
  }

  static bool has_shares(const CandidateStage& stage) {
    return stage.division.ways > 1 && stage.replicas == 1 &&
           (stage.division.split != Split::kSpatial || stage.division.grid.columns == 1);
  }

  static std::vector<std::int64_t> weights_of(const CandidateStage& stage) {
    return stage.division.weights.empty() ? std::vector<std::int64_t>(stage.division.ways, kUnit)
                                          : stage.division.weights;
  }

  // A busy device does less of a stage, the others more, or one that isn't busy.
  bool shift_shares() {
    for (std::size_t s = 0; s < best_.candidate.size(); ++s) {
      const CandidateStage stage = best_.candidate[s];
      if (!has_shares(stage)) continue;
      std::size_t busiest = 0, idlest = 0;
      for (std::size_t p = 1; p < stage.devices.size(); ++p) {
        if (load_s(stage.devices[p]) > load_s(stage.devices[busiest])) busiest = p;
        if (load_s(stage.devices[p]) < load_s(stage.devices[idlest])) idlest = p;
      }
      if (shift_share(s, {busiest}, idlest)) return true;
      // Where memory limits the window, from all devices that are full: a larger window needs room on each.
      if (best_.cost.bottleneck.kind != Bottleneck::Kind::kWindow) continue;
      std::vector<std::size_t> full;
      for (std::size_t p = 0; p < stage.devices.size(); ++p) {
        if (is_full(stage.devices[p])) full.push_back(p);
      }
      if (!full.empty() && shift_share(s, full, idlest)) return true;
    }
    return false;
  }

  bool is_full(std::size_t device) const {
    constexpr double kFull = 0.98;
    const auto limit = static_cast<double>(cost_.model().devices[device].memory_bytes);
    return limit > 0.0 && static_cast<double>(best_.cost.devices[device].memory_bytes) > kFull * limit;
  }

  // Parts of a stage give of their shares, to all others or to one.
  bool shift_share(std::size_t s, const std::vector<std::size_t>& givers, std::size_t taker) {
    const CandidateStage stage = best_.candidate[s];
    const std::vector<std::int64_t> weights = weights_of(stage);
    for (const double share : {0.7, 0.85, 0.95}) {
      std::vector<std::int64_t> less = weights;
      std::int64_t given = 0;
      for (const std::size_t p : givers) {
        less[p] = std::max<std::int64_t>(1, std::llround(static_cast<double>(less[p]) * share));
        given += weights[p] - less[p];
      }
      if (given == 0) continue;
      if (auto changed = with_weights(stage, less); changed && try_replacing(s, 1, {std::move(*changed)})) return true;
      less[taker] += given;
      if (std::find(givers.begin(), givers.end(), taker) != givers.end()) continue;
      if (auto changed = with_weights(stage, less); changed && try_replacing(s, 1, {std::move(*changed)})) return true;
    }
    return false;
  }

  std::optional<std::size_t> idlest_without(const CandidateStage& stage) const {
    std::optional<std::size_t> idlest;
    for (const std::size_t d : order_) {
      if (std::find(stage.devices.begin(), stage.devices.end(), d) != stage.devices.end()) continue;
      if (!idlest || load_s(d) < load_s(*idlest)) idlest = d;
    }
    return idlest;
  }

  // The stage with one more device, which gets `share` of an equal share.
  std::vector<CandidateStage> wider(const CandidateStage& stage, std::size_t device, double share) const {
    std::vector<CandidateStage> result;
    const bool is_single = stage.devices.size() == 1;
    if ((!is_single && !has_shares(stage)) || stage.devices.size() >= options_.space.most_ways) return result;
    for (const Split split : {Split::kSpatial, Split::kOutputChannel}) {
      if (!is_single && split != stage.division.split) continue;
      CandidateStage with = stage;
      with.division.split = split;
      with.division.ways = stage.devices.size() + 1;
      with.division.grid = split == Split::kSpatial ? Grid{with.division.ways, 1} : Grid{};
      with.devices.push_back(device);
      std::vector<std::int64_t> weights = weights_of(stage);
      const auto sum = static_cast<double>(std::accumulate(weights.begin(), weights.end(), std::int64_t{0}));
      const double equal = sum / static_cast<double>(weights.size());
      weights.push_back(std::max<std::int64_t>(1, std::llround(share * equal)));
      if (auto divided = with_weights(with, weights)) result.push_back(std::move(*divided));
    }
    return result;
  }

  // The least busy device that a stage doesn't have gets a share of it, or of its first or last part.
  bool widen_stages() {
    if (!options_.space.splits) return false;
    double busiest_s = 0.0;
    for (const std::size_t d : order_) busiest_s = std::max(busiest_s, load_s(d));
    for (std::size_t s = 0; s < best_.candidate.size(); ++s) {
      const CandidateStage stage = best_.candidate[s];
      const std::optional<std::size_t> idlest = idlest_without(stage);
      if (!idlest) continue;
      for (const double share : {1.0, 0.5, 0.25, 0.12}) {
        for (CandidateStage& whole : wider(stage, *idlest, share)) {
          if (try_replacing(s, 1, {std::move(whole)})) return true;
        }
        // Not cost.bottleneck, which of equally busy devices names the one that is listed first.
        const bool is_bottleneck = std::any_of(stage.devices.begin(), stage.devices.end(),
                                               [&](std::size_t d) { return load_s(d) >= kBusiest * busiest_s; });
        for (std::size_t cut = stage.begin + 1; is_bottleneck && cut < stage.end; ++cut) {
          const auto front = like(stage, stage.begin, cut, sorted(stage.devices));
          const auto back = like(stage, cut, stage.end, sorted(stage.devices));
          if (!front || !back) continue;
          for (CandidateStage& part : wider(*front, *idlest, share)) {
            if (try_replacing(s, 1, {std::move(part), *back})) return true;
          }
          for (CandidateStage& part : wider(*back, *idlest, share)) {
            if (try_replacing(s, 1, {*front, std::move(part)})) return true;
          }
        }
      }
    }
    return false;
  }

  static constexpr std::int64_t kUnit = 1000;     // of a share, where all are equal
  static constexpr double kBusiest = 1.0 - 1e-9;  // of the largest load: as busy as that

  const CostModel& cost_;
  const SearchOptions& options_;
  Scored best_;
  std::size_t left_;
  std::vector<std::size_t> order_;
  std::vector<std::size_t> rank_;  // by device
};

}  // namespace

Scored improve(const CostModel& cost, const SearchOptions& options, Scored from, std::size_t evaluations) {
  return LocalSearch(cost, options, std::move(from), evaluations).run();
}

}  // namespace onnx_split
