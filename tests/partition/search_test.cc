// The search against every plan of its space, on small random instances; and what must hold for any.
#include "partition/search.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <numeric>

#include "graph/operators.h"
#include "graph/passes/passes.h"
#include "graph/zoo/zoo.h"
#include "partition/search_methods.h"
#include "tests/partition/search_problem.h"

namespace onnx_split {
namespace {

using testing::describe;
using testing::exhaustive_optimum;
using testing::Instance;
using testing::instance_count;
using testing::must;
using testing::Optimum;
using testing::PlanSpace;
using testing::Problem;
using testing::small_problem;

constexpr double kEqual = 2e-9;  // what the search takes for equal, and rounding

TEST(Search, IsTheOptimumOfAllPlansWhereItIsComplete) {
  std::map<std::string, int> seen;
  double plans = 0.0;
  const std::uint64_t count = instance_count(320);
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    const auto problem = small_problem(seed);
    const SearchOptions options = problem->complete();
    const PlanSpace space(problem->cost, options);
    plans += space.count();
    const Optimum best = exhaustive_optimum(problem->cost, options, space);
    const auto complete = search_completely(problem->cost, options);
    const auto found = search(problem->cost, options);
    const bool is_latency = options.objective == Objective::kLatency;
    const auto text = [&] { return fmt::format("seed {}\n{}", seed, describe(problem->instance)); };
    ASSERT_TRUE(complete.has_value()) << text();
    ASSERT_EQ(is_allowed(complete->cost, options), best.exists()) << text();
    const auto is_near = [&](double a, double b) { return std::abs(a - b) <= kEqual * b; };
    if (!best.exists()) {
      ++seen["impossible"];
      const double least = best.missing_bytes > 0 ? static_cast<double>(best.missing_bytes) : best.latency_s;
      const double most =
          best.missing_bytes > 0 ? static_cast<double>(complete->cost.missing_bytes) : complete->cost.latency_s;
      ASSERT_TRUE(is_near(most, least)) << text();
    } else {
      ASSERT_TRUE(is_near(objective_s(complete->cost, options), best.objective_s))
          << text() << "found\n"
          << describe(complete->candidate, problem->instance.model) << "best\n"
          << describe(best.candidate, problem->instance.model);
    }
    ASSERT_TRUE(space.contains(complete->candidate)) << text();
    // The other methods go beyond the space: then, and only then, the search may be better.
    if (found && !(best.exists() && is_near(objective_s(found->cost, options), best.objective_s))) {
      ++seen["better outside"];
      ASSERT_FALSE(found->exact) << text();
      ASSERT_FALSE(space.contains(found->candidate)) << text();
      if (best.exists()) {
        ASSERT_LT(objective_s(found->cost, options), best.objective_s) << text();
      }
    } else if (found) {
      ASSERT_TRUE(found->exact) << text();
    } else {
      ASSERT_FALSE(best.exists()) << text();
      EXPECT_EQ(found.error().code, ErrorCode::kExhausted);
      // It says the least that was found, which outside the space may be less.
      const std::string& message = found.error().message;
      const std::string_view lacks = "the nearest lacks ", takes = "the quickest takes ";
      const bool fits = message.find(lacks) == std::string::npos;
      const std::size_t at = message.find(fits ? takes : lacks);
      ASSERT_NE(at, std::string::npos) << message << "\n" << text();
      const double said = std::stod(message.substr(at + (fits ? takes : lacks).size()));
      if (fits && best.missing_bytes == 0) {
        ASSERT_LE(said, best.latency_s * 1e3 + 0.051) << text();
      }
      if (!fits) {
        ASSERT_NE(message.find(" MB: device \""), std::string::npos) << message;
        ASSERT_LE(said, static_cast<double>(best.missing_bytes) * 1e-6 + 0.051) << text();
      }
    }
    if (!best.exists()) continue;
    ++seen[is_latency ? "latency" : "throughput"];
    if (problem->instance.graph.node_count() == 8) ++seen["8 nodes"];
    if (problem->instance.model.devices.size() == 4) ++seen["4 devices"];
    if (problem->instance.graph.node_count() == 8 && problem->instance.model.devices.size() == 4) ++seen["8 on 4"];
    if (options.max_latency_s > 0.0) ++seen["latency limit"];
    if (best.candidate.size() > 1) ++seen["several stages"];
    for (const CandidateStage& stage : best.candidate) {
      ++seen[std::string(split_name(stage.division.split))];
      if (stage.replicas > 1) ++seen["replicas"];
    }
  }
  if (std::getenv("ONNX_SPLIT_VERBOSE") != nullptr) {
    fmt::print("{} instances of {:.0f} plans on average\n", count, plans / static_cast<double>(count));
    for (const auto& [what, times] : seen) fmt::print("  {}: {}\n", what, times);
  }
  // That all of this was among them.
  for (const char* what :
       {"impossible", "better outside", "latency", "throughput", "8 nodes", "4 devices", "8 on 4", "latency limit",
        "several stages", "whole", "spatial", "output_channel", "input_channel", "channel_pair", "replicas"}) {
    EXPECT_GE(seen[what], static_cast<int>(count / 150)) << what;
  }
}

std::vector<std::size_t> shuffled(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = count; i > 1; --i) {
    std::swap(order[i - 1], order[static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(i) - 1))]);
  }
  return order;
}

// Everything that a search answers, in words that don't depend on the order of the devices.
std::string answer(const CostModel& cost, const SearchOptions& options) {
  const auto found = search(cost, options);
  if (!found) return found.error().message;
  return describe(found->candidate, cost.model()) +
         fmt::format("period {:.9g} latency {:.9g} bound {:.9g} exact {} window {} alone {}", found->cost.period_s,
                     found->cost.latency_s, found->bound_s, found->exact, found->cost.window,
                     cost.model().devices[best_alone(cost, options).device].name);
}

TEST(Search, DoesNotDependOnTheOrderOfTheDevices) {
  for (std::uint64_t seed = 0; seed < instance_count(200); ++seed) {
    const auto problem = small_problem(seed);
    const std::size_t devices = problem->instance.model.devices.size();
    Instance other = problem->instance;
    other.model = testing::listed_as(problem->instance.model, shuffled(devices, seed));
    const Problem listed_otherwise(std::move(other));
    for (const SearchOptions& options : {problem->complete(), problem->bounded()}) {
      // Which devices lack memory is listed in the cluster's order.
      const std::string expected = answer(problem->cost, options);
      const std::string found = answer(listed_otherwise.cost, options);
      ASSERT_EQ(found.substr(0, found.find(": device")), expected.substr(0, expected.find(": device")))
          << "seed " << seed << "\n"
          << describe(problem->instance);
    }
  }
}

// What profiling devices of three models might give, which differ by chance besides.
Profile profile_of(const Graph& graph, const std::vector<Device>& devices, std::uint64_t seed) {
  Random random(seed);
  Profile profile{graph.name(), fingerprint(graph), {}, {}};
  for (std::size_t d = 0; d < devices.size(); ++d) {
    const double model = std::array{1.0, 1.7, 3.0}[d % 3];
    DeviceProfile device;
    device.name = devices[d].name;
    device.machine = fmt::format("model {}", d % 3);
    device.idle_memory_bytes = 15'000'000;
    device.send = {40.0 * model, 1.0};
    device.receive = {50.0 * model, 1.2};
    for (const Node& node : graph.nodes()) {
      const NodeCost cost = node_cost(graph, node);
      const double ms =
          1e-2 + static_cast<double>(cost.macs) * 1e-7 + static_cast<double>(cost.activation_bytes) * 1e-6;
      const double median_ms = ms * model * static_cast<double>(random.uniform(0.97F, 1.03F));
      device.nodes[node.name] = {median_ms, median_ms, median_ms};
    }
    profile.devices.push_back(std::move(device));
  }
  for (const Device& from : devices) {
    for (const Device& to : devices) {
      if (from.name == to.name) continue;
      const double mbps = random.integer(0, 9) == 0 ? 20.0 : static_cast<double>(random.uniform(85.0F, 95.0F));
      profile.links.push_back({from.name, to.name, 0.4, mbps});
    }
  }
  return profile;
}

// A sample, unless ONNX_SPLIT_FULL is set.
TEST(Search, DoesNotDependOnTheOrderOfTheDevicesForLargeNetworksAndFleets) {
  const bool is_full = std::getenv("ONNX_SPLIT_FULL") != nullptr;
  std::uint64_t seed = 0;
  for (const char* name : {"resnet18", "vgg16", "mobilenet_v2"}) {
    const Graph graph = must(simplify(must(zoo::structure(name))));
    for (const std::size_t count : {3U, 6U, 8U}) {
      if (++seed % 4 != 1 && !is_full) continue;
      Cluster cluster;
      for (std::size_t d = 0; d < count; ++d) {
        Device device;
        device.name = fmt::format("pi{}", d);
        device.memory_bytes = seed % 3 == 0 ? 400'000'000 : 0;
        cluster.devices.push_back(device);
      }
      Profile profile = profile_of(graph, cluster.devices, seed);
      SearchOptions options;
      options.exact_plans = 0.0;
      options.objective = seed % 8 > 3 ? Objective::kLatency : Objective::kThroughput;
      options.space.replicas = seed != 9;
      std::string expected;
      for (std::uint64_t order = 0; order < (is_full ? 4 : 2); ++order) {
        const ClusterModel model = must(make_cluster_model(graph, cluster, &profile));
        StageShapes shapes(graph, model, candidate_cuts(graph, is_full ? 24 : 12));
        const std::string found = answer(CostModel(model, shapes), options);
        if (expected.empty()) expected = found;
        ASSERT_EQ(found, expected) << name << " on " << count << " devices";
        std::vector<Device> devices = cluster.devices;
        std::vector<DeviceProfile> profiles = profile.devices;
        const std::vector<std::size_t> otherwise = shuffled(count, seed * 10 + order);
        for (std::size_t d = 0; d < count; ++d) devices[d] = cluster.devices[otherwise[d]];
        for (std::size_t d = 0; d < count; ++d) profiles[d] = profile.devices[otherwise[count - 1 - d]];
        cluster.devices = std::move(devices);
        profile.devices = std::move(profiles);
        std::rotate(profile.links.begin(), profile.links.begin() + 3, profile.links.end());
      }
    }
  }
}

// Without a complete search: never better than all plans of the space, unless it has left it; and not far behind.
TEST(Search, IsCloseToTheOptimumWhereItIsNotComplete) {
  std::vector<double> gaps;
  int missed = 0, outside = 0, better = 0, only_outside = 0;
  const std::uint64_t count = instance_count(320);
  const bool is_verbose = std::getenv("ONNX_SPLIT_VERBOSE") != nullptr;
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    const auto problem = small_problem(seed);
    const SearchOptions options = problem->bounded();
    const PlanSpace space(problem->cost, options);
    const Optimum best = exhaustive_optimum(problem->cost, options, space);
    const auto found = search(problem->cost, options);
    const auto text = [&] {
      return fmt::format("seed {}\n{}best {}\n{}", seed, describe(problem->instance), best.objective_s,
                         describe(best.candidate, problem->instance.model));
    };
    if (!found) {
      if (best.exists()) {
        ++missed;
        if (is_verbose) fmt::print("MISSED {}\n{}\n", found.error().message, text());
      }
      continue;
    }
    ASSERT_FALSE(found->exact) << text();
    ASSERT_TRUE(is_allowed(found->cost, options)) << text();
    // Devices that serve several stages for throughput, replicas and any sets of devices for latency are more than the
    // space has.
    const bool is_inside = space.contains(found->candidate);
    const double seconds = objective_s(found->cost, options);
    if (is_inside) {
      ASSERT_GE(seconds, best.objective_s * (1.0 - kEqual))
          << text() << describe(found->candidate, problem->instance.model);
    } else {
      ++outside;
      if (!best.exists()) ++only_outside;
    }
    if (!best.exists()) continue;
    better += seconds < best.objective_s * (1.0 - kEqual) ? 1 : 0;
    gaps.push_back(std::max(seconds / best.objective_s - 1.0, 0.0));
    if (is_verbose && (gaps.back() > 0.2 || seconds < best.objective_s * 0.95)) {
      fmt::print("GAP {:.3f} inside {}\n{}found {}\n{}\n", seconds / best.objective_s - 1.0, is_inside, text(), seconds,
                 describe(found->candidate, problem->instance.model));
    }
  }
  std::sort(gaps.begin(), gaps.end());
  const auto at = [&](double share) {
    return gaps[static_cast<std::size_t>(share * static_cast<double>(gaps.size() - 1))];
  };
  if (is_verbose) {
    fmt::print(
        "gaps: median {:.4f}, 90 % {:.4f}, 95 % {:.4f}, 99 % {:.4f}, worst {:.4f}; {} of {} missed, {} outside, "
        "{} of them better, {} where the space has none\n",
        at(0.5), at(0.9), at(0.95), at(0.99), gaps.back(), missed, count, outside, better, only_outside);
  }
  EXPECT_EQ(at(0.5), 0.0);
  EXPECT_LT(at(0.9), 0.05);
  EXPECT_LT(at(0.95), 0.15);
  EXPECT_LT(at(0.99), 0.6);
  EXPECT_LT(gaps.back(), count <= 320 ? 1.5 : 5.0);  // the rarest are rarer
  EXPECT_LE(missed, static_cast<int>(count / 200));
}

// Whether a convolution or pool doesn't read all rows and columns of its input. Parts of a spatial stage have no need
// of them, so that all parts together may have less to compute and to receive than the whole stage, on which the bounds
// are based.
bool leaves_rows_out(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(), [&](const Node& node) {
    if (!node.attributes.has("strides")) return false;
    const Shape& in = graph.value(node.inputs[0]).shape();
    const Shape& out = graph.value(node.outputs[0]).shape();
    for (const std::size_t axis : {0U, 1U}) {
      const std::int64_t stride = node.attributes.ints_or("strides", {1, 1})[axis];
      const std::int64_t pad = node.attributes.ints_or("pads", {0, 0, 0, 0})[axis];
      const std::int64_t kernel = node.op == OpType::kConv ? graph.value(node.inputs[1]).shape()[2 + axis]
                                                           : node.attributes.ints_or("kernel_shape", {1, 1})[axis];
      if (kernel < stride || (out[2 + axis] - 1) * stride + kernel - pad < in[2 + axis]) return true;
    }
    return false;
  });
}

bool is_spatial(const Candidate& plan) {
  return std::any_of(plan.begin(), plan.end(),
                     [](const CandidateStage& stage) { return stage.division.split == Split::kSpatial; });
}

// No plan of any kind is below the bounds, and no simple plan that is allowed is better than what is found.
TEST(Search, IsBetweenItsBoundAndEverySimplePlan) {
  double tightest_period = 0.0, tightest_latency = 0.0;
  for (std::uint64_t seed = 0; seed < instance_count(320); ++seed) {
    const auto problem = small_problem(seed);
    const CostModel& cost = problem->cost;
    const bool is_exception = leaves_rows_out(problem->instance.graph);
    const double period_s = period_bound_s(cost), latency_s = latency_bound_s(cost);
    const auto text = [&] { return fmt::format("seed {}\n{}", seed, describe(problem->instance)); };
    const PlanSpace space(cost, problem->options());
    space.for_each([&](const Candidate& plan) {
      if (HasFatalFailure() || (is_exception && is_spatial(plan))) return;
      const Cost of = cost.of(plan);
      tightest_period = std::max(tightest_period, period_s / of.period_s);
      tightest_latency = std::max(tightest_latency, latency_s / of.latency_s);
      ASSERT_GE(of.period_s, period_s * (1.0 - kEqual)) << text() << describe(plan, cost.model());
      ASSERT_GE(of.latency_s, latency_s * (1.0 - kEqual)) << text() << describe(plan, cost.model());
    });
    if (HasFatalFailure()) return;
    for (const SearchOptions& options : {problem->complete(), problem->bounded()}) {
      const auto found = search(cost, options);
      for (const Candidate& plan : simple_plans(cost, options)) {
        const Cost of = cost.of(plan);
        if (!is_allowed(of, options)) continue;
        ASSERT_TRUE(found.has_value()) << text() << describe(plan, cost.model());
        ASSERT_LE(objective_s(found->cost, options), objective_s(of, options) * (1.0 + kEqual)) << text();
      }
      if (!found) continue;
      if (!is_exception || !is_spatial(found->candidate)) {
        ASSERT_GE(objective_s(found->cost, options), found->bound_s * (1.0 - kEqual)) << text();
      }
      for (std::size_t d = 0; d < found->cost.devices.size(); ++d) {
        const std::int64_t limit = cost.model().devices[d].memory_bytes;
        ASSERT_TRUE(limit == 0 || found->cost.devices[d].memory_bytes <= limit) << text();
      }
      ASSERT_TRUE(options.max_latency_s <= 0.0 || found->cost.latency_s <= options.max_latency_s) << text();
    }
  }
  // The bounds are of use.
  EXPECT_GT(tightest_period, 0.999);
  EXPECT_GT(tightest_latency, 0.9);
}

// What the complete search finds; infinity where nothing is possible.
double best_s(const Instance& instance) {
  const Problem problem{Instance(instance)};
  const auto found = search_completely(problem.cost, problem.complete());
  const bool is_allowed = found && onnx_split::is_allowed(found->cost, problem.options());
  return is_allowed ? objective_s(found->cost, problem.options()) : std::numeric_limits<double>::infinity();
}

// Of devices that are gone; the others keep their order.
void leave_out_kinds(ClusterModel& model) {
  std::vector<std::size_t> kinds;
  for (const DeviceModel& device : model.devices) kinds.push_back(device.kind);
  std::sort(kinds.begin(), kinds.end());
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
  for (DeviceModel& device : model.devices) {
    device.kind = static_cast<std::size_t>(std::lower_bound(kinds.begin(), kinds.end(), device.kind) - kinds.begin());
  }
  model.kinds = kinds.size();
}

TEST(Search, IsNeverWorseWithMoreMemoryFasterLinksOrOneDeviceMore) {
  int better_memory = 0, better_links = 0, better_device = 0;
  for (std::uint64_t seed = 0; seed < instance_count(200); ++seed) {
    const auto problem = small_problem(seed);
    const Instance& instance = problem->instance;
    const auto text = [&] { return fmt::format("seed {}\n{}", seed, describe(instance)); };
    const double before_s = best_s(instance);

    Instance roomy = instance;
    for (DeviceModel& device : roomy.model.devices) device.memory_bytes = device.memory_bytes * 3 / 2;
    const double roomy_s = best_s(roomy);
    ASSERT_LE(roomy_s, before_s * (1.0 + kEqual)) << text();
    better_memory += roomy_s < before_s ? 1 : 0;

    // Replicas share the requests by what their own links can do, which pairs that are slower don't follow.
    Instance fast = instance;
    fast.options.space.replicas = false;
    const double slow_s = best_s(fast);
    for (DeviceModel& device : fast.model.devices) {
      device.up_bytes_per_s *= 1.7;
      device.down_bytes_per_s *= 1.7;
      device.latency_s *= 0.6;
    }
    for (auto& [pair, link] : fast.model.pairs) link.bytes_per_s *= 1.7, link.latency_s *= 0.6;
    fast.model.medium_bytes_per_s *= 1.7;
    fast.model.coordinator_bytes_per_s *= 1.7;
    const double fast_s = best_s(fast);
    ASSERT_LE(fast_s, slow_s * (1.0 + kEqual)) << text();
    better_links += fast_s < slow_s ? 1 : 0;

    // For latency it is the slowest: the first devices are always those that share a stage.
    const std::vector<std::size_t> order = canonical_order(problem->cost);
    if (order.size() < 2) continue;
    Instance fewer = instance;
    std::vector<std::size_t> kept = shuffled(order.size(), seed);
    const bool is_latency = instance.options.objective == Objective::kLatency;
    const std::size_t gone = is_latency ? order.back() : kept.front();
    std::erase(kept, gone);
    kept.push_back(gone);
    fewer.model = testing::listed_as(instance.model, kept);
    fewer.model.devices.pop_back();
    std::erase_if(fewer.model.pairs, [&](const auto& pair) {
      return std::max(pair.first.first, pair.first.second) == fewer.model.devices.size();
    });
    leave_out_kinds(fewer.model);
    const double fewer_s = best_s(fewer);
    ASSERT_LE(before_s, fewer_s * (1.0 + kEqual)) << text() << "without " << instance.model.devices[gone].name;
    better_device += before_s < fewer_s ? 1 : 0;
  }
  EXPECT_GT(better_memory, 5);
  EXPECT_GT(better_links, 50);
  EXPECT_GT(better_device, 30);
}

}  // namespace
}  // namespace onnx_split
