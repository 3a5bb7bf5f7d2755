// Measuring for profiles: networks without their weights, jobs on runners, messages between them, and requests that
// no coordinator of ours would send. Nothing here depends on how long anything takes.
#include "fleet/profiler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "engine/evaluate.h"
#include "fleet/control.h"
#include "fleet/link_costs.h"
#include "fleet/link_probe.h"
#include "fleet/measure.h"
#include "fleet/profile_jobs.h"
#include "graph/operators.h"
#include "graph/zoo/zoo.h"
#include "onnx_import/export.h"
#include "onnx_import/import.h"
#include "tests/fleet/runners.h"
#include "tests/support/random_network.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::must;
using testing::random_network;
using testing::Runners;

constexpr std::chrono::milliseconds kTimeout{20000};

// A small network with a residual, weights of more than a kilobyte, and a classifier.
Graph small_network() {
  GraphBuilder builder("small");
  Random random(1);
  const auto constant = [&](const std::string& name, const Shape& shape) {
    std::vector<float> data(static_cast<std::size_t>(shape.elements()));
    for (float& x : data) x = random.uniform(-0.1F, 0.1F);
    return must(builder.add_constant(name, Tensor::floats(shape, data)));
  };
  const Attributes padded{{"pads", Ints(4, 1)}};
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 16, 12, 12}}));
  const ValueId c1 = must(builder.add("c1", OpType::kConv, padded, {x, constant("w1", Shape{16, 16, 3, 3})}));
  const ValueId r1 = must(builder.add("r1", OpType::kRelu, {}, {c1}));
  const ValueId c2 = must(
      builder.add("c2", OpType::kConv, padded, {r1, constant("w2", Shape{16, 16, 3, 3}), constant("b2", Shape{16})}));
  const ValueId sum = must(builder.add("sum", OpType::kAdd, {}, {c2, x}));
  const ValueId pool = must(builder.add("pool", OpType::kGlobalAveragePool, {}, {sum}));
  const ValueId flat = must(builder.add("flat", OpType::kFlatten, {}, {pool}));
  const ValueId fc = must(builder.add("fc", OpType::kGemm, {}, {flat, constant("w3", Shape{16, 100})}));
  return must(std::move(builder).build({fc}));
}

std::vector<std::string> names_of(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<std::string> names;
  for (const ValueId id : ids) names.push_back(graph.value(id).name);
  return names;
}

TEST(Weightless, KeepsTheStructureAndSmallConstants) {
  const Graph graph = small_network();
  const Weightless whole = must(without_weights(graph, 0, graph.node_count()));
  EXPECT_EQ(whole.constants, (std::vector<std::string>{"w1", "w2", "w3"}));
  EXPECT_TRUE(whole.graph.value(*whole.graph.find_value("b2")).constant.has_value());
  const Graph again = must(with_random_weights(whole));
  EXPECT_EQ(names_of(again, again.inputs()), names_of(graph, graph.inputs()));
  EXPECT_EQ(names_of(again, again.outputs()), names_of(graph, graph.outputs()));
  ASSERT_EQ(again.node_count(), graph.node_count());
  for (std::size_t i = 0; i < graph.node_count(); ++i) {
    EXPECT_EQ(again.nodes()[i].name, graph.nodes()[i].name);
    EXPECT_EQ(again.nodes()[i].op, graph.nodes()[i].op);
    EXPECT_EQ(again.nodes()[i].attributes, graph.nodes()[i].attributes);
    EXPECT_EQ(names_of(again, again.nodes()[i].inputs), names_of(graph, graph.nodes()[i].inputs));
  }
}

TEST(Weightless, ARunOfNodesHasWhatCrossesItsEndsAsInputsAndOutputs) {
  const Graph graph = small_network();
  const Weightless run = must(without_weights(graph, 1, 4));  // r1, c2, sum
  EXPECT_EQ(names_of(run.graph, run.graph.inputs()), (std::vector<std::string>{"c1", "w2", "x"}));
  EXPECT_EQ(names_of(run.graph, run.graph.outputs()), (std::vector<std::string>{"sum"}));
}

TEST(Weightless, TravelsAsOnnx) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const Graph graph = random_network(seed, 4);
    const Weightless sent = must(without_weights(graph, 0, graph.node_count()));
    const std::string bytes = must(export_onnx_bytes(sent.graph));
    ImportOptions options;
    options.simplify = false;
    const Graph received = must(import_onnx_bytes(std::as_bytes(std::span(bytes)), "", options));
    ASSERT_EQ(received.node_count(), sent.graph.node_count());
    for (std::size_t i = 0; i < received.node_count(); ++i) {
      EXPECT_EQ(received.nodes()[i].name, sent.graph.nodes()[i].name);
    }
  }
}

TEST(Weightless, RandomWeightsKeepDeepNetworksInRange) {
  GraphBuilder builder("deep");
  ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 32, 6, 6}}));
  for (int i = 0; i < 150; ++i) {
    const TensorType weights{DataType::kFloat32, Shape{32, 32, 3, 3}};
    const ValueId w =
        must(builder.add_constant(fmt::format("w{}", i), Tensor(weights, untouched_zeros(weights.size_bytes()))));
    const ValueId conv = must(builder.add(fmt::format("conv{}", i), OpType::kConv, {{"pads", Ints(4, 1)}}, {x, w}));
    x = must(builder.add(fmt::format("relu{}", i), OpType::kRelu, {}, {conv}));
  }
  const Graph graph = must(std::move(builder).build({x}));
  const Graph random = must(with_random_weights(must(without_weights(graph, 0, graph.node_count()))));
  const Tensor input = random_input(random.value(random.inputs()[0]).type);
  const std::vector<Tensor> outputs = must(evaluate_once(random, std::span(&input, 1)));
  float largest = 0.0F;
  for (const float y : outputs[0].as<float>()) {
    ASSERT_TRUE(std::isfinite(y));
    largest = std::max(largest, std::abs(y));
  }
  EXPECT_GT(largest, 1e-25F);
  EXPECT_LT(largest, 1e25F);
}

TEST(Weightless, TensorsOfABlockLieInsideIt) {
  RandomBlock block(1000);
  std::set<const void*> addresses;
  for (int i = 0; i < 20; ++i) addresses.insert(block.next({DataType::kFloat32, Shape{60}}).view().data());
  EXPECT_EQ(addresses.size(), 3U);  // every 256 bytes, as they are aligned
}

ProfileJob quick_job(const Graph& graph) {
  return {must(without_weights(graph, 0, graph.node_count())), 0, {3, 0.0, 1.0}};
}

TEST(ProfileJob, TimesEveryStep) {
  const Graph graph = small_network();
  for (const unsigned threads : {1U, 2U}) {
    const ProfileResult result = must(run_profile_job(quick_job(graph), {threads, 0, {}}));
    std::vector<std::string> names;
    double sum_ms = 0.0;
    for (const StepTiming& step : result.steps) {
      names.push_back(step.node);
      sum_ms += step.kernel.median_ms + step.reorders.median_ms;
      for (const Timing& time : {step.kernel, step.reorders}) {
        EXPECT_LE(time.low_ms, time.median_ms);
        EXPECT_LE(time.median_ms, time.high_ms);
      }
    }
    // The activation and the addition are computed in the convolutions' epilogues, and a Flatten takes no time.
    EXPECT_EQ(names, (std::vector<std::string>{"c1", "c2", "pool", "fc"}));
    EXPECT_EQ(result.passes, 3);
    EXPECT_GT(sum_ms, 0.0);
    EXPECT_GT(result.wall_s, 0.0);
    // Of three measurements two are the median or more. Two clocks.
    EXPECT_LE(result.median_s(), 1.5 * threads * result.wall_s + 0.001);
    EXPECT_DOUBLE_EQ(result.median_s(), 3 * sum_ms * 1e-3);
    EXPECT_GT(result.memory_bytes, 3U * 16 * 12 * 12 * 4);
    EXPECT_GT(result.resident_memory_bytes, 1'000'000U);
  }
}

// A share is measured without what its input and output cost to bring into the kernels' layout: inside a part they are
// in it already. (Caught: with them in it, halves of vgg16's first layer looked as if they cost a third of their due.)
TEST(DeviceJobs, CountNoReordersInSharesAndAllInNodes) {
  const DeviceJobs jobs = must(plan_device_jobs(small_network(), {}));
  const Timing kernel{2.0, 1.0, 3.0};
  const Timing reorders{0.5, 0.25, 1.0};
  ProfileResult result;
  result.steps = {{"c1", kernel, reorders}};
  DeviceProfile profile;
  must(add_result(profile, jobs.nodes.at(0), result));
  EXPECT_EQ(profile.nodes.at("c1"), (Timing{2.5, 1.25, 4.0}));
  const SharesJob& shares = jobs.shares.at(0);
  result.steps.assign(shares.shares.size(), {"share", kernel, reorders});
  must(add_result(profile, shares, result));
  ASSERT_FALSE(profile.slices.empty());
  for (const SliceTiming& slice : profile.slices) EXPECT_EQ(slice.time, kernel);
}

TEST(DeviceJobs, TwoResultsOfAJobBecomeTheirMean) {
  ProfileResult a;
  a.steps = {{"c1", {2.0, 1.0, 3.0}, {0.5, 0.25, 1.0}}};
  a.passes = 3;
  a.wall_s = 1.0;
  ProfileResult b = a;
  b.steps[0].kernel = {4.0, 2.0, 5.0};
  const ProfileResult mean = mean_of(a, b);
  EXPECT_EQ(mean.steps[0].kernel, (Timing{3.0, 1.5, 4.0}));
  EXPECT_EQ(mean.steps[0].reorders, a.steps[0].reorders);
  EXPECT_EQ(mean.passes, 6);
  EXPECT_DOUBLE_EQ(mean.wall_s, 2.0);
  EXPECT_DOUBLE_EQ(mean.median_s(), 6 * 3.5e-3);
}

// A convolution with a plain input in the blocked layout: the copies into it are told apart.
TEST(ProfileJob, TellsReordersFromKernels) {
  GraphBuilder builder("one");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, 64, 56, 56}}));
  const ValueId w = must(builder.add_input("w", {DataType::kFloat32, Shape{64, 64, 3, 3}}));
  const ValueId y = must(builder.add("c", OpType::kConv, {{"pads", Ints(4, 1)}}, {x, w}));
  ProfileJob job{{must(std::move(builder).build({y})), {"w"}}, 0, {3, 0.0, 1.0}};
  const ProfileResult result = must(run_profile_job(job, {}));
  ASSERT_EQ(result.steps.size(), 1U);
  EXPECT_GT(result.steps[0].reorders.median_ms, 0.0);
  EXPECT_LT(result.steps[0].reorders.median_ms, result.steps[0].kernel.median_ms);
}

TEST(ProfileJob, GoesOnUntilItHasTakenItsTimeAndNoLonger) {
  const Graph graph = small_network();
  ProfileJob job = quick_job(graph);
  job.effort = {1000, 0.0, 0.0};  // no time at all: three passes all the same
  EXPECT_EQ(must(run_profile_job(job, {})).passes, 3);
  job.effort = {7, 0.0, 10.0};
  EXPECT_EQ(must(run_profile_job(job, {})).passes, 7);
}

TEST(ProfileJob, IsRefusedBeforeItTakesMoreMemoryThanItMay) {
  const Graph graph = small_network();
  const std::uint64_t needed = must(needed_bytes(quick_job(graph)));
  const std::uint64_t used = must(run_profile_job(quick_job(graph), {})).memory_bytes;
  EXPECT_LE(needed, used);
  const auto refused = run_profile_job(quick_job(graph), {1, needed - 1, {}});
  EXPECT_NE(error_of(refused).find(fmt::format("needs {} bytes", needed)), std::string::npos) << error_of(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
  must(run_profile_job(quick_job(graph), {1, used, {}}));
}

TEST(ProfileJob, EndsWhenItIsInterrupted) {
  ProfileJob job = quick_job(small_network());
  job.effort = {1000, 500.0, 600.0};
  EXPECT_EQ(run_profile_job(job, {1, 0, [] { return true; }}).error().code, ErrorCode::kCancelled);
}

TEST(ProfileJob, ItsResultTravels) {
  const ProfileResult result = must(run_profile_job(quick_job(small_network()), {}));
  const Json json = must(parse_json(to_text(profile_result_to_json(result))));
  const ProfileResult read = must(profile_result_from(JsonReader(json)));
  ASSERT_EQ(read.steps.size(), result.steps.size());
  for (std::size_t i = 0; i < read.steps.size(); ++i) {
    EXPECT_EQ(read.steps[i].kernel, result.steps[i].kernel);
    EXPECT_EQ(read.steps[i].reorders, result.steps[i].reorders);
  }
  EXPECT_EQ(read.memory_bytes, result.memory_bytes);
}

TEST(Timing, IsTheMedianWithTheQuartiles) {
  EXPECT_EQ(timing_of({3.0}), (Timing{3.0, 3.0, 3.0}));
  EXPECT_EQ(timing_of({5.0, 1.0, 4.0, 2.0, 3.0}), (Timing{3.0, 2.0, 4.0}));
}

// Every layer whole, at the fractions that were asked for, and each share a step of its own.
TEST(DeviceJobs, MeasureSharesOfEachLayer) {
  const Graph graph = small_network();
  const DeviceJobs jobs = must(plan_device_jobs(graph, {}));
  ASSERT_EQ(jobs.nodes.size(), 1U);
  ASSERT_EQ(jobs.shares.size(), 1U);
  std::map<std::pair<std::string, Split>, std::set<double>> fractions;
  for (const NodeShare& share : jobs.shares[0].shares) {
    for (const std::string& node : share.nodes) fractions[{node, share.split}].insert(share.fraction);
  }
  for (const char* conv : {"c1", "c2"}) {
    const std::string name = conv;
    EXPECT_EQ((fractions[{name, Split::kWhole}]), (std::set<double>{1.0}));
    EXPECT_EQ((fractions[{name, Split::kSpatial}]), (std::set<double>{1.0 / 12, 3.0 / 12, 4.0 / 12, 0.5}));
    EXPECT_EQ((fractions[{name, Split::kOutputChannel}]), (std::set<double>{2.0 / 16, 4.0 / 16, 5.0 / 16, 0.5}));
    EXPECT_EQ((fractions[{name, Split::kInputChannel}]), (std::set<double>{2.0 / 16, 4.0 / 16, 5.0 / 16, 0.5}));
  }
  EXPECT_FALSE(fractions.contains({"fc", Split::kSpatial}));
  EXPECT_EQ((fractions[{"fc", Split::kInputChannel}]).size(), 4U);
  EXPECT_EQ(jobs.shares[0].job.network.graph.node_count(), jobs.shares[0].shares.size());
}

TEST(DeviceJobs, EqualLayersAreMeasuredOnce) {
  const Graph graph = must(zoo::structure("resnet18"));
  const DeviceJobs jobs = must(plan_device_jobs(graph, {}));
  std::size_t whole = 0;
  std::size_t nodes = 0;
  for (const SharesJob& job : jobs.shares) {
    for (const NodeShare& share : job.shares) {
      if (share.split != Split::kWhole) continue;
      ++whole;
      nodes += share.nodes.size();
    }
  }
  EXPECT_EQ(nodes, 21U);  // 20 convolutions and the classifier
  EXPECT_EQ(whole, 12U);
}

// However small the memory is: each job fits, and every node is measured once or has shares.
TEST(DeviceJobs, FitTheMemory) {
  const Graph graph = must(zoo::structure("resnet18"));
  for (const std::uint64_t memory : {7'000'000ULL, 20'000'000ULL, 400'000'000ULL}) {
    const DeviceJobs jobs = must(plan_device_jobs(graph, {memory, false}));
    std::multiset<std::string> measured;
    for (const NodesJob& job : jobs.nodes) {
      measured.insert(job.nodes.begin(), job.nodes.end());
      EXPECT_LE(must(needed_bytes(job.job)), memory);
    }
    std::map<std::string, int> shares;
    for (const SharesJob& job : jobs.shares) {
      EXPECT_LE(must(needed_bytes(job.job)), memory);
      for (const NodeShare& share : job.shares) {
        for (const std::string& node : share.nodes) ++shares[node];
      }
    }
    for (const Node& node : graph.nodes()) {
      EXPECT_LE(measured.count(node.name), 1U);
      EXPECT_TRUE(measured.contains(node.name) || shares[node.name] >= 2) << node.name;
    }
    EXPECT_EQ(jobs.nodes.size() == 1, memory >= 100'000'000U);
  }
  const auto refused = plan_device_jobs(graph, {3'000'000, false});
  EXPECT_NE(error_of(refused).find("neither it nor a share of it fits"), std::string::npos) << error_of(refused);
}

// In one process the processor times of messages say nothing, but everything else is as between machines.
TEST(Measure, AProfileOfTwoDevicesFitsTheModel) {
  const Graph graph = small_network();
  const Runners runners(2);
  const std::vector<std::string> urls = runners.urls();
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  MeasureOptions options;
  options.quick = true;
  options.progress = [&](std::uint64_t d, std::uint64_t t) {
    done = d;
    total = t;
  };
  const Profile profile = must(measure_profile(graph, {{"a", urls[0], 0}, {"b", urls[1], 0}}, options));
  must(check_profile(profile, graph));
  EXPECT_EQ(done, total);
  EXPECT_GT(total, 0U);
  ASSERT_EQ(profile.devices.size(), 2U);
  for (const DeviceProfile& device : profile.devices) {
    EXPECT_EQ(device.nodes.size(), graph.node_count());
    EXPECT_EQ(device.nodes.find("r1")->second, Timing{});
    EXPECT_GT(device.nodes.find("c1")->second.median_ms, 0.0);
    EXPECT_GE(device.slowdown, 1.0);
    EXPECT_FALSE(device.machine.empty());
  }
  std::set<std::pair<std::string, std::string>> links;
  for (const LinkProfile& link : profile.links) {
    links.emplace(link.from, link.to);
    EXPECT_GT(link.bandwidth_mbps, 0.0);
    EXPECT_GT(link.latency_ms, 0.0);
  }
  EXPECT_EQ(links.size(), 2U);
}

TEST(Measure, GivesUpWhenItIsInterruptedOrADeviceCannotBeReached) {
  const Graph graph = small_network();
  const Runners runners(1);
  MeasureOptions options;
  options.connect_timeout = std::chrono::milliseconds(300);
  const auto unreachable =
      measure_profile(graph, {{"a", runners.urls()[0], 0}, {"b", "tcp://127.0.0.1:1", 0}}, options);
  EXPECT_TRUE(error_of(unreachable).starts_with("device \"b\": tcp://127.0.0.1:1: ")) << error_of(unreachable);
  options.interrupted = [] { return true; };
  EXPECT_EQ(measure_profile(graph, {{"a", runners.urls()[0], 0}}, options).error().code, ErrorCode::kCancelled);
}

TEST(Measure, ADeviceThatIsTooSmallIsNamed) {
  const Graph graph = small_network();
  const Runners runners(1);
  const auto refused = measure_profile(graph, {{"tiny", runners.urls()[0], 1000}}, {});
  EXPECT_TRUE(error_of(refused).starts_with("device \"tiny\": node \"c1\" (Conv): ")) << error_of(refused);
}

TEST(PairRounds, EveryPairMeetsOnce) {
  for (std::size_t devices = 0; devices <= 9; ++devices) {
    const auto rounds = pair_rounds(devices, 100);
    std::set<std::pair<std::size_t, std::size_t>> pairs;
    for (const auto& round : rounds) {
      std::set<std::size_t> busy;
      for (const auto& [a, b] : round) {
        EXPECT_LT(a, b);
        EXPECT_LT(b, devices);
        EXPECT_TRUE(busy.insert(a).second && busy.insert(b).second);
        EXPECT_TRUE(pairs.emplace(a, b).second);
      }
    }
    EXPECT_EQ(pairs.size(), devices < 2 ? 0 : devices * (devices - 1) / 2);
  }
  EXPECT_EQ(pair_rounds(30, 8).size(), 8U);
}

TEST(LinkCosts, FollowFromPingPong) {
  const std::vector<PingBatch> batches = link_batches(false);
  std::vector<PingTimes> times;
  for (const PingBatch& batch : batches) {
    // 0.2 ms a message, 1 ns a byte there and 2 ns back; 100 us a ping, and 0.5, 0.25, 0.125 and 0.0625 ns a byte.
    // While they compute, all takes ten times as long, and three times as much of the processor where they don't.
    const auto there = static_cast<double>(batch.ping_bytes);
    const auto back = static_cast<double>(batch.answer_bytes);
    const double slow = batch.computing ? 10 : 1, woken = batch.computing ? 1 : 3;
    const double round_trip_ms = slow * (0.4 + (there - 64) * 1e-6 + (back - 8) * 2e-6);
    times.push_back({{round_trip_ms * 3, round_trip_ms},
                     {woken * (100 + there * 0.5e-3 + back * 0.125e-3)},
                     {woken * (100 + there * 0.25e-3 + back * 0.0625e-3)}});
  }
  const LinkCosts costs = must(link_costs(times));
  EXPECT_NEAR(costs.latency_ms, 0.2, 1e-6);
  EXPECT_NEAR(costs.there_mbps, 8000.0, 1.0);
  EXPECT_NEAR(costs.back_mbps, 4000.0, 1.0);
  EXPECT_NEAR(costs.ping_send.byte_ns, 0.5, 1e-6);
  EXPECT_NEAR(costs.peer_receive.byte_ns, 0.25, 1e-6);
  EXPECT_NEAR(costs.ping_receive.byte_ns, 0.125, 1e-6);
  EXPECT_NEAR(costs.peer_send.byte_ns, 0.0625, 1e-6);
  EXPECT_NEAR(costs.ping_send.message_us, 50.0, 0.1);
  EXPECT_FALSE(link_costs({}).has_value());
}

// A runner and a coordinator that says what it likes.
class HostileRequests : public ::testing::Test {
 protected:
  HostileRequests()
      : runners_(1, 50'000'000), client_(must(ControlClient::connect("d", runners_.urls()[0], kTimeout))) {
    const Weightless network = must(without_weights(small_network(), 0, 7));
    model_ = must(export_onnx_bytes(network.graph));
    request_ = profile_job_to_json({network, 0, {3, 0.0, 1.0}});
  }

  std::string answer(const Json& request, const std::string& model) {
    return error_of(client_.call("profile", request, std::as_bytes(std::span(model)), kTimeout));
  }
  std::string answer_with(const char* field, Json value) {
    Json request = request_;
    request[field] = std::move(value);
    return answer(request, model_);
  }

  Runners runners_;
  ControlClient client_;
  std::string model_;
  Json request_;
};

TEST_F(HostileRequests, ProfilesAreRefusedWithAReason) {
  EXPECT_EQ(answer(request_, model_), "(no error)");
  EXPECT_NE(answer(request_, "not a model").find("device \"d\": model: "), std::string::npos);
  EXPECT_NE(answer(request_, model_.substr(0, model_.size() / 2)).find("device \"d\": model: "), std::string::npos);
  EXPECT_NE(answer_with("constants", {"w1", "w2", "none"}).find("constant \"none\": the model has no such input"),
            std::string::npos);
  EXPECT_NE(answer_with("constants", {"w1", "w1", "w2"}).find("given twice"), std::string::npos);
  EXPECT_NE(answer_with("constants", 7).find("constants: expected a list"), std::string::npos);
  EXPECT_NE(answer_with("block_bytes", -1).find("block_bytes: expected"), std::string::npos);
  EXPECT_NE(answer_with("block_bytes", 100).find("block_bytes: expected at least"), std::string::npos);
  EXPECT_NE(answer_with("block_bytes", std::int64_t{1} << 40).find("the limit is 50000000"), std::string::npos);
  EXPECT_NE(answer_with("min_passes", 1'000'000).find("min_passes: expected"), std::string::npos);
  EXPECT_NE(answer_with("max_s", 1e6).find("max_s: expected"), std::string::npos);
  EXPECT_NE(answer_with("min_s", 2.0).find("min_s: expected"), std::string::npos);
  EXPECT_EQ(answer(request_, model_), "(no error)");
}

// 4 TB in a kilobyte of structure.
TEST_F(HostileRequests, AnAbsurdNetworkIsRefusedBeforeItIsAllocated) {
  GraphBuilder builder("huge");
  const std::int64_t side = std::int64_t{1} << 20;
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{1, side}}));
  const ValueId w = must(builder.add_input("w", {DataType::kFloat32, Shape{side, side}}));
  const ValueId y = must(builder.add("y", OpType::kMatMul, {}, {x, w}));
  const std::string model = must(export_onnx_bytes(must(std::move(builder).build({y}))));
  Json request = request_;
  request["constants"] = {"w"};
  EXPECT_NE(answer(request, model).find("the limit is 50000000"), std::string::npos) << answer(request, model);
}

TEST_F(HostileRequests, PingsOutOfRangeAreRefused) {
  const Json ends = must(client_.call("link_listen", {{"epoch", 5}}));
  PingPlan plan;
  plan.epoch = 5;
  plan.urls = {"tcp://127.0.0.1:1", "tcp://127.0.0.1:1"};
  plan.batches = {{64, 8, 3}};
  const auto answer_of = [&](const std::function<void(Json&)>& change) {
    Json request = ping_plan_to_json(plan);
    change(request);
    return error_of(client_.call("link_ping", request));
  };
  // A runner that answers somebody's pings belongs to him.
  EXPECT_NE(answer_of([](Json&) {}).find("another coordinator"), std::string::npos);
  EXPECT_NE(error_of(client_.call("link_listen", {{"epoch", 7}})).find("another coordinator"), std::string::npos);
  EXPECT_NE(answer(request_, model_).find("another coordinator"), std::string::npos);
  EXPECT_EQ(must(client_.call("status", Json::object()))["state"], "measuring");
  must(client_.call("link_end", {{"epoch", 7}}));  // not his
  EXPECT_EQ(must(client_.call("status", Json::object()))["state"], "measuring");
  must(client_.call("link_end", {{"epoch", 5}}));
  EXPECT_EQ(must(client_.call("status", Json::object()))["state"], "idle");

  EXPECT_NE(answer_of([](Json& j) { j["batches"] = Json::array(); }).find("batches: expected"), std::string::npos);
  EXPECT_NE(answer_of([](Json& j) { j["batches"] = Json(17, j["batches"][0]); }).find("batches: expected"),
            std::string::npos);
  EXPECT_NE(answer_of([](Json& j) { j["batches"][0]["ping_bytes"] = 1 << 30; }).find("ping_bytes: expected"),
            std::string::npos);
  EXPECT_NE(answer_of([](Json& j) { j["batches"][0]["answer_bytes"] = 0; }).find("answer_bytes: expected"),
            std::string::npos);
  EXPECT_NE(answer_of([](Json& j) { j["batches"][0]["pings"] = 1000; }).find("pings: expected"), std::string::npos);
  EXPECT_NE(answer_of([](Json& j) { j["batches"][0]["computing"] = 1; }).find("computing: expected"),
            std::string::npos);
  EXPECT_NE(answer_of([](Json& j) { j["pause_ms"] = 1e9; }).find("pause_ms: expected"), std::string::npos);
  EXPECT_NE(answer_of([](Json& j) { j["epoch"] = 0; }).find("epoch: expected"), std::string::npos);
  EXPECT_NE(answer_of([](Json& j) { j["pings_url"] = "nonsense"; }).find("nonsense"), std::string::npos);
}

TEST(LinkProbe, PingsAreAnsweredAndThePingersEndIsNoticed) {
  const auto answerer = must(LinkAnswerer::create("127.0.0.1", 0, 9));
  PingPlan plan;
  plan.epoch = 9;
  plan.urls = answerer->urls();
  plan.batches = {{0, 8, 4}, {100'000, 50'000, 2, true}};
  plan.pause_ms = 0.0;
  const std::vector<PingTimes> times = must(ping_link(plan));
  ASSERT_EQ(times.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto pings = static_cast<std::size_t>(plan.batches[i].pings);
    EXPECT_EQ(times[i].round_trip_ms.size(), pings);
    EXPECT_EQ(times[i].busy_us.size(), pings);
    EXPECT_EQ(times[i].peer_busy_us.size(), pings);
  }
  const Json json = must(parse_json(to_text(ping_times_to_json(times))));
  EXPECT_EQ(must(ping_times_from(JsonReader(json)))[1].round_trip_ms, times[1].round_trip_ms);
  while (!answerer->abandoned(std::chrono::hours(1))) std::this_thread::yield();
}

}  // namespace
}  // namespace onnx_split
