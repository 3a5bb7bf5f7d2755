#include "fleet/profiler.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "engine/choice.h"
#include "engine/session.h"
#include "engine/weight_memory.h"
#include "fleet/machine.h"
#include "graph/order.h"
#include "onnx_import/import.h"
#include "partition/profile_json.h"

namespace onnx_split {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kMaxPasses = 1000;
constexpr std::int64_t kLeastPasses = 3;
constexpr double kMaxSeconds = 600.0;
constexpr std::int64_t kMaxBlockBytes = std::int64_t{1} << 40;
constexpr double kMaxMs = 1e9;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

Expected<void> check_memory(std::uint64_t bytes, std::uint64_t limit) {
  if (bytes <= limit) return {};
  return fail(ErrorCode::kExhausted, "measuring this needs {} bytes, the limit is {}", bytes, limit);
}

// What its constants, inputs and outputs occupy.
std::uint64_t outer_bytes(const ProfileJob& job) {
  const Graph& graph = job.network.graph;
  std::uint64_t bytes = job.block_bytes;
  for (const Value& value : graph.values()) {
    if (value.constant) bytes += value.type.size_bytes();
  }
  for (const ValueId id : graph.outputs()) bytes += graph.value(id).type.size_bytes();
  for (const ValueId id : graph.inputs()) {
    const TensorType& type = graph.value(id).type;
    if (job.block_bytes == 0 || type.type != DataType::kFloat32) bytes += type.size_bytes();
  }
  return bytes;
}

// What kernels lay out of its constants, which are still there while they do.
std::uint64_t laid_out_bytes(const Graph& graph) {
  return static_cast<std::uint64_t>(weight_memory(graph, default_rule()).laid_out_bytes);
}

// A job made ready: its session and the memory around it.
class Bench {
 public:
  static Expected<Bench> create(const ProfileJob& job, const ProfilerOptions& options) {
    const std::uint64_t limit = options.memory_limit_bytes != 0 ? options.memory_limit_bytes : available_memory_bytes();
    // In this order, so that whatever a peer claims nothing is allocated that doesn't fit.
    const std::uint64_t outside = outer_bytes(job);
    TRY(check_memory(outside, limit));
    TRY_ASSIGN(const std::uint64_t needed, needed_bytes(job));
    TRY(check_memory(needed, limit));

    Bench bench;
    std::optional<RandomBlock> block;
    if (job.block_bytes != 0) block.emplace(job.block_bytes);
    RandomBlock* const shared = block ? &*block : nullptr;
    TRY_ASSIGN(Graph graph, with_random_weights(job.network, shared));
    for (const ValueId id : graph.inputs()) bench.inputs_.push_back(random_input(graph.value(id).type, shared));
    for (const ValueId id : graph.outputs()) bench.outputs_.emplace_back(graph.value(id).type);
    SessionOptions session_options;
    session_options.threads = options.threads;
    const std::uint64_t laid_out = laid_out_bytes(graph);
    TRY_ASSIGN(bench.session_, Session::create(std::move(graph), session_options));
    bench.memory_bytes_ = outside + laid_out + bench.session_->arena_bytes() + bench.session_->workspace_bytes();
    TRY(check_memory(bench.memory_bytes_, limit));
    for (const Tensor& input : bench.inputs_) bench.input_views_.push_back(input.view());
    for (TensorBuilder& output : bench.outputs_) bench.output_views_.push_back(output.view());
    return bench;
  }

  Expected<void> pass(std::span<std::int64_t> busy_ns) {
    return session_->run_timed(input_views_, output_views_, busy_ns);
  }
  const Session& session() const { return *session_; }
  std::uint64_t memory_bytes() const { return memory_bytes_; }

 private:
  Bench() = default;
  std::vector<Tensor> inputs_;
  std::vector<TensorBuilder> outputs_;
  std::vector<TensorView> input_views_;
  std::vector<MutableTensorView> output_views_;
  std::unique_ptr<Session> session_;
  std::uint64_t memory_bytes_ = 0;
};

bool enough(const ProfileEffort& effort, std::int64_t passes, double wall_s, double all_s) {
  if (passes >= kMaxPasses) return true;
  if (passes >= effort.min_passes && wall_s >= effort.min_s) return true;
  const double next_s = wall_s / static_cast<double>(passes);
  return passes >= kLeastPasses && all_s + next_s > effort.max_s;
}

// A node's measurements, one for each pass.
struct NodeMeasurements {
  NodeId node;
  std::vector<double> kernel_ms;
  std::vector<double> reorders_ms;
};

void add_pass(std::vector<NodeMeasurements>& nodes, std::span<const SessionStep> steps,
              std::span<const std::int64_t> busy_ns) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < steps.size(); ++next) {
    if (next == nodes.size()) nodes.push_back({steps[i].node, {}, {}});
    std::int64_t kernel_ns = 0;
    std::int64_t reorders_ns = 0;
    for (; i < steps.size() && steps[i].node == nodes[next].node; ++i) {
      (steps[i].is_reorder ? reorders_ns : kernel_ns) += busy_ns[i];
    }
    nodes[next].kernel_ms.push_back(static_cast<double>(kernel_ns) / 1e6);
    nodes[next].reorders_ms.push_back(static_cast<double>(reorders_ns) / 1e6);
  }
}

Expected<ProfileResult> measure(Bench& bench, const ProfileEffort& effort, const ProfilerOptions& options) {
  const std::vector<SessionStep> steps = bench.session().steps();
  std::vector<NodeMeasurements> nodes;
  std::vector<std::int64_t> busy_ns(steps.size());
  const auto begin = Clock::now();
  TRY(bench.pass(busy_ns));
  ProfileResult result;
  do {
    if (options.interrupted && options.interrupted()) return fail(ErrorCode::kCancelled, "interrupted");
    const auto pass_begin = Clock::now();
    TRY(bench.pass(busy_ns));
    result.wall_s += seconds_since(pass_begin);
    add_pass(nodes, steps, busy_ns);
    ++result.passes;
  } while (!enough(effort, result.passes, result.wall_s, seconds_since(begin)));
  for (NodeMeasurements& measured : nodes) {
    result.steps.push_back({bench.session().graph().node(measured.node).name, timing_of(std::move(measured.kernel_ms)),
                            timing_of(std::move(measured.reorders_ms))});
  }
  result.memory_bytes = bench.memory_bytes();
  return result;
}

}  // namespace

double ProfileResult::median_s() const {
  double pass_ms = 0.0;
  for (const StepTiming& step : steps) pass_ms += step.kernel.median_ms + step.reorders.median_ms;
  return static_cast<double>(passes) * pass_ms * 1e-3;
}

Expected<std::uint64_t> needed_bytes(const ProfileJob& job) {
  TRY_ASSIGN(const Graph blank, with_blank_weights(job.network));
  std::uint64_t ports = 0;
  for (const auto* ids : {&blank.inputs(), &blank.outputs()}) {
    for (const ValueId id : *ids) ports += blank.value(id).type.size_bytes();
  }
  const std::uint64_t peak = peak_activation_bytes(blank);
  return outer_bytes(job) + laid_out_bytes(blank) + (peak > ports ? peak - ports : 0);
}

Expected<ProfileResult> run_profile_job(const ProfileJob& job, const ProfilerOptions& options) {
  for (const ValueId id : job.network.graph.inputs()) {
    const Value& value = job.network.graph.value(id);
    if (job.block_bytes == 0 || value.type.type != DataType::kFloat32) continue;
    if (value.type.size_bytes() <= job.block_bytes) continue;
    return fail(ErrorCode::kInvalid, "block_bytes: expected at least the {} bytes of \"{}\", found {}",
                value.type.size_bytes(), value.name, job.block_bytes);
  }
  const GivesBackFreedMemory at_the_end;
  Expected<ProfileResult> result;
  {
    TRY_ASSIGN(Bench bench, Bench::create(job, options));
    result = measure(bench, job.effort, options);
  }
  if (result) result->resident_memory_bytes = trimmed_resident_bytes();
  return result;
}

Json profile_job_to_json(const ProfileJob& job) {
  return {{"constants", job.network.constants},
          {"block_bytes", job.block_bytes},
          {"min_passes", job.effort.min_passes},
          {"min_s", job.effort.min_s},
          {"max_s", job.effort.max_s}};
}

Expected<ProfileJob> profile_job_from(const JsonReader& request, std::span<const std::byte> model) {
  TRY_ASSIGN(std::vector<std::string> constants, request.strings("constants"));
  TRY_ASSIGN(const std::int64_t block_bytes, request.integer("block_bytes", 0, kMaxBlockBytes));
  ProfileEffort effort;
  TRY_ASSIGN(effort.min_passes, request.integer("min_passes", 1, kMaxPasses));
  TRY_ASSIGN(effort.max_s, request.number("max_s", 0.0, kMaxSeconds));
  TRY_ASSIGN(effort.min_s, request.number("min_s", 0.0, effort.max_s));
  ImportOptions options;
  options.simplify = false;
  auto graph = import_onnx_bytes(model, "", options);
  if (!graph) return fail_in("model", std::move(graph.error()));
  return ProfileJob{{std::move(*graph), std::move(constants)}, static_cast<std::uint64_t>(block_bytes), effort};
}

Json profile_result_to_json(const ProfileResult& result) {
  Json steps = Json::array();
  for (const StepTiming& step : result.steps) {
    steps.push_back(
        {{"node", step.node}, {"kernel", timing_to_json(step.kernel)}, {"reorders", timing_to_json(step.reorders)}});
  }
  return {{"steps", std::move(steps)},
          {"passes", result.passes},
          {"wall_s", result.wall_s},
          {"memory_bytes", result.memory_bytes},
          {"resident_memory_bytes", result.resident_memory_bytes}};
}

Expected<ProfileResult> profile_result_from(const JsonReader& reply) {
  ProfileResult result;
  TRY_ASSIGN(const JsonReader list, reply.at("steps"));
  TRY_ASSIGN(const std::vector<JsonReader> steps, list.elements());
  for (const JsonReader& reader : steps) {
    StepTiming step;
    TRY_ASSIGN(step.node, reader.string("node"));
    TRY_ASSIGN(const JsonReader kernel, reader.at("kernel"));
    TRY_ASSIGN(step.kernel, timing_from_json(kernel));
    TRY_ASSIGN(const JsonReader reorders, reader.at("reorders"));
    TRY_ASSIGN(step.reorders, timing_from_json(reorders));
    result.steps.push_back(std::move(step));
  }
  TRY_ASSIGN(result.passes, reply.integer("passes", 1, kMaxPasses));
  TRY_ASSIGN(result.wall_s, reply.number("wall_s", 0.0, kMaxMs));
  TRY_ASSIGN(const std::int64_t memory, reply.integer("memory_bytes", 0, INT64_MAX));
  TRY_ASSIGN(const std::int64_t resident, reply.integer("resident_memory_bytes", 0, INT64_MAX));
  result.memory_bytes = static_cast<std::uint64_t>(memory);
  result.resident_memory_bytes = static_cast<std::uint64_t>(resident);
  return result;
}

Timing timing_of(std::vector<double> measurements_ms) {
  CHECK(!measurements_ms.empty());
  std::sort(measurements_ms.begin(), measurements_ms.end());
  const auto at = [&](double quantile) {
    const double rank = std::ceil(quantile * static_cast<double>(measurements_ms.size()));
    return measurements_ms[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
  };
  return {at(0.5), at(0.25), at(0.75)};
}

}  // namespace onnx_split
