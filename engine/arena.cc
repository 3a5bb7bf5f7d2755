#include "engine/arena.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/buffer.h"

namespace onnx_split {
namespace {

struct Placed {
  std::size_t begin;
  std::size_t end;
  const ArenaItem* item;
};

std::size_t rounded(std::size_t size) { return (size + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment; }

// The smallest gap that fits between the placed items (sorted by begin) that live when `item` does; else behind them.
std::size_t best_offset(const std::vector<Placed>& placed, const ArenaItem& item, std::size_t size) {
  std::size_t best = 0;
  std::size_t best_gap = std::numeric_limits<std::size_t>::max();
  std::size_t free_from = 0;
  for (const Placed& other : placed) {
    if (other.item->last < item.first || item.last < other.item->first) continue;
    if (other.begin >= free_from + size && other.begin - free_from < best_gap) {
      best_gap = other.begin - free_from;
      best = free_from;
    }
    free_from = std::max(free_from, other.end);
  }
  return best_gap == std::numeric_limits<std::size_t>::max() ? free_from : best;
}

}  // namespace

ArenaPlan plan_arena(std::span<const ArenaItem> items) {
  std::vector<std::size_t> order(items.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return items[a].size_bytes > items[b].size_bytes; });

  ArenaPlan plan{std::vector<std::size_t>(items.size(), 0), 0};
  std::vector<Placed> placed;
  for (const std::size_t index : order) {
    const ArenaItem& item = items[index];
    const std::size_t size = rounded(item.size_bytes);
    if (size == 0) continue;
    const std::size_t begin = best_offset(placed, item, size);
    const Placed entry{begin, begin + size, &item};
    placed.insert(std::upper_bound(placed.begin(), placed.end(), entry,
                                   [](const Placed& a, const Placed& b) { return a.begin < b.begin; }),
                  entry);
    plan.offsets[index] = begin;
    plan.size_bytes = std::max(plan.size_bytes, entry.end);
  }
  return plan;
}

}  // namespace onnx_split
