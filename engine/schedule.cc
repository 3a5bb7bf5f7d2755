#include "engine/schedule.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "engine/arena.h"
#include "engine/kernels/table.h"
#include "graph/ops/concat.h"
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

std::vector<Operand> plain(const std::vector<ValueId>& values) {
  std::vector<Operand> operands;
  for (const ValueId value : values) operands.push_back({value});
  return operands;
}

class Scheduler {
 public:
  Scheduler(const Graph& graph, bool fuse) : graph_(graph), fuse_(fuse), absorbed_(graph.node_count(), false) {}

  std::vector<Step> make() {
    std::vector<Step> steps;
    for (std::size_t i = 0; i < graph_.node_count(); ++i) {
      const Node& node = graph_.nodes()[i];
      if (absorbed_[i] || keeps_bytes(node.op)) continue;
      Step step{NodeId(i), plain(node.inputs), plain(node.outputs), {}};
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
    const ValueId result = step.outputs.front().value;
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
    step.inputs.push_back({addend});
    step.outputs = plain(add.outputs);
    step.epilogue.add = true;
  }

  void absorb_activation(Step& step) {
    const std::optional<NodeId> next = sole_consumer(graph_, step.outputs.front().value);
    if (!next || !is_unary(graph_.node(*next).op)) return;
    const Node& activation = graph_.node(*next);
    const Expected<UnaryParams> params = unary_params(activation.op, activation.attributes);
    CHECK(params.has_value());
    absorbed_[next->index()] = true;
    step.outputs = plain(activation.outputs);
    step.epilogue.activation = *params;
  }

  const Graph& graph_;
  bool fuse_;
  std::vector<bool> absorbed_;
};

// Goes through the steps in order and remembers in which layouts each value is there.
class LayoutPlanner {
 public:
  LayoutPlanner(const Graph& graph, const KernelChoices& choices, const BoundaryLayouts& boundary)
      : graph_(graph),
        choices_(choices),
        boundary_(boundary),
        blocked_(graph.value_count()),
        only_blocked_(graph.value_count()) {}

  std::vector<Step> plan(std::vector<Step> steps) {
    take_inputs();
    for (Step& step : steps) {
      if (const std::vector<Layout> layouts = layouts_of(step); !layouts.empty()) {
        for (std::size_t i = 0; i < layouts.size(); ++i) step.inputs[i].layout = layouts[i];
        step.outputs.front().layout = Layout::kBlocked;
      }
      for (const Operand& input : step.inputs) provide(input, step.node);
      result_.push_back(step);
      for (const Operand& output : step.outputs) {
        if (output.layout == Layout::kBlocked) mark_blocked(output.value);
        give_outside(output.value, step.node);
      }
    }
    return std::move(result_);
  }

 private:
  void take_inputs() {
    for (std::size_t i = 0; i < graph_.inputs().size(); ++i) {
      if (boundary_.input(i) == Layout::kBlocked) mark_blocked(graph_.inputs()[i]);
    }
    // Outputs that show an input or a constant.
    for (const ValueId output : graph_.outputs()) {
      const NodeId producer = graph_.value(output).producer;
      const ValueId source = source_of(graph_, output);
      if (producer.valid() && !graph_.value(source).producer.valid()) give_outside(source, producer);
    }
  }

  void mark_blocked(ValueId value) { blocked_[value.index()] = only_blocked_[value.index()] = true; }

  // By input; empty: the step is computed plain.
  std::vector<Layout> layouts_of(const Step& step) const {
    const Node& node = graph_.node(step.node);
    const KernelRow& row = kernel_row(node.op);
    const std::vector<TensorType> inputs = input_types(graph_, node), outputs = output_types(graph_, node);
    if (row.blocked_inputs == nullptr || !has_fast_kernel(node.op, inputs, outputs)) return {};
    const auto choice = choices_.find(node.name);
    std::vector<Layout> layouts = row.blocked_inputs({.op = node.op,
                                                      .attributes = node.attributes,
                                                      .inputs = inputs,
                                                      .outputs = outputs,
                                                      .choice = choice == choices_.end() ? "" : choice->second,
                                                      .epilogue = step.epilogue});
    if (layouts.empty() || (!row.leads && !blocked_[step.inputs.front().value.index()])) return {};
    if (step.epilogue.add) layouts.push_back(Layout::kBlocked);
    return layouts;
  }

  void provide(const Operand& operand, NodeId node) {
    const bool wants_blocked = operand.layout == Layout::kBlocked;
    const ValueId value = wants_blocked ? operand.value : source_of(graph_, operand.value);
    if (wants_blocked ? blocked_[value.index()] : !only_blocked_[value.index()]) return;
    if (wants_blocked) provide({value}, node);  // a view of what is blocked
    Step step{node, {{value}}, {{value}}, {}, true};
    (wants_blocked ? step.outputs : step.inputs).front().layout = Layout::kBlocked;
    result_.push_back(std::move(step));
    if (wants_blocked) {
      blocked_[value.index()] = true;
    } else {
      only_blocked_[value.index()] = false;
    }
  }

  // A value that is there now, as the outputs that show it are wanted.
  void give_outside(ValueId value, NodeId node) {
    for (std::size_t i = 0; i < graph_.outputs().size(); ++i) {
      const ValueId output = graph_.outputs()[i];
      if (source_of(graph_, output) == value) provide({output, boundary_.output(i)}, node);
    }
  }

  const Graph& graph_;
  const KernelChoices& choices_;
  const BoundaryLayouts& boundary_;
  std::vector<bool> blocked_;       // by value: it is there in blocks
  std::vector<bool> only_blocked_;  // … and not plain
  std::vector<Step> result_;
};

// Values with the same bytes share a buffer, named by the slot of the value that came first. A buffer can be a part of
// another one, of a concatenation's.
class MemoryPlanner {
 public:
  MemoryPlanner(const Graph& graph, std::span<const Step> steps, const BoundaryLayouts& boundary)
      : graph_(graph),
        steps_(steps),
        boundary_(boundary),
        buffer_(2 * graph.value_count()),
        offset_(buffer_.size(), 0),
        plan_{} {
    plan_.places.resize(buffer_.size());
  }

  MemoryPlan make(bool in_place, bool concat_in_place) {
    share_views();
    find_uses();
    place_outside();
    if (in_place) share_in_place();
    if (concat_in_place) share_concatenations();
    place_in_arena();
    for (std::size_t i = 0; i < buffer_.size(); ++i) {
      plan_.places[i] = plan_.places[root(i)];
      if (plan_.places[i].kind == Place::Kind::kArena) plan_.places[i].index += offset_in_root(i);
    }
    return std::move(plan_);
  }

 private:
  std::size_t root(std::size_t slot) const {
    while (buffer_[slot] != slot) slot = buffer_[slot];
    return slot;
  }
  std::size_t offset_in_root(std::size_t slot) const {
    std::size_t offset = 0;
    for (; buffer_[slot] != slot; slot = buffer_[slot]) offset += offset_[slot];
    return offset;
  }
  std::size_t root(const Operand& operand) const { return root(MemoryPlan::slot(operand)); }

  void share_views() {
    for (std::size_t slot = 0; slot < buffer_.size(); ++slot) buffer_[slot] = slot;
    for (std::size_t i = 0; i < graph_.value_count(); ++i) {
      buffer_[MemoryPlan::slot({ValueId(i)})] = MemoryPlan::slot({source_of(graph_, ValueId(i))});
    }
  }

  void find_uses() {
    first_.assign(buffer_.size(), kNone);
    last_.assign(buffer_.size(), 0);
    for (std::size_t s = 0; s < steps_.size(); ++s) {
      for (const Operand& operand : steps_[s].outputs) use(operand, s);
      for (const Operand& operand : steps_[s].inputs) use(operand, s);
    }
  }
  void use(const Operand& operand, std::size_t step) {
    const std::size_t buffer = root(operand);
    first_[buffer] = std::min(first_[buffer], step);
    last_[buffer] = std::max(last_[buffer], step);
  }

  // The caller's memory and the constants'. The first output that shows a buffer is where the buffer lies.
  void place_outside() {
    for (std::size_t i = 0; i < graph_.value_count(); ++i) {
      if (!graph_.values()[i].constant) continue;
      plan_.places[MemoryPlan::slot({ValueId(i)})] = {Place::Kind::kConstant, i};
    }
    for (std::size_t i = 0; i < graph_.inputs().size(); ++i) {
      plan_.places[MemoryPlan::slot({graph_.inputs()[i], boundary_.input(i)})] = {Place::Kind::kInput, i};
    }
    for (std::size_t i = 0; i < graph_.outputs().size(); ++i) {
      const Operand output{graph_.outputs()[i], boundary_.output(i)};
      Place& place = plan_.places[root(output)];
      if (place.kind == Place::Kind::kNowhere) {
        place = {Place::Kind::kOutput, i};
      } else {
        plan_.copies.push_back({output, i});
      }
    }
  }

  void share_in_place() {
    for (std::size_t s = 0; s < steps_.size(); ++s) {
      const Step& step = steps_[s];
      if (!kernel_row(graph_.node(step.node).op).in_place) continue;
      if (step.is_reorder) continue;
      const std::size_t output = root(step.outputs.front());
      if (plan_.places[output].kind != Place::Kind::kNowhere) continue;
      for (const Operand& input : step.inputs) {
        const std::size_t buffer = root(input);
        const bool dies_here = plan_.places[buffer].kind == Place::Kind::kNowhere && last_[buffer] == s;
        const bool is_alike = input.layout == step.outputs.front().layout &&
                              graph_.value(input.value).type == graph_.value(step.outputs.front().value).type;
        if (!dies_here || !is_alike) continue;
        buffer_[output] = buffer;
        last_[buffer] = last_[output];
        break;
      }
    }
  }

  // What a concatenation reads last is written where it belongs, if the pieces lie there one behind the other.
  void share_concatenations() {
    for (std::size_t s = 0; s < steps_.size(); ++s) {
      const Step& step = steps_[s];
      const Node& node = graph_.node(step.node);
      if (step.is_reorder || node.op != OpType::kConcat) continue;
      const std::size_t output = root(step.outputs.front());
      if (plan_.places[output].kind != Place::Kind::kNowhere || !is_in_one_piece(node)) continue;
      std::size_t offset = 0;
      for (const Operand& input : step.inputs) {
        const std::size_t bytes = layout_bytes(graph_.value(input.value).type, input.layout);
        const std::size_t buffer = root(input);
        const bool dies_here = plan_.places[buffer].kind == Place::Kind::kNowhere && last_[buffer] == s;
        if (dies_here && buffer != output && bytes > 0 && offset % kBufferAlignment == 0) {
          buffer_[buffer] = output;
          offset_[buffer] = offset;
          first_[output] = std::min(first_[output], first_[buffer]);
        }
        offset += bytes;
      }
    }
  }

  bool is_in_one_piece(const Node& node) const {
    const std::vector<TensorType> types = input_types(graph_, node);
    const auto geometry = concat_geometry({node.attributes, types, node.outputs.size()});
    CHECK(geometry.has_value());
    return geometry->outer == 1;
  }

  void place_in_arena() {
    std::vector<ArenaItem> items;
    std::vector<std::size_t> owners;
    for (std::size_t i = 0; i < buffer_.size(); ++i) {
      if (buffer_[i] != i || first_[i] == kNone || plan_.places[i].kind != Place::Kind::kNowhere) continue;
      const Layout layout = i % 2 == 0 ? Layout::kPlain : Layout::kBlocked;
      items.push_back({layout_bytes(graph_.values()[i / 2].type, layout), first_[i], last_[i]});
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
  const BoundaryLayouts& boundary_;
  std::vector<std::size_t> buffer_;  // by slot: the slot whose buffer it shares; itself for owners
  std::vector<std::size_t> offset_;  // where in that buffer, in bytes
  std::vector<std::size_t> first_;   // by owner: the steps of its first and last use
  std::vector<std::size_t> last_;
  MemoryPlan plan_;
};

}  // namespace

ValueId source_of(const Graph& graph, ValueId value) {
  while (true) {
    const NodeId producer = graph.value(value).producer;
    if (!producer.valid() || !keeps_bytes(graph.node(producer).op)) return value;
    value = graph.node(producer).inputs.front();
  }
}

std::vector<Step> make_schedule(const Graph& graph, bool fuse) { return Scheduler(graph, fuse).make(); }

std::vector<Step> lay_out(const Graph& graph, std::vector<Step> steps, const KernelChoices& choices,
                          const BoundaryLayouts& boundary) {
  return LayoutPlanner(graph, choices, boundary).plan(std::move(steps));
}

MemoryPlan plan_memory(const Graph& graph, std::span<const Step> steps, bool in_place,
                       const BoundaryLayouts& boundary) {
  MemoryPlan plan = MemoryPlanner(graph, steps, boundary).make(in_place, false);
  if (!in_place) return plan;
  // A concatenation in place lives as long as its first piece.
  MemoryPlan copying_less = MemoryPlanner(graph, steps, boundary).make(true, true);
  return copying_less.arena_bytes <= plan.arena_bytes ? copying_less : plan;
}

}  // namespace onnx_split
