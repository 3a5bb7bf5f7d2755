#include "graph/order.h"

#include <algorithm>

namespace onnx_split {

std::vector<Lifetime> lifetimes(const Graph& graph) {
  const std::size_t last_step = graph.node_count() == 0 ? 0 : graph.node_count() - 1;
  std::vector<Lifetime> lifetimes(graph.value_count());
  for (std::size_t i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.values()[i];
    const std::size_t born = value.producer.valid() ? value.producer.index() : 0;
    lifetimes[i] = {born, value.consumers.empty() ? born : value.consumers.back().index()};
  }
  for (const ValueId id : graph.outputs()) lifetimes[id.index()].last = last_step;
  return lifetimes;
}

std::size_t peak_activation_bytes(const Graph& graph) {
  const std::vector<Lifetime> alive = lifetimes(graph);
  std::vector<std::int64_t> change(graph.node_count() + 2, 0);
  for (std::size_t i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.values()[i];
    if (value.constant) continue;
    const auto bytes = static_cast<std::int64_t>(value.type.size_bytes());
    change[alive[i].first] += bytes;
    change[alive[i].last + 1] -= bytes;
  }
  std::int64_t now = 0;
  std::int64_t peak = 0;
  for (const std::int64_t delta : change) {
    now += delta;
    peak = std::max(peak, now);
  }
  return static_cast<std::size_t>(peak);
}

}  // namespace onnx_split
