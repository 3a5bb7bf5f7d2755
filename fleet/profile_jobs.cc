#include "fleet/profile_jobs.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>

#include "base/check.h"
#include "graph/builder.h"
#include "graph/operators.h"
#include "partition/shares.h"

namespace onnx_split {
namespace {

// A pass of more is measured in several jobs, so that none takes too long.
constexpr std::int64_t kMacsOfAJob = 4'000'000'000;
// Enough to be out of the caches when a pass comes round again.
constexpr std::uint64_t kBlockBytes = 64 << 20;
constexpr std::size_t kCheckedKinds = 4;
constexpr std::size_t kLeastShares = 2;
constexpr std::int64_t kMostWays = 1024;

// A share as the node that computes it.
struct ShareNode {
  NodeShare share;
  OpType op = OpType::kIdentity;
  Attributes attributes;
  std::vector<TensorType> inputs;
  std::vector<bool> is_constant;  // by input
  std::int64_t macs = 0;
  std::uint64_t largest_bytes = 0;  // of its inputs
  std::uint64_t inputs_bytes = 0;
};

// Equal layers.
struct Kind {
  NodeId first;
  std::vector<std::string> nodes;
  std::int64_t macs = 0;
};

std::string signature(const Graph& graph, const Node& node) {
  std::string text = fmt::format("{} {}", op_name(node.op), node.attributes.to_string());
  for (const ValueId id : node.inputs) {
    const Value& value = graph.value(id);
    text += fmt::format(" {}{}", value.type.to_string(), value.constant ? "!" : "");
  }
  return text;
}

// The network's layers, the costliest first.
std::vector<Kind> kinds_of(const Graph& graph) {
  std::map<std::string, std::size_t> numbers;
  std::vector<Kind> kinds;
  for (std::size_t i = 0; i < graph.node_count(); ++i) {
    const Node& node = graph.nodes()[i];
    const std::int64_t macs = node_cost(graph, node).macs;
    const std::vector<TensorType> types = input_types(graph, node);
    const bool floats =
        std::all_of(types.begin(), types.end(), [](const auto& t) { return t.type == DataType::kFloat32; });
    if (macs == 0 || !floats) continue;
    const auto [found, is_new] = numbers.try_emplace(signature(graph, node), kinds.size());
    if (is_new) kinds.push_back({NodeId(i), {}, macs});
    kinds[found->second].nodes.push_back(node.name);
  }
  std::stable_sort(kinds.begin(), kinds.end(), [](const Kind& a, const Kind& b) { return a.macs > b.macs; });
  return kinds;
}

// Independent nodes, one for each share.
Expected<Weightless> graph_of(std::span<const ShareNode> shares) {
  GraphBuilder builder("shares");
  std::vector<std::string> constants;
  ValueId last;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    std::vector<ValueId> inputs;
    for (std::size_t k = 0; k < shares[i].inputs.size(); ++k) {
      const std::string name = fmt::format("share{}_{}", i, k);
      if (shares[i].is_constant[k]) constants.push_back(name);
      TRY_ASSIGN(const ValueId input, builder.add_input(name, shares[i].inputs[k]));
      inputs.push_back(input);
    }
    TRY_ASSIGN(last, builder.add(fmt::format("share{}", i), shares[i].op, shares[i].attributes, std::move(inputs)));
  }
  TRY_ASSIGN(Graph graph, std::move(builder).build({last}));
  return Weightless{std::move(graph), std::move(constants)};
}

// With a block as large as the memory leaves room for; nothing if it leaves too little.
Expected<std::optional<SharesJob>> job_of(std::span<const ShareNode> shares, const JobsOptions& options) {
  TRY_ASSIGN(Weightless network, graph_of(shares));
  SharesJob job{{std::move(network), 0, {}}, {}};
  std::uint64_t largest = 0;
  std::uint64_t all = 0;
  for (const ShareNode& share : shares) {
    largest = std::max(largest, share.largest_bytes);
    all += share.inputs_bytes + share.inputs.size() * kBufferAlignment;
    job.shares.push_back(share.share);
  }
  std::uint64_t& block = job.job.block_bytes;
  block = std::max(std::min(kBlockBytes, all), largest);
  if (options.memory_bytes != 0) {
    TRY_ASSIGN(const std::uint64_t needed, needed_bytes(job.job));
    const std::uint64_t excess = needed > options.memory_bytes ? needed - options.memory_bytes : 0;
    if (excess > block - largest) return std::nullopt;
    block -= excess;
  }
  job.job.effort = options.quick ? ProfileEffort{3, 0.1, 10.0} : ProfileEffort{3, 0.4, 20.0};
  return job;
}

// Jobs of these shares, each of which fits the memory by itself: as few as fit, but for the halving.
Expected<void> add_jobs(std::span<const ShareNode> shares, const JobsOptions& options, std::vector<SharesJob>& jobs) {
  TRY_ASSIGN(std::optional<SharesJob> job, job_of(shares, options));
  if (job) {
    jobs.push_back(std::move(*job));
    return {};
  }
  CHECK(shares.size() > 1);
  TRY(add_jobs(shares.first(shares.size() / 2), options, jobs));
  return add_jobs(shares.subspan(shares.size() / 2), options, jobs);
}

class ShareMaker {
 public:
  ShareMaker(const Graph& graph, const JobsOptions& options)
      : graph_(graph), units_(channel_units(graph)), options_(options) {}

  // All shares of a kind that fit the memory and are different, whole first.
  Expected<std::vector<ShareNode>> make(const Kind& kind, const std::vector<std::int64_t>& ways,
                                        bool with_whole) const {
    std::vector<ShareNode> shares;
    const auto add = [&](Split split, std::int64_t number) -> Expected<void> {
      std::optional<ShareNode> share = share_of(kind, split, number);
      if (!share) return {};
      const bool is_known = std::any_of(shares.begin(), shares.end(), [&](const ShareNode& other) {
        return other.share.split == split && other.inputs == share->inputs && other.macs == share->macs;
      });
      if (is_known) return {};
      TRY_ASSIGN(const std::optional<SharesJob> alone, job_of(std::span(&*share, 1), options_));
      if (alone) shares.push_back(std::move(*share));
      return {};
    };
    if (with_whole) TRY(add(Split::kWhole, 1));
    for (const Split split : {Split::kSpatial, Split::kOutputChannel, Split::kInputChannel}) {
      for (const std::int64_t number : ways) TRY(add(split, number));
    }
    return shares;
  }

 private:
  std::optional<ShareNode> share_of(const Kind& kind, Split split, std::int64_t ways) const {
    const Node& node = graph_.node(kind.first);
    const bool sums = split == Split::kInputChannel;
    const ValueId divided = sums ? node.inputs.front() : node.outputs.front();
    const std::optional<Region> region = region_of(divided, split, ways);
    if (!region) return std::nullopt;
    const auto slice = sums ? partial_sum_of_node(graph_, node, *region, true) : slice_node(graph_, node, 0, *region);
    if (!slice) return std::nullopt;  // it can't be divided so
    ShareNode share;
    share.share = {kind.nodes, split, 1.0, 0};
    share.op = slice->op;
    share.attributes = slice->attributes;
    for (std::size_t i = 0; i < slice->inputs.size(); ++i) {
      if (!slice->inputs[i]) continue;
      const Value& value = graph_.value(node.inputs[i]);
      share.inputs.push_back({value.type.type, slice->inputs[i]->shape()});
      share.is_constant.push_back(value.constant.has_value());
      share.largest_bytes = std::max<std::uint64_t>(share.largest_bytes, share.inputs.back().size_bytes());
      share.inputs_bytes += share.inputs.back().size_bytes();
    }
    const OpCall call{share.attributes, share.inputs, node.outputs.size()};
    const auto outputs = operator_of(share.op).infer(call);
    if (!outputs) return std::nullopt;
    for (std::size_t i = 0; i < share.inputs.size(); ++i) {
      if (!share.is_constant[i]) share.share.border_bytes += share.inputs[i].size_bytes();
    }
    share.macs = operator_of(share.op).macs(call, *outputs);
    share.share.fraction = static_cast<double>(share.macs) / static_cast<double>(kind.macs);
    if (share.macs == 0 || share.macs > kind.macs) return std::nullopt;
    if (split != Split::kWhole && share.macs == kind.macs) return std::nullopt;
    return share;
  }

  // What one of so many equal parts has; of a value that is too small, one of as many as it allows. One from the
  // middle, as most are.
  std::optional<Region> region_of(ValueId id, Split split, std::int64_t ways) const {
    const Value& value = graph_.value(id);
    if (split == Split::kWhole) return Region::whole(value.shape());
    const std::int64_t unit = units_[id.index()];
    for (; ways >= 2; --ways) {
      const auto parts = static_cast<std::size_t>(ways);
      const Division division{split == Split::kSpatial ? split : Split::kOutputChannel, parts, {parts, 1}, {}};
      const auto regions = shares_of(value, division, unit);
      if (regions) return (*regions)[parts / 2];
    }
    return std::nullopt;
  }

  const Graph& graph_;
  std::vector<std::int64_t> units_;
  const JobsOptions& options_;
};

Expected<std::vector<SharesJob>> plan_shares(const Graph& graph, const JobsOptions& options) {
  const ShareMaker maker(graph, options);
  std::vector<ShareNode> shares;
  const std::vector<Kind> kinds = kinds_of(graph);
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    std::vector<std::int64_t> ways = {2, 4};
    if (!options.quick) ways.push_back(8);
    std::int64_t smaller = 2 * ways.back();
    if (!options.quick && i < kCheckedKinds) ways.push_back(3);
    TRY_ASSIGN(std::vector<ShareNode> of_kind, maker.make(kinds[i], ways, true));
    for (; of_kind.size() < kLeastShares && smaller <= kMostWays; smaller *= 2) {
      TRY_ASSIGN(std::vector<ShareNode> more, maker.make(kinds[i], {smaller}, false));
      std::move(more.begin(), more.end(), std::back_inserter(of_kind));
    }
    std::move(of_kind.begin(), of_kind.end(), std::back_inserter(shares));
  }
  std::vector<SharesJob> jobs;
  std::vector<ShareNode> batch;
  std::int64_t macs = 0;
  const auto finish = [&]() -> Expected<void> {
    TRY(add_jobs(batch, options, jobs));
    batch.clear();
    macs = 0;
    return {};
  };
  for (ShareNode& share : shares) {
    if (!batch.empty() && macs + share.macs > kMacsOfAJob) TRY(finish());
    macs += share.macs;
    batch.push_back(std::move(share));
  }
  if (!batch.empty()) TRY(finish());
  return jobs;
}

// Bytes that cross each position of the order, from in front of the first node to behind the last.
std::vector<std::uint64_t> crossing_bytes(const Graph& graph) {
  std::vector<std::int64_t> change(graph.node_count() + 2, 0);
  for (const Value& value : graph.values()) {
    if (value.constant || value.consumers.empty()) continue;
    const auto bytes = static_cast<std::int64_t>(value.type.size_bytes());
    change[value.producer.valid() ? value.producer.index() + 1 : 0] += bytes;
    change[value.consumers.back().index() + 1] -= bytes;
  }
  std::vector<std::uint64_t> crossing;
  std::int64_t now = 0;
  for (std::size_t i = 0; i <= graph.node_count(); ++i)
    crossing.push_back(static_cast<std::uint64_t>(now += change[i]));
  return crossing;
}

class RunPlanner {
 public:
  RunPlanner(const Graph& graph, const JobsOptions& options)
      : graph_(graph), options_(options), crossing_(crossing_bytes(graph)) {}

  Expected<std::vector<NodesJob>> plan() {
    std::vector<NodesJob> jobs;
    for (std::size_t begin = 0; begin < graph_.node_count();) {
      TRY_ASSIGN(std::size_t end, end_of(begin));
      if (end == begin) {
        ++begin;  // it doesn't fit
        continue;
      }
      TRY_ASSIGN(ProfileJob job, job_of_run(begin, end));
      std::vector<std::string> nodes;
      for (std::size_t i = begin; i < end; ++i) nodes.push_back(graph_.nodes()[i].name);
      jobs.push_back({std::move(job), std::move(nodes)});
      begin = end;
    }
    return jobs;
  }

 private:
  Expected<ProfileJob> job_of_run(std::size_t begin, std::size_t end) const {
    TRY_ASSIGN(Weightless network, without_weights(graph_, begin, end));
    return ProfileJob{std::move(network), 0, options_.quick ? ProfileEffort{3, 0.5, 15.0} : ProfileEffort{}};
  }

  Expected<bool> fits(std::size_t begin, std::size_t end) const {
    if (options_.memory_bytes == 0) return true;
    TRY_ASSIGN(const ProfileJob job, job_of_run(begin, end));
    TRY_ASSIGN(const std::uint64_t bytes, needed_bytes(job));
    return bytes <= options_.memory_bytes;
  }

  // As far as the memory reaches from `begin`; a little less where fewer bytes cross, because nodes that the engine
  // fuses shouldn't be torn apart.
  Expected<std::size_t> end_of(std::size_t begin) const {
    std::size_t good = begin;
    std::size_t bad = graph_.node_count() + 1;
    for (std::size_t end = graph_.node_count(); good + 1 < bad; end = (good + bad) / 2) {
      TRY_ASSIGN(const bool fit, fits(begin, end));
      (fit ? good : bad) = end;
    }
    if (good == begin || good == graph_.node_count()) return good;
    std::size_t best = good;
    for (std::size_t end = good; end > begin + (good - begin) * 3 / 4; --end) {
      if (crossing_[end] < crossing_[best]) best = end;
    }
    TRY_ASSIGN(const bool fit, fits(begin, best));
    return fit ? best : good;
  }

  const Graph& graph_;
  const JobsOptions& options_;
  std::vector<std::uint64_t> crossing_;
};

}  // namespace

Expected<DeviceJobs> plan_device_jobs(const Graph& graph, const JobsOptions& options) {
  DeviceJobs jobs;
  TRY_ASSIGN(jobs.nodes, RunPlanner(graph, options).plan());
  TRY_ASSIGN(jobs.shares, plan_shares(graph, options));
  std::set<std::string, std::less<>> measured;
  for (const NodesJob& job : jobs.nodes) measured.insert(job.nodes.begin(), job.nodes.end());
  for (const SharesJob& job : jobs.shares) {
    for (const NodeShare& share : job.shares) measured.insert(share.nodes.begin(), share.nodes.end());
  }
  for (const Node& node : graph.nodes()) {
    if (measured.contains(node.name)) continue;
    return fail(ErrorCode::kExhausted, "{}: neither it nor a share of it fits the {} bytes that it may be measured in",
                describe(node), options.memory_bytes);
  }
  return jobs;
}

ProfileResult mean_of(const ProfileResult& a, const ProfileResult& b) {
  CHECK(a.steps.size() == b.steps.size());
  const auto mean = [](const Timing& x, const Timing& y) {
    return Timing{(x.median_ms + y.median_ms) / 2, (x.low_ms + y.low_ms) / 2, (x.high_ms + y.high_ms) / 2};
  };
  ProfileResult both = b;
  for (std::size_t i = 0; i < both.steps.size(); ++i) {
    both.steps[i].kernel = mean(a.steps[i].kernel, b.steps[i].kernel);
    both.steps[i].reorders = mean(a.steps[i].reorders, b.steps[i].reorders);
  }
  both.passes += a.passes;
  both.wall_s += a.wall_s;
  both.memory_bytes = std::max(a.memory_bytes, b.memory_bytes);
  return both;
}

Expected<void> add_result(DeviceProfile& profile, const NodesJob& job, const ProfileResult& result) {
  for (const std::string& node : job.nodes) profile.nodes.insert_or_assign(node, Timing{});
  const std::set<std::string> known(job.nodes.begin(), job.nodes.end());
  for (const StepTiming& step : result.steps) {
    if (!known.contains(step.node)) return fail(ErrorCode::kInvalid, "it measured an unknown node \"{}\"", step.node);
    profile.nodes.insert_or_assign(
        step.node, Timing{step.kernel.median_ms + step.reorders.median_ms, step.kernel.low_ms + step.reorders.low_ms,
                          step.kernel.high_ms + step.reorders.high_ms});
  }
  return {};
}

Expected<void> add_result(DeviceProfile& profile, const SharesJob& job, const ProfileResult& result) {
  if (result.steps.size() != job.shares.size()) {
    return fail(ErrorCode::kInvalid, "it measured {} shares: expected {}", result.steps.size(), job.shares.size());
  }
  for (std::size_t i = 0; i < job.shares.size(); ++i) {
    const NodeShare& share = job.shares[i];
    for (const std::string& node : share.nodes) {
      profile.slices.push_back({node, share.split, share.fraction, result.steps[i].kernel});
    }
  }
  return {};
}

}  // namespace onnx_split
