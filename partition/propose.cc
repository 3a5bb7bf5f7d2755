#include "partition/propose.h"

#include <algorithm>
#include <optional>

namespace onnx_split {
namespace {

class Search {
 public:
  Search(const Graph& graph, const std::vector<std::int64_t>& units) : graph_(graph), units_(units) {}

  bool possible(const StageNodes& nodes, const Division& division) const {
    return divide_stage(graph_, nodes, division, units_, PartWeights::kBlank).has_value();
  }

  // Fewer parts, as many as possible.
  std::optional<Division> fewer_ways(const StageNodes& nodes, const Division& refused) const {
    for (const Division& division : smaller(refused)) {
      if (possible(nodes, division)) return division;
    }
    return std::nullopt;
  }

  // The longest beginning of the stage that can be divided so.
  std::optional<StageNodes> shorter(const StageNodes& nodes, const Division& division) const {
    StageNodes front(nodes.begin(), nodes.end() - 1);
    front.resize(longest_front(graph_, front, division, units_));
    return front.empty() ? std::nullopt : std::optional(std::move(front));
  }

  // The longest end of the stage that can be divided so.
  std::optional<StageNodes> later(const StageNodes& nodes, const Division& division) const {
    for (std::size_t first = 1; first < nodes.size(); ++first) {
      StageNodes back(nodes.begin() + static_cast<std::ptrdiff_t>(first), nodes.end());
      if (possible(back, division)) return back;
    }
    return std::nullopt;
  }

  // The value(s) that a stage of these nodes computes last.
  std::string until(const StageNodes& nodes) const {
    std::string names;
    for (const NodeId node : nodes) {
      for (const ValueId output : graph_.node(node).outputs) {
        const std::vector<NodeId>& consumers = graph_.value(output).consumers;
        const bool inside = std::any_of(consumers.begin(), consumers.end(), [&](NodeId consumer) {
          return std::binary_search(nodes.begin(), nodes.end(), consumer);
        });
        if (!inside) names += (names.empty() ? "" : ", ") + graph_.value(output).name;
      }
    }
    return names;
  }

  // "ways: 3" or "grid: [3, 1]"
  static std::string ways_text(const Division& division) {
    if (division.split != Split::kSpatial) return fmt::format("ways: {}", division.ways);
    return fmt::format("grid: [{}, {}]", division.grid.rows, division.grid.columns);
  }

  // The most that is possible of these nodes; `least` is.
  std::string most_ways(const StageNodes& nodes, const Division& refused, const Division& least) const {
    return ways_text(fewer_ways(nodes, refused).value_or(least));
  }

 private:
  // Every division into fewer parts, the largest first; of grids, those that fit into the refused one.
  static std::vector<Division> smaller(const Division& refused) {
    std::vector<Division> divisions;
    const auto add = [&](std::size_t ways, Grid grid) { divisions.push_back({refused.split, ways, grid, {}}); };
    if (refused.split != Split::kSpatial) {
      for (std::size_t ways = refused.ways - 1; ways > 1; --ways) add(ways, {});
      return divisions;
    }
    for (std::size_t rows = refused.grid.rows; rows > 0; --rows) {
      for (std::size_t columns = refused.grid.columns; columns > 0; --columns) {
        if (rows * columns > 1 && rows * columns < refused.ways) add(rows * columns, {rows, columns});
      }
    }
    std::stable_sort(divisions.begin(), divisions.end(), [](const auto& a, const auto& b) { return a.ways > b.ways; });
    return divisions;
  }

  const Graph& graph_;
  const std::vector<std::int64_t>& units_;
};

}  // namespace

std::string nearest_choice(const Graph& graph, const StageNodes& nodes, const Division& refused,
                           const std::vector<std::int64_t>& units) {
  const Search search(graph, units);
  if (const auto fewer = search.fewer_ways(nodes, refused)) return search.ways_text(*fewer);
  if (const auto front = search.shorter(nodes, refused)) return fmt::format("until: {}", search.until(*front));
  if (const auto back = search.later(nodes, refused)) {
    const StageNodes before(nodes.begin(), nodes.end() - static_cast<std::ptrdiff_t>(back->size()));
    return fmt::format("a stage until: {} in front of it", search.until(before));
  }
  // Two things at once.
  Division least = refused;
  least.ways = 2;
  least.grid = {2, 1};
  least.weights.clear();
  if (const auto front = search.shorter(nodes, least)) {
    return fmt::format("until: {}, with {}", search.until(*front), search.most_ways(*front, refused, least));
  }
  if (const auto back = search.later(nodes, least)) {
    const StageNodes before(nodes.begin(), nodes.end() - static_cast<std::ptrdiff_t>(back->size()));
    return fmt::format("a stage until: {} in front of it, and {}", search.until(before),
                       search.most_ways(*back, refused, least));
  }
  for (const Split split : {Split::kOutputChannel, Split::kInputChannel, Split::kSpatial}) {
    const Division other{split, refused.ways, {refused.ways, 1}, {}};
    if (split != refused.split && search.possible(nodes, other)) return fmt::format("split: {}", split_name(split));
  }
  return "split: whole";
}

}  // namespace onnx_split
