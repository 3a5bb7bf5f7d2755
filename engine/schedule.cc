#include "engine/schedule.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "engine/arena.h"
#include "engine/kernels/table.h"
#include "graph/ops/reshape.h"

namespace onnx_split {
namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

// The node that alone reads `id`, if there is one and nobody outside wants the value.
std::optional<NodeId> sole_consumer(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  if (value.consumers.size() != 1 || graph.is_output(id)) return std::nullopt;
  return value.consumers.front();
}

class Scheduler {
 public:
  Scheduler(const Graph& graph, bool fuse) : graph_(graph), fuse_(fuse), absorbed_(graph.node_count(), false) {}

  std::vector<Step> make() {
    std::vector<Step> steps;
    for (std::size_t i = 0; i < graph_.node_count(); ++i) {
      const Node& node = graph_.nodes()[i];
      if (absorbed_[i] || keeps_bytes(node.op)) continue;
      Step step{NodeId(i), node.inputs, node.outputs, {}};
      if (fuse_ && node.outputs.size() == 1 &&
          has_fast_kernel(node.op, input_types(graph_, node), output_types(graph_, node))) {
        const KernelRow& row = kernel_row(node.op);
        if (row.takes_addend) absorb_addend(step);
        if (row.takes_activation) absorb_activation(step);
      }
      steps.push_back(std::move(step));
    }
    return steps;
  }

 private:
  void absorb_addend(Step& step) {
    const ValueId result = step.outputs.front();
    const std::optional<NodeId> next = sole_consumer(graph_, result);
    if (!next || graph_.node(*next).op != OpType::kAdd) return;
    const Node& add = graph_.node(*next);
    const bool first = add.inputs[0] == result;
    const ValueId addend = add.inputs[first ? 1 : 0];
    // Addition commutes, so either operand may be the residual; it must be there before this step, and need no
    // broadcast.
    if (addend == result || graph_.value(addend).type != graph_.value(result).type) return;
    const NodeId producer = graph_.value(addend).producer;
    if (producer.valid() && producer >= step.node) return;
    absorbed_[next->index()] = true;
    step.inputs.push_back(addend);
    step.outputs = add.outputs;
    step.epilogue.add = true;
  }

  void absorb_activation(Step& step) {
    const std::optional<NodeId> next = sole_consumer(graph_, step.outputs.front());
    if (!next || !is_unary(graph_.node(*next).op)) return;
    const Node& activation = graph_.node(*next);
    const Expected<UnaryParams> params = unary_params(activation.op, activation.attributes);
    CHECK(params.has_value());
    absorbed_[next->index()] = true;
    step.outputs = activation.outputs;
    step.epilogue.activation = *params;
  }

  const Graph& graph_;
  bool fuse_;
  std::vector<bool> absorbed_;
};

// Values with the same bytes share a buffer, named by the index of the value that came first.
class MemoryPlanner {
 public:
  MemoryPlanner(const Graph& graph, std::span<const Step> steps, bool in_place)
      : graph_(graph), steps_(steps), in_place_(in_place), buffer_(graph.value_count()), plan_{} {
    plan_.places.resize(graph.value_count());
  }

  MemoryPlan make() {
    share_views();
    find_uses();
    place_outside();
    if (in_place_) share_in_place();
    place_in_arena();
    for (std::size_t i = 0; i < graph_.value_count(); ++i) plan_.places[i] = plan_.places[root(i)];
    return std::move(plan_);
  }

 private:
  std::size_t root(std::size_t value) const {
    while (buffer_[value] != value) value = buffer_[value];
    return value;
  }

  void share_views() {
    for (std::size_t i = 0; i < graph_.value_count(); ++i) {
      const NodeId producer = graph_.values()[i].producer;
      const bool view = producer.valid() && keeps_bytes(graph_.node(producer).op);
      buffer_[i] = view ? root(graph_.node(producer).inputs.front().index()) : i;
    }
  }

  void find_uses() {
    first_.assign(graph_.value_count(), kNone);
    last_.assign(graph_.value_count(), 0);
    for (std::size_t s = 0; s < steps_.size(); ++s) {
      for (const ValueId id : steps_[s].outputs) use(id, s);
      for (const ValueId id : steps_[s].inputs) use(id, s);
    }
  }
  void use(ValueId id, std::size_t step) {
    const std::size_t buffer = root(id.index());
    first_[buffer] = std::min(first_[buffer], step);
    last_[buffer] = std::max(last_[buffer], step);
  }

  // The caller's memory and the constants'. The first output that shows a buffer is where the buffer lies.
  void place_outside() {
    for (std::size_t i = 0; i < graph_.value_count(); ++i) {
      if (graph_.values()[i].constant) plan_.places[i] = {Place::Kind::kConstant, i};
    }
    for (std::size_t i = 0; i < graph_.inputs().size(); ++i) {
      plan_.places[graph_.inputs()[i].index()] = {Place::Kind::kInput, i};
    }
    for (std::size_t i = 0; i < graph_.outputs().size(); ++i) {
      Place& place = plan_.places[root(graph_.outputs()[i].index())];
      if (place.kind == Place::Kind::kNowhere) {
        place = {Place::Kind::kOutput, i};
      } else {
        plan_.copies.push_back({graph_.outputs()[i], i});
      }
    }
  }

  void share_in_place() {
    for (std::size_t s = 0; s < steps_.size(); ++s) {
      const Step& step = steps_[s];
      if (!kernel_row(graph_.node(step.node).op).in_place) continue;
      const std::size_t output = root(step.outputs.front().index());
      if (plan_.places[output].kind != Place::Kind::kNowhere) continue;
      for (const ValueId input : step.inputs) {
        const std::size_t buffer = root(input.index());
        const bool dies_here = plan_.places[buffer].kind == Place::Kind::kNowhere && last_[buffer] == s;
        if (!dies_here || graph_.value(input).type != graph_.value(step.outputs.front()).type) continue;
        buffer_[output] = buffer;
        last_[buffer] = last_[output];
        break;
      }
    }
  }

  void place_in_arena() {
    std::vector<ArenaItem> items;
    std::vector<std::size_t> owners;
    for (std::size_t i = 0; i < graph_.value_count(); ++i) {
      if (buffer_[i] != i || first_[i] == kNone || plan_.places[i].kind != Place::Kind::kNowhere) continue;
      items.push_back({graph_.values()[i].type.size_bytes(), first_[i], last_[i]});
      owners.push_back(i);
    }
    const ArenaPlan arena = plan_arena(items);
    for (std::size_t i = 0; i < owners.size(); ++i) {
      plan_.places[owners[i]] = {Place::Kind::kArena, arena.offsets[i]};
    }
    plan_.arena_bytes = arena.size_bytes;
  }

  const Graph& graph_;
  std::span<const Step> steps_;
  bool in_place_;
  std::vector<std::size_t> buffer_;  // the value whose buffer each one shares; itself for owners
  std::vector<std::size_t> first_;   // by owner: the steps of its first and last use
  std::vector<std::size_t> last_;
  MemoryPlan plan_;
};

}  // namespace

std::vector<Step> make_schedule(const Graph& graph, bool fuse) { return Scheduler(graph, fuse).make(); }

MemoryPlan plan_memory(const Graph& graph, std::span<const Step> steps, bool in_place) {
  return MemoryPlanner(graph, steps, in_place).make();
}

}  // namespace onnx_split
