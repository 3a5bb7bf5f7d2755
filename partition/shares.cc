#include "partition/shares.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "graph/operators.h"

namespace onnx_split {
namespace {

// Divides one axis of `box`, a region of the value, and gives the pieces.
Expected<std::vector<Region>> cut(const Value& value, const Region& box, std::size_t axis, std::string_view what,
                                  std::span<const std::int64_t> weights, std::int64_t unit) {
  auto ranges = share(value.shape()[axis], weights, unit);
  if (!ranges) {
    return fail(ErrorCode::kUnsupported, "value \"{}\" {} has {} {}, too few for {} parts", value.name,
                value.shape().to_string(), value.shape()[axis], what, weights.size());
  }
  std::vector<Region> pieces(ranges->size(), box);
  for (std::size_t i = 0; i < pieces.size(); ++i) pieces[i][axis] = (*ranges)[i];
  return pieces;
}

Expected<std::vector<Region>> grid_shares(const Value& value, const Grid& grid, std::span<const std::int64_t> weights) {
  const std::size_t rank = value.shape().rank();
  if (rank < 3) {
    return fail(ErrorCode::kUnsupported, "value \"{}\" {} has no rows and columns", value.name,
                value.shape().to_string());
  }
  if (rank == 3 && grid.columns > 1) {
    return fail(ErrorCode::kUnsupported, "value \"{}\" {} has rows only, no columns to divide", value.name,
                value.shape().to_string());
  }
  std::vector<std::int64_t> row_weights;
  for (std::size_t row = 0; row < grid.rows; ++row) {
    const auto of_row = weights.subspan(row * grid.columns, grid.columns);
    row_weights.push_back(std::accumulate(of_row.begin(), of_row.end(), std::int64_t{0}));
  }
  const Region whole = Region::whole(value.shape());
  TRY_ASSIGN(const std::vector<Region> rows, cut(value, whole, rank == 3 ? 2 : rank - 2, "rows", row_weights, 1));
  if (grid.columns == 1) return rows;
  std::vector<Region> boxes;
  for (std::size_t row = 0; row < grid.rows; ++row) {
    TRY_ASSIGN(const std::vector<Region> columns,
               cut(value, rows[row], rank - 1, "columns", weights.subspan(row * grid.columns, grid.columns), 1));
    boxes.insert(boxes.end(), columns.begin(), columns.end());
  }
  return boxes;
}

// Whether the channels [0, unit) and [unit, 2·unit) of a node's output need different channels of its inputs, all of
// which are divided at multiples of their own units.
bool separates(const Graph& graph, const Node& node, std::size_t output, std::int64_t unit,
               const std::vector<std::int64_t>& units) {
  Region first = Region::whole(graph.value(node.outputs[output]).shape());
  Region second = first;
  first[kChannelAxis] = {0, unit};
  second[kChannelAxis] = {unit, 2 * unit};
  const auto a = slice_node(graph, node, output, first);
  const auto b = slice_node(graph, node, output, second);
  if (!a || !b || a->produced != first) return false;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    const Value& input = graph.value(node.inputs[i]);
    if (input.constant || input.shape().rank() < 2 || !a->inputs[i] || !b->inputs[i]) continue;
    const Range& of_a = (*a->inputs[i])[kChannelAxis];
    const Range& of_b = (*b->inputs[i])[kChannelAxis];
    if (std::max(of_a.begin, of_b.begin) < std::min(of_a.end, of_b.end) && input.shape()[kChannelAxis] > 1)
      return false;
    if (of_a.end % units[node.inputs[i].index()] != 0) return false;
  }
  return true;
}

// The divisors of a number but for itself, in increasing order.
std::vector<std::int64_t> proper_divisors(std::int64_t number) {
  std::vector<std::int64_t> small;
  std::vector<std::int64_t> large;
  for (std::int64_t divisor = 1; divisor <= number / divisor; ++divisor) {
    if (number % divisor != 0) continue;
    small.push_back(divisor);
    if (number / divisor != divisor) large.push_back(number / divisor);
  }
  small.insert(small.end(), large.rbegin(), large.rend());
  small.pop_back();
  return small;
}

}  // namespace

std::string to_string(const Division& division) {
  std::string text(split_name(division.split));
  if (division.split == Split::kWhole) return text;
  text += fmt::format(", {} ways", division.ways);
  if (division.split == Split::kSpatial) text += fmt::format(" as {}×{}", division.grid.rows, division.grid.columns);
  return text;
}

Division division_of(const Stage& stage) { return {stage.split, stage.ways(), stage.grid, stage.weights}; }

Expected<std::vector<Range>> share(std::int64_t extent, std::span<const std::int64_t> weights, std::int64_t unit) {
  const auto count = static_cast<std::int64_t>(weights.size());
  CHECK(unit > 0 && extent % unit == 0 && count > 0);
  const std::int64_t units = extent / unit;
  if (units < count) return fail(ErrorCode::kUnsupported, "{} can't be divided among {} parts", units, count);
  const std::int64_t total = std::accumulate(weights.begin(), weights.end(), std::int64_t{0});
  std::vector<Range> ranges;
  std::int64_t begin = 0;
  std::int64_t weight_so_far = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    weight_so_far += weights[static_cast<std::size_t>(i)];
    std::int64_t product = 0;
    if (__builtin_mul_overflow(units, weight_so_far, &product)) {
      return fail(ErrorCode::kInvalid, "weights that add up to {} are too large", total);
    }
    // Every part before and behind has at least one unit.
    const std::int64_t end = std::clamp(product / total, begin + 1, units - (count - 1 - i));
    ranges.push_back({begin * unit, end * unit});
    begin = end;
  }
  return ranges;
}

Expected<std::vector<Region>> shares_of(const Value& value, const Division& division, std::int64_t unit) {
  const std::vector<std::int64_t> weights =
      division.weights.empty() ? std::vector<std::int64_t>(division.ways, 1) : division.weights;
  CHECK(weights.size() == division.ways && (division.split != Split::kWhole || division.ways == 1));
  switch (division.split) {
    case Split::kWhole: return std::vector<Region>{Region::whole(value.shape())};
    case Split::kSpatial: return grid_shares(value, division.grid, weights);
    case Split::kOutputChannel:
    case Split::kInputChannel:
    case Split::kChannelPair: break;
  }
  if (value.shape().rank() < 2) {
    return fail(ErrorCode::kUnsupported, "value \"{}\" {} has no channels", value.name, value.shape().to_string());
  }
  const bool enough = value.shape()[kChannelAxis] / unit >= static_cast<std::int64_t>(division.ways);
  return cut(value, Region::whole(value.shape()), kChannelAxis, "channels", weights, enough ? unit : 1);
}

std::vector<std::int64_t> channel_units(const Graph& graph) {
  std::vector<std::int64_t> units(graph.value_count(), 1);
  for (const Node& node : graph.nodes()) {
    for (std::size_t output = 0; output < node.outputs.size(); ++output) {
      const Shape& shape = graph.value(node.outputs[output]).shape();
      if (shape.rank() < 2 || shape.elements() == 0) continue;
      const std::vector<std::int64_t> candidates = proper_divisors(shape[kChannelAxis]);
      const auto unit = std::find_if(candidates.begin(), candidates.end(), [&](std::int64_t candidate) {
        return separates(graph, node, output, candidate, units);
      });
      if (unit != candidates.end()) units[node.outputs[output].index()] = *unit;
    }
  }
  return units;
}

}  // namespace onnx_split
