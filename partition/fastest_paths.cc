// Plans for a single request: stages one after the other, each on the fastest device alone or divided over the first w
// devices, by a shortest path over cuts and divisions. An edge costs what the stage takes and what must travel to it
// from the stage before; values from earlier stages are taken to lie as that one's do. The real cost decides
// afterwards.
#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "base/check.h"
#include "partition/search_methods.h"

namespace onnx_split {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// What can be said of a stage without its nodes: how its devices hold what it gives.
struct Holding {
  Division division;
  bool is_partial = false;

  bool operator==(const Holding&) const = default;
};

// How long the slowest part of a stage without replicas computes.
double slowest_part_s(const CostModel& cost, const CandidateStage& stage) {
  const StageShape& shape = *cost.shapes().find(stage.begin, stage.end, stage.division);
  double slowest_s = 0.0;
  for (std::size_t p = 0; p < shape.parts.size(); ++p) {
    slowest_s = std::max(slowest_s, shape.parts[p].compute_s[cost.model().devices[stage.devices[p]].kind]);
  }
  return slowest_s;
}

class PathSearch {
 public:
  // `busy_only`: the time of processors alone counts, not the way.
  PathSearch(const CostModel& cost, const SearchOptions& options, std::vector<std::size_t> devices, bool busy_only)
      : cost_(cost), options_(options), shapes_(cost.shapes()), order_(std::move(devices)), busy_only_(busy_only) {}

  std::vector<Candidate> run() {
    find_stages();
    std::vector<Candidate> plans;
    // A device that holds all stages may have too little memory: with fewer bytes a part, what doesn't fit may.
    for (const double weight_price : {0.0, 1.0, 10.0, 100.0}) {
      auto plan = shortest_path(weight_price);
      if (plan && std::find(plans.begin(), plans.end(), *plan) == plans.end()) plans.push_back(std::move(*plan));
    }
    return plans;
  }

 private:
  struct Option {
    CandidateStage stage;
    const StageShape* shape = nullptr;
    double compute_s = 0.0;         // of the slowest part
    std::int64_t weight_bytes = 0;  // of the largest part
  };
  struct Node {
    double seconds = kNever;
    std::size_t begin = 0;
    const Option* option = nullptr;
    std::size_t previous = 0;  // index into the nodes of `begin`
  };

  std::vector<std::size_t> numbers_of_ways() const {
    std::vector<std::size_t> ways;
    const std::size_t most = std::min(order_.size(), options_.space.most_ways);
    if (busy_only_) {  // as many as there are, but for what is too small for them
      for (std::size_t w = most; w >= 2; w /= 2) ways.insert(ways.begin(), w);
      return ways;
    }
    for (std::size_t w = 2; w <= most; w = w < 8 ? w + 1 : w + w / 4) ways.push_back(w);
    if (most >= 2 && ways.back() != most) ways.push_back(most);
    return ways;
  }

  void find_stages() {
    const std::size_t segments = shapes_.segments();
    options_at_.resize(segments);
    const double total_s = shapes_.whole_s(cost_.model().devices[order_.front()].kind, 0, segments);
    // Long fused stages repeat too much of their work. Where groups share the work each has a part of the way only.
    constexpr double kLongest = 0.4;
    constexpr std::size_t kMostSegments = 8;
    for (std::size_t begin = 0; begin < segments; ++begin) {
      if (options_.gives_up()) return;
      for (std::size_t end = begin + 1; end <= segments; ++end) {
        add(begin, end, 1, Split::kWhole, false);
        const double seconds = shapes_.whole_s(cost_.model().devices[order_.front()].kind, begin, end);
        if (!options_.space.splits || (end > begin + 1 && seconds > kLongest * total_s)) continue;
        if (busy_only_ && end - begin > kMostSegments) continue;
        for (const Split split : kDividingSplits) {
          // What two can't share more can't either.
          for (const std::size_t ways : numbers_of_ways()) {
            if (!add(begin, end, ways, split, false)) break;
            if (split == Split::kSpatial) add(begin, end, ways, split, true);
          }
        }
      }
    }
  }

  bool add(std::size_t begin, std::size_t end, std::size_t ways, Split split, bool square) {
    const std::span<const std::size_t> devices(order_.data(), ways);
    auto stage = stage_choice(cost_, begin, end, devices, split, ways, square);
    if (!stage) return false;
    Option option;
    option.shape = shapes_.find(begin, end, stage->division);
    option.compute_s = slowest_part_s(cost_, *stage);
    for (const PartShape& part : option.shape->parts) {
      option.weight_bytes = std::max(option.weight_bytes, part.weight_bytes);
    }
    option.stage = std::move(*stage);
    options_at_[begin].push_back(std::move(option));
    return true;
  }

  // The share of a value that part `p` of the stage before has.
  const std::vector<Region>* owned(const Option& before, ValueId value) {
    const auto key = std::make_tuple(value, before.stage.division.split, before.stage.division.ways,
                                     before.stage.division.grid.columns, before.stage.division.weights);
    auto [found, is_new] = owned_.try_emplace(key);
    if (is_new) {
      auto regions = shares_of(shapes_.graph().value(value), before.stage.division);
      if (regions) found->second = std::move(*regions);
    }
    return found->second.empty() ? nullptr : &found->second;
  }

  // The time until the slowest device has what it needs.
  double transfer_s(const Option* before, const Option& now) {
    const std::vector<DeviceModel>& devices = cost_.model().devices;
    const std::size_t ways = now.shape->parts.size();
    const std::size_t senders = before == nullptr ? 1 : before->shape->parts.size();
    std::vector<double> out_s(senders, 0.0), out_bytes(senders, 0.0);
    double slowest_s = 0.0, medium_bytes = 0.0;
    for (std::size_t p = 0; p < ways; ++p) {
      const DeviceModel& to = devices[now.stage.devices[p]];
      double messages = 0.0, bytes = 0.0;
      for (const ValuePiece& need : now.shape->parts[p].inputs) {
        const bool is_input = !shapes_.graph().value(need.value).producer.valid();
        if (before == nullptr || is_input) {
          messages += 1.0;
          bytes += static_cast<double>(need.bytes);
          continue;
        }
        const bool partial = before->shape->parts[0].outputs.front().combine == Combine::kAdd;
        const std::vector<Region>* regions = partial || senders == 1 ? nullptr : owned(*before, need.value);
        for (std::size_t q = 0; q < senders; ++q) {
          if (before->stage.devices[q] == now.stage.devices[p]) continue;
          double common = static_cast<double>(need.bytes);
          if (regions != nullptr) {
            const auto box = intersect((*regions)[q], need.region);
            if (!box) continue;
            common *= static_cast<double>(box->shape().elements()) /
                      static_cast<double>(std::max<std::int64_t>(need.region.shape().elements(), 1));
          } else if (!partial && q > 0) {
            continue;
          }
          messages += 1.0;
          bytes += common;
          out_s[q] += devices[before->stage.devices[q]].send.of(1.0, common);
          out_bytes[q] += common;
        }
      }
      medium_bytes += bytes;
      if (messages > 0.0) {
        const double way_s = busy_only_ ? 0.0 : to.latency_s + bytes / to.down_bytes_per_s;
        slowest_s = std::max(slowest_s, way_s + to.receive.of(messages, bytes));
      }
    }
    double sending_s = 0.0;
    for (std::size_t q = 0; q < senders && before != nullptr; ++q) {
      const DeviceModel& from = devices[before->stage.devices[q]];
      sending_s = std::max(sending_s, out_s[q] + (busy_only_ ? 0.0 : out_bytes[q] / from.up_bytes_per_s));
    }
    if (busy_only_) return slowest_s + sending_s;
    double total_s = std::max(slowest_s, sending_s);
    if (cost_.model().medium_bytes_per_s > 0.0) {
      total_s = std::max(total_s, medium_bytes / cost_.model().medium_bytes_per_s);
    }
    return total_s;
  }

  // `weight_price`: seconds that a megabyte of weights on one device counts for, over a thousand.
  std::optional<Candidate> shortest_path(double weight_price) {
    const std::size_t segments = shapes_.segments();
    // At each cut, the best way to get there for each holding of the last stage.
    std::vector<std::vector<Node>> nodes(segments + 1);
    std::vector<std::vector<Holding>> holdings(segments + 1);
    nodes[0].push_back({0.0, 0, nullptr, 0});
    holdings[0].emplace_back();
    for (std::size_t begin = 0; begin < segments; ++begin) {
      if (options_.gives_up()) return std::nullopt;
      for (const Option& option : options_at_[begin]) {
        const std::size_t end = option.stage.end;
        const Holding holding{option.stage.division, option.shape->parts[0].outputs.front().combine == Combine::kAdd};
        Node best;
        for (std::size_t i = 0; i < nodes[begin].size(); ++i) {
          const Node& node = nodes[begin][i];
          const double seconds = node.seconds + transfer_s(node.option, option) + option.compute_s +
                                 weight_price * 1e-3 * static_cast<double>(option.weight_bytes) * 1e-6;
          if (seconds < best.seconds) best = {seconds, begin, &option, i};
        }
        if (best.option == nullptr) continue;
        const auto found = std::find(holdings[end].begin(), holdings[end].end(), holding);
        if (found == holdings[end].end()) {
          holdings[end].push_back(holding);
          nodes[end].push_back(best);
        } else if (Node& known = nodes[end][static_cast<std::size_t>(found - holdings[end].begin())];
                   best.seconds < known.seconds) {
          known = best;
        }
      }
    }
    if (nodes[segments].empty()) return std::nullopt;
    std::size_t at = segments, index = 0;
    for (std::size_t i = 1; i < nodes[at].size(); ++i) {
      if (nodes[at][i].seconds < nodes[at][index].seconds) index = i;
    }
    Candidate plan;
    while (at > 0) {
      const Node& node = nodes[at][index];
      plan.push_back(node.option->stage);
      at = node.begin;
      index = node.previous;
    }
    std::reverse(plan.begin(), plan.end());
    return plan;
  }

  using OwnedKey = std::tuple<ValueId, Split, std::size_t, std::size_t, std::vector<std::int64_t>>;

  const CostModel& cost_;
  const SearchOptions& options_;
  StageShapes& shapes_;
  std::vector<std::size_t> order_;
  bool busy_only_;
  std::vector<std::vector<Option>> options_at_;  // by begin
  std::map<OwnedKey, std::vector<Region>> owned_;
};

// Groups of equally many devices, each as fast as the others: the fastest device goes to the first, and there and back.
std::vector<std::vector<std::size_t>> equal_groups(const std::vector<std::size_t>& order, std::size_t groups) {
  std::vector<std::vector<std::size_t>> result(groups);
  for (std::size_t i = 0; i < order.size() / groups * groups; ++i) {
    const std::size_t round = i / groups, place = i % groups;
    result[round % 2 == 0 ? place : groups - 1 - place].push_back(order[i]);
  }
  return result;
}

// The last stage of each group's run, so that the longest run is as short as possible.
std::vector<std::size_t> balanced_runs(const std::vector<double>& seconds, std::size_t groups) {
  const std::size_t stages = seconds.size();
  std::vector<double> before(stages + 1, 0.0);
  for (std::size_t i = 0; i < stages; ++i) before[i + 1] = before[i] + seconds[i];
  std::vector<std::vector<double>> best(groups + 1, std::vector<double>(stages + 1, kNever));
  std::vector<std::vector<std::size_t>> from(groups + 1, std::vector<std::size_t>(stages + 1, 0));
  best[0][0] = 0.0;
  for (std::size_t g = 1; g <= groups; ++g) {
    for (std::size_t end = g; end <= stages; ++end) {
      for (std::size_t begin = g - 1; begin < end; ++begin) {
        const double longest = std::max(best[g - 1][begin], before[end] - before[begin]);
        if (longest >= best[g][end]) continue;
        best[g][end] = longest;
        from[g][end] = begin;
      }
    }
  }
  std::vector<std::size_t> ends(groups, stages);
  for (std::size_t g = groups; g > 1; --g) ends[g - 2] = from[g][ends[g - 1]];
  return ends;
}

}  // namespace

std::vector<Candidate> fastest_paths(const CostModel& cost, const SearchOptions& options) {
  return PathSearch(cost, options, canonical_order(cost), false).run();
}

std::vector<Candidate> grouped_paths(const CostModel& cost, const SearchOptions& options) {
  const std::vector<std::size_t> order = canonical_order(cost);
  std::vector<Candidate> plans;
  // Each number of groups costs a search of paths.
  constexpr std::size_t kMostGroups = 8;
  for (std::size_t groups = 1; groups <= kMostGroups && 2 * groups <= order.size(); ++groups) {
    const std::vector<std::vector<std::size_t>> devices = equal_groups(order, groups);
    if (devices[0].size() > options.space.most_ways) continue;
    for (const Candidate& path : PathSearch(cost, options, devices[0], true).run()) {
      if (path.size() < groups) continue;
      std::vector<double> seconds;
      for (const CandidateStage& stage : path) seconds.push_back(slowest_part_s(cost, stage));
      const std::vector<std::size_t> ends = balanced_runs(seconds, groups);
      Candidate plan;
      std::size_t group = 0;
      for (std::size_t s = 0; s < path.size(); ++s) {
        while (s >= ends[group]) ++group;
        const std::span<const std::size_t> some = std::span(devices[group]).first(path[s].devices.size());
        auto stage = stage_like(cost, path[s], path[s].begin, path[s].end, some);
        if (!stage) break;
        plan.push_back(std::move(*stage));
      }
      if (plan.size() == path.size()) plans.push_back(std::move(plan));
    }
  }
  return plans;
}

}  // namespace onnx_split
