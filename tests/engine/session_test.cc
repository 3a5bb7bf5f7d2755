// Sessions as wholes: random graphs give the same bits fused, cut into single nodes, with several threads, with
// unaligned inputs, and again.
#include "engine/session.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <stop_token>
#include <thread>

#include "engine/blas_core.h"
#include "engine/choice.h"
#include "engine/run_memory.h"
#include "engine/schedule.h"
#include "engine/thread_pool.h"
#include "engine/weight_memory.h"
#include "graph/ops/reshape.h"
#include "tests/engine/compare.h"
#include "tests/support/expect.h"

namespace onnx_split::test {
namespace {

using testing::must;

// A random network of what epilogues, views, in-place writing and concatenations care about: values of shape [1,C,H,H],
// read once or several times, some of them outputs.
class RandomNetwork {
 public:
  explicit RandomNetwork(std::uint64_t seed) : random_(seed), builder_("random") {
    constexpr std::array kPictures = {std::pair{4, 9}, std::pair{20, 5}, std::pair{33, 4}, std::pair{32, 4}};
    const auto [channels, size] = kPictures[static_cast<std::size_t>(random_.integer(0, 3))];
    picture_ = Shape{1, channels, size, size};
  }

  Graph build() {
    values_.push_back(must(builder_.add_input("x", {DataType::kFloat32, picture_})));
    const std::int64_t nodes = random_.integer(3, 25);
    for (std::int64_t i = 0; i < nodes; ++i) add_node(fmt::format("n{}", i));
    std::vector<ValueId> outputs{values_.back()};
    for (const ValueId id : values_) {
      const bool unread = builder_.value(id).consumers.empty();
      if (id != values_.back() && (unread || random_.integer(0, 9) == 0)) outputs.push_back(id);
    }
    if (random_.integer(0, 4) == 0) outputs.push_back(outputs.front());
    return must(std::move(builder_).build(std::move(outputs)));
  }

 private:
  ValueId any() {
    // Mostly recent values, so that chains form.
    const auto count = static_cast<std::int64_t>(values_.size());
    const std::int64_t back = random_.integer(0, 2) == 0 ? random_.integer(1, count) : 1;
    return values_[static_cast<std::size_t>(count - back)];
  }
  ValueId constant(const std::string& name, Shape shape, float low = -0.5F, float high = 0.5F) {
    return must(builder_.add_constant(name, random_tensor(random_, std::move(shape), low, high)));
  }
  std::optional<ValueId> other_like(ValueId id) {
    std::vector<ValueId> fits;
    for (const ValueId value : values_) {
      if (builder_.value(value).type == builder_.value(id).type) fits.push_back(value);
    }
    if (fits.empty()) return std::nullopt;
    return fits[static_cast<std::size_t>(random_.integer(0, static_cast<std::int64_t>(fits.size()) - 1))];
  }

  void add_node(const std::string& name) {
    const ValueId x = any();
    const Shape shape = builder_.value(x).shape();
    const bool is_picture = shape.rank() == 4;
    switch (random_.integer(0, 11)) {
      case 0:
      case 1:
      case 2:
        if (is_picture) return add_conv(name, x);
        return keep(builder_.add(
            name, OpType::kGemm, {{"transB", std::int64_t{1}}},
            {x, constant(name + "_w", Shape{shape[1], shape[1]}), constant(name + "_b", Shape{shape[1]})}));
      case 3:
      case 4:
        return keep(
            builder_.add(name, OpType::kAdd, {},
                         random_.integer(0, 1) == 0 ? std::vector{x, *other_like(x)} : std::vector{*other_like(x), x}));
      case 5:
      case 6:
      case 7: {
        const OpType op = std::array{OpType::kRelu,    OpType::kClip,      OpType::kLeakyRelu,
                                     OpType::kSigmoid, OpType::kHardSwish, OpType::kTanh}[static_cast<std::size_t>(
            random_.integer(0, 5))];
        return keep(builder_.add(name, op, {}, {x}));
      }
      case 8:
        if (!is_picture)
          return keep(builder_.add(name, OpType::kReshape, {{"shape", Ints(picture_.begin(), picture_.end())}}, {x}));
        return keep(builder_.add(name, OpType::kFlatten, {}, {x}));
      case 9: {
        if (!is_picture) return keep(builder_.add(name, OpType::kNeg, {}, {x}));
        const OpType op = random_.integer(0, 1) == 0 ? OpType::kMaxPool : OpType::kAveragePool;
        return keep(builder_.add(name, op, {{"kernel_shape", Ints{3, 3}}, {"pads", Ints(4, 1)}}, {x}));
      }
      case 10: {
        const ValueId other = *other_like(x);
        if (!is_picture) return keep(builder_.add(name, OpType::kMax, {}, {x, other}));
        std::vector<ValueId> pieces{x, other};
        if (random_.integer(0, 3) == 0) pieces.push_back(x);
        const auto channels = static_cast<std::int64_t>(pieces.size()) * shape[1];
        const ValueId whole = must(builder_.add(name + "_whole", OpType::kConcat, {{"axis", std::int64_t{1}}}, pieces));
        const ValueId weights = constant(name + "_w", Shape{shape[1], channels, 1, 1});
        return keep(builder_.add(name, OpType::kConv, {}, {whole, weights}));
      }
      default: {
        if (!is_picture) return keep(builder_.add(name, OpType::kIdentity, {}, {x}));
        std::vector<ValueId> inputs{x};
        for (const char* part : {"s", "b", "m", "v"})
          inputs.push_back(constant(name + part, Shape{shape[1]}, 0.5F, 1.5F));
        return keep(builder_.add(name, OpType::kBatchNormalization, {}, inputs));
      }
    }
  }

  void add_conv(const std::string& name, ValueId x) {
    const std::int64_t channels = picture_[1];
    std::vector<std::int64_t> groups;
    for (std::int64_t g = 1; g <= channels; ++g) {
      if (channels % g == 0) groups.push_back(g);
    }
    const std::int64_t group =
        groups[static_cast<std::size_t>(random_.integer(0, static_cast<std::int64_t>(groups.size()) - 1))];
    const std::int64_t kernel = random_.integer(0, 1) * 2 + 1;
    std::vector<ValueId> inputs{x, constant(name + "_w", Shape{channels, channels / group, kernel, kernel})};
    if (random_.integer(0, 1) == 0) inputs.push_back(constant(name + "_b", Shape{channels}));
    keep(builder_.add(name, OpType::kConv, {{"group", group}, {"pads", Ints(4, kernel / 2)}}, inputs));
  }

  void keep(Expected<ValueId> id) { values_.push_back(must(std::move(id))); }

  Random random_;
  GraphBuilder builder_;
  Shape picture_;
  std::vector<ValueId> values_;
};

// The graph computed node by node, each in a session of its own.
std::vector<Tensor> node_by_node(const Graph& graph, const Tensor& input) {
  std::vector<std::optional<Tensor>> values(graph.value_count());
  values[graph.inputs().front().index()] = input;
  for (const Node& node : graph.nodes()) {
    GraphBuilder builder("single");
    std::vector<ValueId> ids;
    std::vector<Tensor> given;
    for (const ValueId id : node.inputs) {
      const Value& value = graph.value(id);
      if (const auto known = builder.graph().find_value(value.name)) {
        ids.push_back(*known);
        continue;
      }
      if (!value.constant) given.push_back(*values[id.index()]);
      ids.push_back(must(value.constant ? builder.add_constant(value.name, *value.constant)
                                        : builder.add_input(value.name, value.type)));
    }
    const ValueId output = must(builder.add(node.name, node.op, node.attributes, ids));
    values[node.outputs.front().index()] = must(evaluate_once(must(std::move(builder).build({output})), given)).front();
  }
  std::vector<Tensor> outputs;
  for (const ValueId id : graph.outputs()) outputs.push_back(*values[id.index()]);
  return outputs;
}

// Not under sanitizers: they stop the program where memory is refused.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(Session, WhatNoMemoryHoldsIsAnError) {
  GraphBuilder builder("giant");
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{kMaxElements}}));
  const ValueId a = must(builder.add("a", OpType::kAbs, {}, {x}));
  const ValueId y = must(builder.add("y", OpType::kReduceSum, {}, {a}));
  const auto session = Session::create(must(std::move(builder).build({y})), {});
  ASSERT_FALSE(session.has_value());
  EXPECT_EQ(session.error().code, ErrorCode::kExhausted);
  EXPECT_NE(session.error().message.find("graph \"giant\": not enough memory"), std::string::npos);
}
#endif

TEST(Session, RandomGraphsGiveTheBitsOfTheirSingleNodes) {
  std::size_t fused = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const Graph graph = RandomNetwork(seed).build();
    SCOPED_TRACE(to_text(graph));
    Random random(seed);
    const std::array input{random_tensor(random, graph.value(graph.inputs()[0]).shape())};
    const std::vector<Tensor> single = node_by_node(graph, input[0]);
    const std::vector<Tensor> whole = must(evaluate_once(graph, input));
    ASSERT_TRUE(same_bits(whole, single));
    ASSERT_TRUE(
        same_bits(must(evaluate_once(graph, input, {.threads = 3, .choices = {}, .reference = false})), single));
    const auto reference = must(evaluate_once(graph, input, {.threads = 1, .choices = {}, .reference = true}));
    // Up to 25 nodes with random weights, which amplify each other's rounding; kernels_test holds single ones to less.
    for (std::size_t i = 0; i < whole.size(); ++i) ASSERT_LE(distance(whole[i], reference[i]), 5e-4);
    for (const Step& step : make_schedule(graph, true)) fused += step.epilogue.empty() ? 0 : 1;
  }
  EXPECT_GT(fused, 300U);  // the graphs do exercise epilogues
}

Layout random_layout(Random& random, const Value& value) {
  const bool can_be = is_full_blocks(value.type, Region::whole(value.shape()));
  return can_be && random.integer(0, 2) > 0 ? Layout::kBlocked : Layout::kPlain;
}

// In another layout, which the tensor has in full blocks.
Tensor reordered(const Tensor& from, Layout to) {
  const Shape& shape = from.type().shape;
  const std::int64_t channels = shape[1], positions = shape.elements(2, shape.rank());
  TensorBuilder builder(from.type());
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    const std::int64_t image = i / (channels * positions), channel = i / positions % channels, at = i % positions;
    const std::int64_t block = image * (channels / 16) + channel / 16;
    const auto plain = static_cast<std::size_t>(i);
    const auto blocked = static_cast<std::size_t>((block * positions + at) * 16 + channel % 16);
    if (to == Layout::kBlocked) {
      builder.as<float>()[blocked] = from.as<float>()[plain];
    } else {
      builder.as<float>()[plain] = from.as<float>()[blocked];
    }
  }
  return std::move(builder).build();
}

TEST(Session, TheLayoutOfInputsAndOutputsChangesNoBit) {
  std::size_t blocked_inputs = 0, blocked_outputs = 0, fewer_steps = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const Graph graph = RandomNetwork(seed).build();
    SCOPED_TRACE(to_text(graph));
    Random random(seed);
    const Value& input = graph.value(graph.inputs()[0]);
    const Tensor x = random_tensor(random, input.shape());
    BoundaryLayouts boundary;
    boundary.inputs = {random_layout(random, input)};
    for (const ValueId output : graph.outputs()) {
      // One that is the input lies as that does.
      const bool is_input = output == graph.inputs()[0];
      boundary.outputs.push_back(is_input ? boundary.inputs[0] : random_layout(random, graph.value(output)));
    }
    const bool is_blocked = boundary.input(0) == Layout::kBlocked;
    const auto session = must(Session::create(graph, {.choices = {}, .boundary = boundary}));
    std::vector<Tensor> outputs = must(evaluate(*session, std::array{is_blocked ? reordered(x, Layout::kBlocked) : x}));
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (boundary.output(i) == Layout::kPlain) continue;
      outputs[i] = reordered(outputs[i], Layout::kPlain);
      ++blocked_outputs;
    }
    ASSERT_TRUE(same_bits(outputs, must(evaluate_once(graph, std::array{x})))) << seed;
    blocked_inputs += is_blocked ? 1 : 0;
    const auto plain = must(Session::create(graph, {}));
    fewer_steps += session->steps().size() < plain->steps().size() ? 1 : 0;
  }
  EXPECT_GE(blocked_inputs, 30U);
  EXPECT_GE(blocked_outputs, 60U);
  EXPECT_GE(fewer_steps, 20U);
}

TEST(Session, OnlyFullBlocksCanBeInTheBlockedLayoutOutside) {
  const auto error_of = [](Shape shape, BoundaryLayouts boundary, bool reference = false) {
    GraphBuilder builder("relu");
    const ValueId x = must(builder.add_input("x", {DataType::kFloat32, std::move(shape)}));
    const ValueId y = must(builder.add("y", OpType::kRelu, {}, {x}));
    const auto session = Session::create(must(std::move(builder).build({y, x})),
                                         {.choices = {}, .boundary = std::move(boundary), .reference = reference});
    return session ? "" : session.error().message;
  };
  using enum Layout;
  EXPECT_EQ(error_of(Shape{1, 32, 2, 2}, {{kBlocked}, {kPlain, kBlocked}}), "");
  EXPECT_EQ(error_of(Shape{1, 32, 2, 2}, {{kBlocked}, {kBlocked, kPlain}}),
            "output \"x\" isn't computed: it can't be in another layout");
  EXPECT_EQ(error_of(Shape{1, 40, 2, 2}, {{kPlain}, {kBlocked, kPlain}}),
            "value \"y\" float32[1,40,2,2] can't be in the blocked layout");
  EXPECT_EQ(error_of(Shape{1, 32}, {{kBlocked}, {}}), "value \"x\" float32[1,32] can't be in the blocked layout");
  EXPECT_EQ(error_of(Shape{1, 32, 2, 2}, {{kBlocked}, {kPlain, kBlocked}}, true),
            "value \"x\" float32[1,32,2,2] can't be in the blocked layout");
}

// Pieces of a concatenation that lie in it.
std::size_t count_in_place(const Step& concat, const MemoryPlan& plan) {
  const Place& whole = plan.place(concat.outputs.front());
  return static_cast<std::size_t>(std::ranges::count_if(concat.inputs, [&](const Operand& input) {
    const Place& piece = plan.place(input);
    return whole.kind == Place::Kind::kArena && piece.kind == whole.kind && piece.index >= whole.index;
  }));
}

// No two values share memory while both are needed, but for views, in-place results and pieces of a concatenation.
TEST(Session, ValuesThatLiveTogetherLieApart) {
  std::size_t blocked = 0, pieces_in_place = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const Graph graph = RandomNetwork(seed).build();
    const std::vector<Step> steps =
        lay_out(graph, make_schedule(graph, true), choose_all(graph, {.core = default_rule().core}));
    const MemoryPlan plan = plan_memory(graph, steps, true);
    // Replays the steps, remembering which value each arena byte belongs to.
    std::vector<std::size_t> owner(plan.arena_bytes, SIZE_MAX);
    const auto root = [&graph](ValueId id) {
      for (NodeId node = graph.value(id).producer; node.valid() && keeps_bytes(graph.node(node).op);
           node = graph.value(id).producer) {
        id = graph.node(node).inputs.front();
      }
      return id;
    };
    for (const Step& step : steps) {
      for (const Operand& input : step.inputs) {
        const Place& place = plan.place(input);
        ASSERT_NE(place.kind, Place::Kind::kNowhere);
        if (place.kind != Place::Kind::kArena) continue;
        blocked += input.layout == Layout::kBlocked ? 1 : 0;
        const std::size_t size = layout_bytes(graph.value(input.value).type, input.layout);
        const bool is_plain = input.layout == Layout::kPlain;  // views are
        const std::size_t slot = MemoryPlan::slot({is_plain ? root(input.value) : input.value, input.layout});
        for (std::size_t b = 0; b < size; b += 64) ASSERT_EQ(owner[place.index + b], slot);
      }
      if (graph.node(step.node).op == OpType::kConcat && !step.is_reorder)
        pieces_in_place += count_in_place(step, plan);
      for (const Operand& output : step.outputs) {
        const Place& place = plan.place(output);
        if (place.kind != Place::Kind::kArena) continue;
        const std::size_t size = layout_bytes(graph.value(output.value).type, output.layout);
        for (std::size_t b = 0; b < size; ++b) owner[place.index + b] = MemoryPlan::slot(output);
      }
    }
  }
  EXPECT_GT(blocked, 300U);
  EXPECT_GT(pieces_in_place, 30U);
}

TEST(Session, PiecesOfAConcatenationAreWrittenInPlace) {
  GraphBuilder builder("pieces");
  const auto add = [&](const char* name, OpType op, Attributes attributes, std::vector<ValueId> inputs) {
    return must(builder.add(name, op, std::move(attributes), inputs));
  };
  const Attributes axis{{"axis", std::int64_t{0}}};
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{32}}));
  const ValueId a = add("a", OpType::kAbs, {}, {x});
  const ValueId b = add("b", OpType::kSqrt, {}, {a});
  const ValueId inner = add("inner", OpType::kConcat, axis, {a, b});
  const ValueId c = add("c", OpType::kNeg, {}, {x});
  const ValueId outer = add("outer", OpType::kConcat, axis, {c, inner, c});
  const ValueId y = add("y", OpType::kReduceSum, {{"keepdims", std::int64_t{0}}}, {outer});
  const Graph graph = must(std::move(builder).build({y}));
  const MemoryPlan plan = plan_memory(graph, make_schedule(graph, true), true);
  const std::size_t begin = plan.place({outer}).index;
  EXPECT_EQ(plan.place({c}).index, begin);
  EXPECT_EQ(plan.place({inner}).index, begin + 128);
  EXPECT_EQ(plan.place({a}).index, begin + 128);
  EXPECT_EQ(plan.place({b}).index, begin + 256);
  Random random(1);
  const std::array input{random_tensor(random, Shape{32})};
  EXPECT_TRUE(same_bits(must(evaluate_once(graph, input)), node_by_node(graph, input[0])));
}

// A session called through buffers that begin 4 bytes behind an aligned address.
TEST(Session, NeedsNoAlignmentAndRepeatsItself) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Graph graph = RandomNetwork(seed).build();
    Random random(seed);
    const std::array input{random_tensor(random, graph.value(graph.inputs()[0]).shape())};
    const std::vector<Tensor> expected = must(evaluate_once(graph, input));
    const auto session = must(Session::create(graph, {.threads = 2, .choices = {}, .reference = false}));
    std::vector<float> shifted(input[0].as<float>().size() + 1);
    std::ranges::copy(input[0].as<float>(), shifted.begin() + 1);
    const std::array inputs{TensorView(input[0].type(), shifted.data() + 1)};
    std::vector<std::vector<float>> memory;
    std::vector<MutableTensorView> outputs;
    for (const Tensor& tensor : expected) memory.emplace_back(tensor.as<float>().size() + 1);
    for (std::size_t i = 0; i < expected.size(); ++i) outputs.emplace_back(expected[i].type(), memory[i].data() + 1);
    for (int run = 0; run < 3; ++run) {
      for (auto& block : memory) std::ranges::fill(block, 1e30F);
      ASSERT_TRUE(session->run(inputs, outputs).has_value());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(std::memcmp(outputs[i].data(), expected[i].buffer().bytes().data(), expected[i].buffer().size()), 0);
      }
    }
  }
}

TEST(Session, SessionsThatTakeTurnsShareTheirThreads) {
  SessionOptions options;
  options.pool = std::make_shared<ThreadPool>(3);
  std::vector<std::pair<Graph, std::unique_ptr<Session>>> nets;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Graph graph = RandomNetwork(seed).build();
    auto session = must(Session::create(graph, options));
    nets.emplace_back(std::move(graph), std::move(session));
  }
  EXPECT_EQ(options.pool.use_count(), 11);
  Random random(1);
  for (int run = 0; run < 3; ++run) {
    for (const auto& [graph, session] : nets) {
      const std::array input{random_tensor(random, graph.value(graph.inputs()[0]).shape())};
      EXPECT_TRUE(same_bits(must(evaluate(*session, input)), must(evaluate_once(graph, input))));
    }
  }
}

TEST(Session, SessionsThatTakeTurnsShareTheMemoryOfTheirRuns) {
  const auto memory = std::make_shared<RunMemory>();
  SessionOptions options;
  options.pool = std::make_shared<ThreadPool>(2);
  options.run_memory = memory;
  struct One {
    std::unique_ptr<Session> session;
    Tensor input;
    std::vector<Tensor> expected;
  };
  std::vector<One> sessions;
  Random random(1);
  // They come and go, small and large, some before they have run; all are right in between, whatever lies there.
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Graph graph = RandomNetwork(seed).build();
    Tensor input = random_tensor(random, graph.value(graph.inputs()[0]).shape());
    std::vector<Tensor> expected = must(evaluate_once(graph, std::array{input}));
    sessions.push_back({must(Session::create(graph, options)), std::move(input), std::move(expected)});
    if (sessions.size() > 4) sessions.erase(sessions.begin() + random.integer(0, 4));
    std::size_t needed_bytes = 0, largest_bytes = 0;
    for (const One& one : sessions) {
      const std::size_t bytes = one.session->arena_bytes() + one.session->workspace_bytes();
      needed_bytes += bytes;
      largest_bytes = std::max(largest_bytes, bytes);
    }
    EXPECT_LE(memory->bytes(), needed_bytes) << seed;
    EXPECT_GE(memory->bytes(), largest_bytes) << seed;
    for (One& one : sessions) {
      if (random.integer(0, 1) == 0) continue;
      std::memset(memory->reserve(largest_bytes)->begin_run(), 0xff, largest_bytes);
      EXPECT_TRUE(same_bits(must(evaluate(*one.session, std::array{one.input})), one.expected)) << seed;
    }
  }
  for (One& one : sessions) {
    EXPECT_TRUE(same_bits(must(evaluate(*one.session, std::array{one.input})), one.expected));
  }
  EXPECT_GT(memory->bytes(), 0U);
  sessions.clear();
  EXPECT_EQ(memory->bytes(), 0U);
}

TEST(Session, AStoppedRunSaysSoAndTheNextOneIsRight) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Graph graph = RandomNetwork(seed).build();
    const auto session = must(Session::create(graph, {}));
    Random random(seed);
    const std::array input{random_tensor(random, graph.value(graph.inputs()[0]).shape())};
    const std::array input_views{input[0].view()};
    std::vector<TensorBuilder> outputs;
    std::vector<MutableTensorView> output_views;
    for (const ValueId id : graph.outputs()) outputs.emplace_back(graph.value(id).type);
    for (TensorBuilder& output : outputs) output_views.push_back(output.view());
    std::stop_source stop;
    EXPECT_TRUE(session->run(input_views, output_views, stop.get_token()));
    stop.request_stop();
    const auto stopped = session->run(input_views, output_views, stop.get_token());
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
    EXPECT_TRUE(same_bits(must(evaluate(*session, input)), must(evaluate_once(graph, input))));
  }
}

TEST(Session, ARunThatAnotherThreadStopsInTheMiddleLeavesThoseThatShareItsThreadsAndMemoryRight) {
  SessionOptions options;
  options.pool = std::make_shared<ThreadPool>(2);
  options.run_memory = std::make_shared<RunMemory>();
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Graph graph = RandomNetwork(seed).build();
    const auto session = must(Session::create(graph, options)), other = must(Session::create(graph, options));
    Random random(seed);
    const std::array input{random_tensor(random, graph.value(graph.inputs()[0]).shape())};
    const std::array input_views{input[0].view()};
    const std::vector<Tensor> expected = must(evaluate_once(graph, input));
    std::vector<TensorBuilder> outputs;
    std::vector<MutableTensorView> output_views;
    for (const ValueId id : graph.outputs()) outputs.emplace_back(graph.value(id).type);
    for (TensorBuilder& output : outputs) output_views.push_back(output.view());
    for (int round = 0; round < 10; ++round) {
      std::stop_source stop;
      std::thread stopper([&stop, wait = std::chrono::microseconds(random.integer(0, 200))] {
        std::this_thread::sleep_for(wait);
        stop.request_stop();
      });
      Expected<void> ran;
      while ((ran = session->run(input_views, output_views, stop.get_token()))) {
      }
      stopper.join();
      EXPECT_EQ(ran.error().code, ErrorCode::kCancelled);
      EXPECT_TRUE(same_bits(must(evaluate(round % 2 == 0 ? *session : *other, input)), expected));
    }
  }
}

TEST(Session, OutputsMayBeInputsConstantsAndViews) {
  GraphBuilder builder("odd");
  Random random(1);
  const ValueId x = must(builder.add_input("x", {DataType::kFloat32, Shape{2, 3}}));
  const ValueId c = must(builder.add_constant("c", random_tensor(random, Shape{2})));
  const ValueId relu = must(builder.add("relu", OpType::kRelu, {}, {x}));
  const ValueId flat = must(builder.add("flat", OpType::kReshape, {{"shape", Ints{6}}}, {relu}));
  const ValueId view = must(builder.add("view", OpType::kIdentity, {}, {x}));
  const Graph graph = must(std::move(builder).build({x, c, flat, relu, view, x}));
  const std::array input{random_tensor(random, Shape{2, 3})};
  const auto fast = must(evaluate_once(graph, input));
  EXPECT_TRUE(same_bits(fast, must(evaluate_once(graph, input, {.threads = 1, .choices = {}, .reference = true}))));
  EXPECT_TRUE(same_bits(fast[0], input[0]));
  EXPECT_EQ(fast[2].as<float>()[5], std::max(0.0F, input[0].as<float>()[5]));
}

TEST(Session, RefusesWrongInputsAndOutputs) {
  GraphBuilder builder("g");
  const TensorType type{DataType::kFloat32, Shape{2}};
  const TensorType other{DataType::kFloat32, Shape{3}};
  const ValueId x = must(builder.add_input("x", type));
  const ValueId y = must(builder.add("y", OpType::kRelu, {}, {x}));
  const auto session = must(Session::create(must(std::move(builder).build({y})), {}));
  std::array<float, 3> a{};
  std::array<float, 3> b{};
  const auto error = [&](const TensorType& in, const TensorType& out) {
    const auto result =
        session->run(std::array{TensorView(in, a.data())}, std::array{MutableTensorView(out, b.data())});
    return result ? std::string() : result.error().message;
  };
  EXPECT_EQ(error(type, type), "");
  EXPECT_EQ(error(other, type), "input \"x\": expected float32[2], found float32[3]");
  EXPECT_EQ(error(type, other), "output \"y\": expected float32[2], found float32[3]");
  EXPECT_FALSE(session->run({}, {}).has_value());
}

TEST(Session, ATimedRunGivesTheSameBitsAndATimeForEachStep) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Graph graph = RandomNetwork(seed).build();
    Random random(seed);
    const std::array input{random_tensor(random, graph.value(graph.inputs()[0]).shape())};
    const std::array views{input[0].view()};
    for (const unsigned threads : {1U, 3U}) {
      const auto session = must(Session::create(graph, {.threads = threads, .choices = {}, .reference = false}));
      std::array<std::vector<Tensor>, 2> results;
      const std::vector<SessionStep> steps = session->steps();
      std::vector<std::int64_t> busy_ns(steps.size(), -1);
      for (const bool timed : {false, true}) {
        std::vector<TensorBuilder> builders;
        for (const ValueId id : graph.outputs()) builders.emplace_back(graph.value(id).type);
        std::vector<MutableTensorView> outputs;
        for (TensorBuilder& builder : builders) outputs.push_back(builder.view());
        const auto done = timed ? session->run_timed(views, outputs, busy_ns) : session->run(views, outputs);
        ASSERT_TRUE(done.has_value());
        for (TensorBuilder& builder : builders) results[timed].push_back(std::move(builder).build());
      }
      EXPECT_TRUE(same_bits(results[0], results[1])) << seed;
      EXPECT_TRUE(
          std::is_sorted(steps.begin(), steps.end(), [](const auto& a, const auto& b) { return a.node < b.node; }));
      for (const std::int64_t time_ns : busy_ns) EXPECT_TRUE(time_ns > 0 && time_ns < 1'000'000'000) << time_ns;
    }
  }
}

std::vector<ChoiceRule> some_rules() {
  std::vector<ChoiceRule> rules(4, default_rule());
  rules[1].half_weights = true;
  rules[2].allowed = openblas_algorithms();
  rules[3].allowed = lean_algorithms();
  return rules;
}

TEST(Session, ReportsItsMemory) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Graph graph = RandomNetwork(seed).build();
    for (const ChoiceRule& rule : some_rules()) {
      const auto session = must(Session::create(graph, {.threads = 2, .choices = {}, .rule = rule}));
      EXPECT_EQ(session->weight_bytes(), static_cast<std::size_t>(weight_memory(graph, rule).bytes()));
    }
    const auto session = must(Session::create(graph, {.threads = 2, .choices = {}, .reference = false}));
    std::size_t bytes = 0;
    for (const Value& value : graph.values()) bytes += value.constant ? value.type.size_bytes() : 0;
    EXPECT_GE(session->weight_bytes(), bytes);
    const std::size_t picture = layout_bytes(graph.value(graph.inputs()[0]).type, Layout::kBlocked);
    EXPECT_LE(session->arena_bytes(), 2 * picture * graph.node_count());
  }
}

// In the spare lanes of such a slice there are the values of other channels.
TEST(Session, ASliceThatEndsInABlockStaysInBlocks) {
  Random random(1);
  GraphBuilder builder("slice");
  const Tensor x = random_tensor(random, Shape{1, 40, 9, 9});
  const ValueId input = must(builder.add_input("x", x.type()));
  const auto conv = [&](const char* name, ValueId of, Shape weights) {
    const ValueId constant = must(builder.add_constant(std::string(name) + "_w", random_tensor(random, weights)));
    return must(builder.add(name, OpType::kConv, {}, {of, constant}));
  };
  const ValueId a = conv("a", input, Shape{40, 40, 1, 1});
  const ValueId slice = must(builder.add("slice", OpType::kSlice,
                                         {{"starts", Ints{16, 2}}, {"ends", Ints{37, 8}}, {"axes", Ints{1, 2}}}, {a}));
  const ValueId b = conv("b", input, Shape{21, 40, 4, 1});
  const ValueId sum = must(builder.add("sum", OpType::kAdd, {}, {b, slice}));
  const ValueId tanh = must(builder.add("tanh", OpType::kTanh, {}, {slice}));
  const ValueId c = conv("c", tanh, Shape{8, 21, 3, 3});
  const Graph graph = must(std::move(builder).build({sum, c}));
  const std::vector<Step> steps =
      lay_out(graph, make_schedule(graph, true), choose_all(graph, {.core = default_rule().core}));
  for (const Step& step : steps) {
    EXPECT_NE(graph.node(step.node).op, OpType::kAdd);  // in b's epilogue
    EXPECT_FALSE(step.is_reorder && step.inputs.front().value == slice);
    EXPECT_FALSE(graph.node(step.node).op == OpType::kSlice && step.outputs.front().layout == Layout::kPlain);
  }
  EXPECT_TRUE(same_bits(must(evaluate_once(graph, std::array{x})), node_by_node(graph, x)));
}

}  // namespace
}  // namespace onnx_split::test
