#include "engine/session.h"

#include <cblas.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "engine/choice.h"
#include "engine/kernels/reorder.h"
#include "engine/kernels/table.h"
#include "engine/page_pool.h"
#include "engine/run_memory.h"
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

// A copy in the pages. Made in pieces that are given back at once: what is in a mapped file isn't in memory twice.
Buffer copy_to(const std::shared_ptr<PagePool>& pages, const Buffer& data) {
  constexpr std::size_t kPieceBytes = std::size_t{4} << 20;
  std::byte* const copy = pages->allocate(data.size());
  for (std::size_t begin = 0; begin < data.size(); begin += kPieceBytes) {
    const Buffer piece = data.sub(begin, std::min(kPieceBytes, data.size() - begin));
    std::memcpy(copy + begin, piece.bytes().data(), piece.size());
    piece.give_back_pages();
  }
  return {{copy, data.size()}, pages};
}

std::size_t rounded(std::size_t size) { return (size + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment; }

}  // namespace

struct Session::Impl {
  Impl(Graph g, const SessionOptions& options)
      : graph(std::move(g)),
        pool(options.pool ? options.pool : std::make_shared<ThreadPool>(options.threads)),
        run_memory(options.run_memory ? options.run_memory : std::make_shared<RunMemory>()) {}

  Graph graph;
  KernelChoices choices;
  std::shared_ptr<ThreadPool> pool;
  std::shared_ptr<RunMemory> run_memory;
  std::shared_ptr<PagePool> pages = std::make_shared<PagePool>();  // weights
  std::vector<PreparedStep> steps;
  MemoryPlan memory;
  std::size_t workspace_stride = 0;
  // Activations first, then the kernels' scratch.
  std::unique_ptr<RunMemory::User> run_memory_user;
  std::byte* workspace = nullptr;
  std::vector<void*> addresses;  // by slot of the memory plan; null where nothing lies

  Expected<void> check_boundary(const SessionOptions& options) const;
  Expected<void> decide_choices(const KernelChoices& wanted, const ChoiceRule& rule);
  Expected<void> prepare(const SessionOptions& options);
  std::unique_ptr<Kernel> kernel_for(const Step& step, bool reference);
  std::vector<std::size_t> constant_uses(std::span<const Step> schedule) const;
  void forget_constants(const Step& step, std::vector<std::size_t>& uses);
  void take_constants_out_of_files(const std::vector<std::size_t>& uses);
  std::size_t workspace_bytes() const { return workspace_stride * pool->threads(); }
  void allocate();
  void bind(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs);
  Expected<void> check(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs) const;
  template <class AfterStep>
  Expected<void> run(std::span<const MutableTensorView> outputs, const AfterStep& after_step,
                     const std::stop_token& stop = {});
};

Expected<void> Session::Impl::decide_choices(const KernelChoices& wanted, const ChoiceRule& rule) {
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
      choices.emplace(node.name, to_text(choose(node.op, call, rule)));
      continue;
    }
    const auto parsed = parse_choice(node.op, call, found->second);
    if (!parsed) return fail_in(describe(node), parsed.error());
    choices.emplace(node.name, to_text(*parsed));
  }
  return {};
}

Expected<void> Session::Impl::check_boundary(const SessionOptions& options) const {
  const auto check = [&](const Value& value, Layout layout) -> Expected<void> {
    if (layout == Layout::kPlain) return {};
    if (!options.reference && is_full_blocks(value.type, Region::whole(value.shape()))) return {};
    return fail(ErrorCode::kUnsupported, "value \"{}\" {} can't be in the blocked layout", value.name,
                value.type.to_string());
  };
  for (std::size_t i = 0; i < graph.inputs().size(); ++i) {
    TRY(check(graph.value(graph.inputs()[i]), options.boundary.input(i)));
  }
  for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
    const Value& value = graph.value(graph.outputs()[i]);
    TRY(check(value, options.boundary.output(i)));
    if (value.producer.valid()) continue;
    const auto input = std::find(graph.inputs().begin(), graph.inputs().end(), graph.outputs()[i]);
    const auto index = static_cast<std::size_t>(input - graph.inputs().begin());
    const Layout shown = input == graph.inputs().end() ? Layout::kPlain : options.boundary.input(index);
    if (shown == options.boundary.output(i)) continue;
    return fail(ErrorCode::kUnsupported, "output \"{}\" isn't computed: it can't be in another layout", value.name);
  }
  return {};
}

Expected<void> Session::Impl::prepare(const SessionOptions& options) {
  TRY(check_boundary(options));
  TRY(decide_choices(options.choices, options.rule));
  std::vector<Step> schedule = make_schedule(graph, !options.reference);
  if (!options.reference) schedule = lay_out(graph, std::move(schedule), choices, options.boundary);
  memory = plan_memory(graph, schedule, !options.reference, options.boundary);
  std::vector<std::size_t> uses = constant_uses(schedule);
  for (Step& step : schedule) {
    PreparedStep prepared;
    prepared.kernel = kernel_for(step, options.reference);
    if (prepared.kernel->weight_bytes() > 0) forget_constants(step, uses);
    workspace_stride = std::max(workspace_stride, rounded(prepared.kernel->workspace_bytes()));
    for (const Operand& input : step.inputs) prepared.inputs.emplace_back(graph.value(input.value).type, nullptr);
    for (const Operand& output : step.outputs) prepared.outputs.emplace_back(graph.value(output.value).type, nullptr);
    prepared.step = std::move(step);
    steps.push_back(std::move(prepared));
  }
  take_constants_out_of_files(uses);
  return {};
}

// How often each value is wanted in memory, be it by who runs the graph.
std::vector<std::size_t> Session::Impl::constant_uses(std::span<const Step> schedule) const {
  std::vector<std::size_t> uses(graph.value_count(), 0);
  for (const Step& step : schedule) {
    for (const Operand& input : step.inputs) ++uses[source_of(graph, input.value).index()];
  }
  for (const ValueId output : graph.outputs()) ++uses[source_of(graph, output).index()];
  return uses;
}

// The step's kernel has laid out its weights: those that no other kernel will read can go.
void Session::Impl::forget_constants(const Step& step, std::vector<std::size_t>& uses) {
  const std::size_t constants = graph.node(step.node).inputs.size();
  for (std::size_t i = 1; i < constants; ++i) {
    const ValueId id = step.inputs[i].value;
    const std::optional<Tensor>& constant = graph.value(id).constant;
    if (!constant) continue;
    constant->buffer().give_back_pages();  // they come back if they are read
    if (--uses[id.index()] == 0) graph.forget_data(id);
  }
}

// Those that kernels read where they are. A stream over them is faster in the session's pages than in a file's.
void Session::Impl::take_constants_out_of_files(const std::vector<std::size_t>& uses) {
  std::map<std::pair<const std::byte*, std::size_t>, Buffer> copies;  // some constants are the same bytes
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const std::optional<Tensor>& constant = graph.values()[i].constant;
    if (uses[i] == 0 || !constant || !constant->buffer().mapped()) continue;
    const std::span<const std::byte> bytes = constant->buffer().bytes();
    const auto [copy, is_new] = copies.try_emplace({bytes.data(), bytes.size()});
    if (is_new) copy->second = copy_to(pages, constant->buffer());
    graph.move_data(ValueId(i), copy->second);
  }
}

std::unique_ptr<Kernel> Session::Impl::kernel_for(const Step& step, bool reference) {
  if (step.is_reorder) {
    return make_reorder(graph.value(step.inputs.front().value).type, step.outputs.front().layout);
  }
  const Node& node = graph.node(step.node);
  const std::vector<TensorType> inputs = input_types(graph, node);
  const std::vector<TensorType> outputs = output_types(graph, node);
  std::vector<const void*> constants;
  for (const ValueId input : node.inputs) {
    const std::optional<Tensor>& constant = graph.value(input).constant;
    constants.push_back(constant ? constant->view().data() : nullptr);
  }
  const auto choice = choices.find(node.name);
  return make_kernel({.op = node.op,
                      .attributes = node.attributes,
                      .inputs = inputs,
                      .outputs = outputs,
                      .choice = choice == choices.end() ? std::string_view{} : choice->second,
                      .epilogue = step.epilogue,
                      .threads = pool->threads(),
                      .blocked = step.outputs.front().layout == Layout::kBlocked,
                      .constants = constants,
                      .pages = pages.get()},
                     reference);
}

void Session::Impl::allocate() {
  pages->trim();
  addresses.assign(memory.places.size(), nullptr);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const Place& place = memory.places[i];
    if (place.kind == Place::Kind::kConstant) {
      // Kernels see their inputs as const: nothing writes here.
      addresses[i] = const_cast<void*>(graph.values()[place.index].constant->view().data());
    }
  }
  run_memory_user = run_memory->reserve(rounded(memory.arena_bytes) + workspace_bytes());
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
  std::byte* const arena = run_memory_user->begin_run();
  workspace = arena + rounded(memory.arena_bytes);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const Place& place = memory.places[i];
    if (place.kind == Place::Kind::kArena) addresses[i] = arena + place.index;
    if (place.kind == Place::Kind::kInput) addresses[i] = const_cast<void*>(inputs[place.index].data());
    if (place.kind == Place::Kind::kOutput) addresses[i] = outputs[place.index].data();
  }
  for (PreparedStep& prepared : steps) {
    for (std::size_t i = 0; i < prepared.inputs.size(); ++i) {
      const Operand& input = prepared.step.inputs[i];
      prepared.inputs[i] = TensorView(graph.value(input.value).type, addresses[MemoryPlan::slot(input)]);
    }
    for (std::size_t i = 0; i < prepared.outputs.size(); ++i) {
      const Operand& output = prepared.step.outputs[i];
      prepared.outputs[i] = MutableTensorView(graph.value(output.value).type, addresses[MemoryPlan::slot(output)]);
    }
  }
}

// What bind() has prepared; after_step(i) is called when steps[i] is done.
template <class AfterStep>
Expected<void> Session::Impl::run(std::span<const MutableTensorView> outputs, const AfterStep& after_step,
                                  const std::stop_token& stop) {
  pool->stop_with(stop);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    PreparedStep& prepared = steps[i];
    auto result = prepared.kernel->run({prepared.inputs, prepared.outputs, *pool, workspace, workspace_stride});
    // Before what was left out is read.
    if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "graph \"{}\": stopped", graph.name());
    if (!result) return fail_in(describe(graph.node(prepared.step.node)), std::move(result.error()));
    after_step(i);
  }
  for (const OutputCopy& copy : memory.copies) {
    const std::span<std::byte> target = outputs[copy.output].bytes();
    if (!target.empty()) std::memcpy(target.data(), addresses[MemoryPlan::slot(copy.value)], target.size());
  }
  return {};
}

Session::Session() = default;
Session::~Session() = default;

Expected<std::unique_ptr<Session>> Session::create(Graph graph, const SessionOptions& options) {
  silence_blas_threads();
  std::unique_ptr<Session> session(new Session);
  session->impl_ = std::make_unique<Impl>(std::move(graph), options);
  Impl& impl = *session->impl_;
  try {
    TRY(impl.prepare(options));
    impl.allocate();
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted,
                "graph \"{}\": not enough memory for its weights, laid out, and its activations ({} bytes)",
                impl.graph.name(), impl.memory.arena_bytes);
  }
  return session;
}

const Graph& Session::graph() const { return impl_->graph; }
const KernelChoices& Session::choices() const { return impl_->choices; }

Expected<void> Session::run(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs,
                            const std::stop_token& stop) {
  TRY(impl_->check(inputs, outputs));
  impl_->bind(inputs, outputs);
  return impl_->run(
      outputs, [](std::size_t) {}, stop);
}

std::vector<SessionStep> Session::steps() const {
  std::vector<SessionStep> steps;
  for (const PreparedStep& prepared : impl_->steps) steps.push_back({prepared.step.node, prepared.step.is_reorder});
  return steps;
}

Expected<void> Session::run_timed(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs,
                                  std::span<std::int64_t> busy_ns) {
  Impl& impl = *impl_;
  CHECK(busy_ns.size() == impl.steps.size());
  TRY(impl.check(inputs, outputs));
  impl.bind(inputs, outputs);
  std::vector<std::int64_t> before(impl.pool->threads());
  std::vector<std::int64_t> after(impl.pool->threads());
  impl.pool->processor_times(before);
  return impl.run(outputs, [&](std::size_t step) {
    impl.pool->processor_times(after);
    busy_ns[step] = 0;
    for (std::size_t i = 0; i < after.size(); ++i) busy_ns[step] = std::max(busy_ns[step], after[i] - before[i]);
    std::swap(before, after);
  });
}

std::size_t Session::arena_bytes() const { return impl_->memory.arena_bytes; }
std::size_t Session::workspace_bytes() const { return impl_->workspace_bytes(); }
std::size_t Session::weight_bytes() const {
  std::size_t bytes = 0;
  for (const PreparedStep& prepared : impl_->steps) bytes += prepared.kernel->weight_bytes();
  for (const Value& value : impl_->graph.values()) {
    if (value.constant) bytes += value.constant->buffer().size();
  }
  return bytes;
}

}  // namespace onnx_split
