#include "engine/session.h"

#include <cblas.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>

#include "engine/blas_core.h"
#include "engine/choice.h"
#include "engine/kernels/table.h"
#include "engine/schedule.h"

namespace onnx_split {
namespace {

// A scheduled step, ready to run: its kernel and the views it is called with.
struct PreparedStep {
  Step step;
  std::unique_ptr<Kernel> kernel;
  std::vector<TensorView> inputs;
  std::vector<MutableTensorView> outputs;
};

// Our threads own the parallelism. The setting is one of the process.
void silence_blas_threads() {
  static std::once_flag once;
  std::call_once(once, [] { openblas_set_num_threads(1); });
}

std::size_t rounded(std::size_t size) { return (size + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment; }

}  // namespace

struct Session::Impl {
  Impl(Graph g, unsigned threads) : graph(std::move(g)), pool(threads) {}

  Graph graph;
  KernelChoices choices;
  ThreadPool pool;
  std::vector<PreparedStep> steps;
  MemoryPlan memory;
  MutableBuffer arena{0};
  MutableBuffer workspace{0};
  std::size_t workspace_stride = 0;
  std::vector<void*> addresses;  // of each value; null where it has no memory

  Expected<void> decide_choices(const KernelChoices& wanted);
  Expected<void> prepare(const SessionOptions& options);
  void allocate();
  void bind(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs);
  Expected<void> check(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs) const;
  template <class AfterStep>
  Expected<void> run(std::span<const MutableTensorView> outputs, const AfterStep& after_step);
};

Expected<void> Session::Impl::decide_choices(const KernelChoices& wanted) {
  for (const auto& [name, choice] : wanted) {
    const std::optional<NodeId> id = graph.find_node(name);
    if (!id) return fail(ErrorCode::kNotFound, "choice \"{}\": the graph has no node \"{}\"", choice, name);
    if (!has_choice(graph.node(*id).op)) {
      return fail(ErrorCode::kInvalid, "{}: choice \"{}\": the operator has no choice", describe(graph.node(*id)),
                  choice);
    }
  }
  for (const Node& node : graph.nodes()) {
    if (!has_choice(node.op)) continue;
    const std::vector<TensorType> types = input_types(graph, node);
    const OpCall call{node.attributes, types, node.outputs.size()};
    const auto found = wanted.find(node.name);
    if (found == wanted.end()) {
      choices.emplace(node.name, to_text(default_choice(node.op, call, blas_core())));
      continue;
    }
    const auto parsed = parse_choice(node.op, call, found->second);
    if (!parsed) return fail_in(describe(node), parsed.error());
    choices.emplace(node.name, to_text(*parsed));
  }
  return {};
}

Expected<void> Session::Impl::prepare(const SessionOptions& options) {
  TRY(decide_choices(options.choices));
  std::vector<Step> schedule = make_schedule(graph, !options.reference);
  memory = plan_memory(graph, schedule, !options.reference);
  for (Step& step : schedule) {
    const Node& node = graph.node(step.node);
    const std::vector<TensorType> inputs = input_types(graph, node);
    const std::vector<TensorType> outputs = output_types(graph, node);
    const auto choice = choices.find(node.name);
    PreparedStep prepared;
    prepared.kernel = make_kernel({.op = node.op,
                                   .attributes = node.attributes,
                                   .inputs = inputs,
                                   .outputs = outputs,
                                   .choice = choice == choices.end() ? std::string_view{} : choice->second,
                                   .epilogue = step.epilogue,
                                   .threads = pool.threads()},
                                  options.reference);
    workspace_stride = std::max(workspace_stride, rounded(prepared.kernel->workspace_bytes()));
    for (const ValueId id : step.inputs) prepared.inputs.emplace_back(graph.value(id).type, nullptr);
    for (const ValueId id : step.outputs) prepared.outputs.emplace_back(graph.value(id).type, nullptr);
    prepared.step = std::move(step);
    steps.push_back(std::move(prepared));
  }
  return {};
}

void Session::Impl::allocate() {
  arena = MutableBuffer(memory.arena_bytes);
  workspace = MutableBuffer(workspace_stride * pool.threads());
  addresses.assign(graph.value_count(), nullptr);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const Place& place = memory.places[i];
    if (place.kind == Place::Kind::kArena) addresses[i] = arena.bytes().data() + place.index;
    if (place.kind == Place::Kind::kConstant) {
      // Kernels see their inputs as const: nothing writes here.
      addresses[i] = const_cast<void*>(graph.values()[place.index].constant->view().data());
    }
  }
}

Expected<void> Session::Impl::check(std::span<const TensorView> inputs,
                                    std::span<const MutableTensorView> outputs) const {
  if (inputs.size() != graph.inputs().size() || outputs.size() != graph.outputs().size()) {
    return fail(ErrorCode::kInvalid, "expected {} inputs and {} outputs, found {} and {}", graph.inputs().size(),
                graph.outputs().size(), inputs.size(), outputs.size());
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Value& value = graph.value(graph.inputs()[i]);
    if (inputs[i].type() == value.type) continue;
    return fail(ErrorCode::kInvalid, "input \"{}\": expected {}, found {}", value.name, value.type.to_string(),
                inputs[i].type().to_string());
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Value& value = graph.value(graph.outputs()[i]);
    if (outputs[i].type() == value.type) continue;
    return fail(ErrorCode::kInvalid, "output \"{}\": expected {}, found {}", value.name, value.type.to_string(),
                outputs[i].type().to_string());
  }
  return {};
}

void Session::Impl::bind(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs) {
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const Place& place = memory.places[i];
    if (place.kind == Place::Kind::kInput) addresses[i] = const_cast<void*>(inputs[place.index].data());
    if (place.kind == Place::Kind::kOutput) addresses[i] = outputs[place.index].data();
  }
  for (PreparedStep& prepared : steps) {
    for (std::size_t i = 0; i < prepared.inputs.size(); ++i) {
      const ValueId id = prepared.step.inputs[i];
      prepared.inputs[i] = TensorView(graph.value(id).type, addresses[id.index()]);
    }
    for (std::size_t i = 0; i < prepared.outputs.size(); ++i) {
      const ValueId id = prepared.step.outputs[i];
      prepared.outputs[i] = MutableTensorView(graph.value(id).type, addresses[id.index()]);
    }
  }
}

// What bind() has prepared; after_step(i) is called when step i is done.
template <class AfterStep>
Expected<void> Session::Impl::run(std::span<const MutableTensorView> outputs, const AfterStep& after_step) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    PreparedStep& prepared = steps[i];
    auto result =
        prepared.kernel->run({prepared.inputs, prepared.outputs, pool, workspace.bytes().data(), workspace_stride});
    if (!result) return fail_in(describe(graph.node(prepared.step.node)), std::move(result.error()));
    after_step(i);
  }
  for (const OutputCopy& copy : memory.copies) {
    const std::span<std::byte> target = outputs[copy.output].bytes();
    if (!target.empty()) std::memcpy(target.data(), addresses[copy.value.index()], target.size());
  }
  return {};
}

Session::Session() = default;
Session::~Session() = default;

Expected<std::unique_ptr<Session>> Session::create(Graph graph, const SessionOptions& options) {
  silence_blas_threads();
  std::unique_ptr<Session> session(new Session);
  session->impl_ = std::make_unique<Impl>(std::move(graph), options.threads);
  Impl& impl = *session->impl_;
  try {
    TRY(impl.prepare(options));
    impl.allocate();
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "graph \"{}\": not enough memory for its activations ({} bytes)",
                impl.graph.name(), impl.memory.arena_bytes);
  }
  return session;
}

const Graph& Session::graph() const { return impl_->graph; }
const KernelChoices& Session::choices() const { return impl_->choices; }

Expected<void> Session::run(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs) {
  TRY(impl_->check(inputs, outputs));
  impl_->bind(inputs, outputs);
  return impl_->run(outputs, [](std::size_t) {});
}

std::vector<NodeId> Session::steps() const {
  std::vector<NodeId> nodes;
  for (const PreparedStep& prepared : impl_->steps) nodes.push_back(prepared.step.node);
  return nodes;
}

Expected<void> Session::run_timed(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs,
                                  std::span<std::int64_t> busy_ns) {
  Impl& impl = *impl_;
  CHECK(busy_ns.size() == impl.steps.size());
  TRY(impl.check(inputs, outputs));
  impl.bind(inputs, outputs);
  std::vector<std::int64_t> before(impl.pool.threads());
  std::vector<std::int64_t> after(impl.pool.threads());
  impl.pool.processor_times(before);
  return impl.run(outputs, [&](std::size_t step) {
    impl.pool.processor_times(after);
    busy_ns[step] = 0;
    for (std::size_t i = 0; i < after.size(); ++i) busy_ns[step] = std::max(busy_ns[step], after[i] - before[i]);
    std::swap(before, after);
  });
}

std::size_t Session::arena_bytes() const { return impl_->memory.arena_bytes; }
std::size_t Session::workspace_bytes() const { return impl_->workspace_stride * impl_->pool.threads(); }
std::size_t Session::weight_bytes() const {
  std::size_t bytes = 0;
  for (const Value& value : impl_->graph.values()) {
    if (value.constant) bytes += value.type.size_bytes();
  }
  return bytes;
}

}  // namespace onnx_split
