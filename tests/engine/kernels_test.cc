// Every fast kernel against the operator's reference, on seeded random attributes and shapes; and that neither threads,
// nor repetition, nor where inputs come from change a bit.
#include <map>

#include "base/half.h"
#include "engine/choice.h"
#include "engine/kernels/table.h"
#include "tests/engine/compare.h"

namespace onnx_split::test {
namespace {

// Spatial attributes of a window whose output isn't empty.
struct RandomWindow {
  Ints kernel, strides, dilations, pads;
  std::vector<std::int64_t> input;

  RandomWindow(Random& random, std::size_t rank, bool pads_below_kernel) {
    const std::int64_t most = rank == 1 ? 40 : rank == 2 ? 20 : 7;
    Ints ends;
    for (std::size_t i = 0; i < rank; ++i) {
      kernel.push_back(random.integer(1, rank == 3 ? 3 : 5));
      strides.push_back(random.integer(1, 3));
      dilations.push_back(random.integer(1, 2));
      const std::int64_t reach = (kernel[i] - 1) * dilations[i] + 1;
      const std::int64_t most_pad = pads_below_kernel ? reach - 1 : 3;
      pads.push_back(random.integer(0, std::min<std::int64_t>(3, most_pad)));
      ends.push_back(random.integer(0, std::min<std::int64_t>(3, most_pad)));
      input.push_back(random.integer(reach, reach + most));
    }
    pads.insert(pads.end(), ends.begin(), ends.end());
  }
};

Case random_conv(Random& random) {
  const auto rank = static_cast<std::size_t>(random.integer(1, 3));
  const RandomWindow window(random, rank, false);
  const std::int64_t kind = random.integer(0, 3);
  const std::int64_t groups = kind == 0 ? 1 : random.integer(1, 4);
  const std::int64_t in_per_group = kind == 1 ? 1 : random.integer(1, 9);
  const std::int64_t out_per_group = random.integer(1, kind == 0 ? 70 : 6);
  std::vector<std::int64_t> x{random.integer(1, 2), groups * in_per_group};
  std::vector<std::int64_t> w{groups * out_per_group, in_per_group};
  x.insert(x.end(), window.input.begin(), window.input.end());
  w.insert(w.end(), window.kernel.begin(), window.kernel.end());
  Case c{OpType::kConv,
         {{"group", groups}, {"strides", window.strides}, {"dilations", window.dilations}, {"pads", window.pads}},
         {random_tensor(random, Shape(x)), random_tensor(random, Shape(w))}};
  if (random.integer(0, 1) == 1) c.inputs.push_back(random_tensor(random, Shape{groups * out_per_group}));
  return c;
}

TEST(Kernels, ConvAgreesWithTheReference) {
  Random random(1);
  for (int i = 0; i < 300; ++i) expect_kernel_agrees(random_conv(random));
}

// The shapes that networks have: 3×3 and 1×1 with stride 1 and 2, and depthwise.
TEST(Kernels, ConvOfNetworksAgreesWithTheReference) {
  Random random(2);
  for (int i = 0; i < 60; ++i) {
    const std::int64_t kernel = std::array<std::int64_t, 4>{1, 3, 5, 7}[static_cast<std::size_t>(random.integer(0, 3))];
    const std::int64_t stride = random.integer(1, 2);
    const std::int64_t pad = kernel / 2;
    const bool depthwise = random.integer(0, 2) == 0;
    const std::int64_t channels = random.integer(2, 40);
    const std::int64_t outputs = depthwise ? channels : random.integer(1, 200);
    const std::int64_t height = random.integer(kernel, 40);
    const std::int64_t width = random.integer(kernel, 40);
    expect_kernel_agrees(
        {OpType::kConv,
         {{"group", depthwise ? channels : 1}, {"strides", Ints{stride, stride}}, {"pads", Ints{pad, pad, pad, pad}}},
         {random_tensor(random, Shape{1, channels, height, width}),
          random_tensor(random, Shape{outputs, depthwise ? 1 : channels, kernel, kernel}),
          random_tensor(random, Shape{outputs})}});
  }
}

// Every algorithm that is possible, whatever the rule would choose, alone and with an epilogue.
TEST(Kernels, EveryAlgorithmOfAConvAgreesWithTheReference) {
  Random random(12);
  std::map<std::string, int> tried;
  for (int i = 0; i < 150; ++i) {
    Case c = random_conv(random);
    if (i % 2 == 0) {  // as networks have them: 3×3, 1×1, depthwise
      const std::int64_t kernel = i % 4 == 0 ? 3 : 1;
      const bool depthwise = i % 6 == 0;
      const std::int64_t channels = random.integer(1, 50), outputs = depthwise ? channels : random.integer(1, 70);
      Ints pads(4, 0);
      for (std::int64_t& pad : pads) pad = random.integer(0, kernel - 1);
      c = {OpType::kConv,
           {{"pads", pads}, {"group", depthwise ? channels : 1}},
           {random_tensor(random, Shape{random.integer(1, 2), channels, random.integer(3, 20), random.integer(3, 20)}),
            random_tensor(random, Shape{outputs, depthwise ? 1 : channels, kernel, kernel})}};
      if (random.integer(0, 1) == 1) c.inputs.push_back(random_tensor(random, Shape{outputs}));
    }
    SCOPED_TRACE(describe(c));
    std::vector<TensorType> types;
    for (const Tensor& input : c.inputs) types.push_back(input.type());
    const auto reference = evaluate_case(c, {.threads = 1, .choices = {}, .reference = true}, false);
    for (const std::string choice : {"direct", "winograd2", "winograd4", "depthwise", "direct_1x1 tile=32 rows=16",
                                     "im2col tile=48 depth=40 rows=16"}) {
      if (!parse_choice(c.op, {c.attributes, types, 1}, choice)) continue;
      SCOPED_TRACE(choice);
      ++tried[choice];
      const KernelChoices choices{{"node", choice}};
      const auto variable = evaluate_case(c, {.threads = 1, .choices = choices, .reference = false}, false);
      const auto one = evaluate_case(c, {.threads = 1, .choices = choices, .reference = false}, true);
      const auto three = evaluate_case(c, {.threads = 3, .choices = choices, .reference = false}, true);
      EXPECT_LE(distance(one[0], reference[0]), choice == "winograd4" ? 4e-5 : 1e-5);
      EXPECT_TRUE(same_bits(one, three));
      EXPECT_TRUE(same_bits(one, variable));
    }
  }
  EXPECT_EQ(tried.size(), 6U);
  for (const auto& [choice, times] : tried) EXPECT_GE(times, 5) << choice;
}

Tensor rounded_to_halves(const Tensor& tensor) {
  TensorBuilder builder(tensor.type());
  const std::span<const float> from = tensor.as<float>();
  std::transform(from.begin(), from.end(), builder.as<float>().begin(), [](float x) { return to_float(to_half(x)); });
  return std::move(builder).build();
}

// Half weights are widened exactly: it is as if the model's had been rounded. (Winograd's are rounded when they are
// transformed.)
void expect_half_weights_agree(const Case& c, const std::string& algorithm) {
  SCOPED_TRACE(describe(c) + " " + algorithm);
  const auto evaluate_with = [](const Case& of, const std::string& choice, unsigned threads) {
    return evaluate_case(of, {.threads = threads, .choices = {{"node", choice}}, .reference = false}, true);
  };
  const std::string half_choice = algorithm + " weights=fp16";
  const auto half = evaluate_with(c, half_choice, 1);
  Case rounded = c;
  rounded.inputs[1] = rounded_to_halves(c.inputs[1]);
  const auto expected = evaluate_with(rounded, algorithm, 1);
  if (algorithm.starts_with("winograd")) {
    EXPECT_LE(distance(half[0], expected[0]), algorithm == "winograd4" ? 1e-2 : 2e-3);
    EXPECT_FALSE(same_bits(half, evaluate_with(c, algorithm, 1)));
  } else if (c.attributes.int_or("transB", 1) == 0 || c.op == OpType::kMatMul) {
    EXPECT_LE(distance(half[0], expected[0]), 1e-5);  // half weights are laid out transposed
  } else {
    EXPECT_TRUE(same_bits(half, expected));
  }
  EXPECT_TRUE(same_bits(half, evaluate_with(c, half_choice, 3)));
}

TEST(Kernels, HalfWeightsAreAsIfTheModelsWereRounded) {
  Random random(14);
  for (int i = 0; i < 40; ++i) {
    const std::int64_t channels = random.integer(16, 50), outputs = random.integer(1, 70);
    Case c{OpType::kConv,
           {{"pads", Ints(4, 1)}},
           {random_tensor(random, Shape{random.integer(1, 2), channels, random.integer(3, 20), random.integer(3, 20)}),
            random_tensor(random, Shape{outputs, channels, 3, 3})}};
    if (random.integer(0, 1) == 1) c.inputs.push_back(random_tensor(random, Shape{outputs}));
    for (const char* algorithm : {"direct", "winograd2", "winograd4"}) expect_half_weights_agree(c, algorithm);
  }
  for (int i = 0; i < 60; ++i) {
    const std::int64_t n = random.integer(1, 90), k = random.integer(1, 200);
    const bool transposed = random.integer(0, 1) == 1;
    Case c{OpType::kGemm,
           {{"transB", std::int64_t{transposed}}, {"alpha", 0.5F}, {"beta", 2.0F}},
           {random_tensor(random, Shape{1, k}), random_tensor(random, transposed ? Shape{n, k} : Shape{k, n})}};
    if (random.integer(0, 1) == 1) c.inputs.push_back(random_tensor(random, Shape{random.integer(0, 1) == 1 ? n : 1}));
    expect_half_weights_agree(c, "gemv");
    expect_half_weights_agree(
        {OpType::kMatMul, {}, {random_tensor(random, Shape{1, k}), random_tensor(random, Shape{k, n})}}, "gemv");
  }
}

// Of any axes, also backwards; channels often from a block's beginning on.
Attributes random_slice(Random& random, const Shape& shape) {
  Ints starts, ends, axes, steps;
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
    if (random.integer(0, 2) == 0) continue;
    std::int64_t begin = random.integer(0, shape[axis] - 1), end = random.integer(begin + 1, shape[axis]);
    if (axis == 1 && random.integer(0, 3) > 0) begin -= begin % 16;
    const bool is_backwards = random.integer(0, 5) == 0;
    axes.push_back(static_cast<std::int64_t>(axis));
    starts.push_back(is_backwards ? end - 1 : begin);
    ends.push_back(is_backwards ? begin - 1 - shape[axis] : end);
    steps.push_back((is_backwards ? -1 : 1) * random.integer(1, random.integer(0, 3) == 0 ? 3 : 1));
  }
  return {{"starts", starts}, {"ends", ends}, {"axes", axes}, {"steps", steps}};
}

// What follows a convolution is computed in the blocked layout, to the bits that it has alone.
TEST(Kernels, TheBlockedLayoutChangesNoBit) {
  Random random(13);
  for (int i = 0; i < 200; ++i) {
    const std::size_t rank = random.integer(0, 3) == 0 ? 3 : 2;
    const RandomWindow window(random, rank, true);
    const std::int64_t channels = random.integer(1, 40), batch = random.integer(1, 2);
    std::vector<std::int64_t> dims{batch, channels};
    dims.insert(dims.end(), window.input.begin(), window.input.end());
    const Tensor x = random_tensor(random, Shape(dims));
    std::vector<std::int64_t> kernel{channels, channels};
    kernel.resize(2 + rank, 1);
    GraphBuilder builder("blocked");
    const ValueId input = *builder.add_input("x", x.type());
    const ValueId weights = *builder.add_constant("w", random_tensor(random, Shape(kernel)));
    const ValueId conv = *builder.add("conv", OpType::kConv, {}, {input, weights});
    const ValueId other = *builder.add("other", OpType::kConv, {}, {conv, weights});
    Attributes pool{{"kernel_shape", window.kernel},
                    {"strides", window.strides},
                    {"pads", window.pads},
                    {"ceil_mode", random.integer(0, 1)}};
    pool.set("dilations", window.dilations);
    const std::int64_t kind = random.integer(0, 8);
    Expected<ValueId> last = fail(ErrorCode::kInvalid, "no node");
    if (kind == 0) last = builder.add("y", OpType::kMaxPool, pool, {conv});
    if (kind == 1) {
      pool.set("count_include_pad", random.integer(0, 1));
      last = builder.add("y", OpType::kAveragePool, pool, {conv});
    }
    if (kind == 2) last = builder.add("y", OpType::kGlobalAveragePool, {}, {conv});
    if (kind == 3) last = builder.add("y", OpType::kGlobalMaxPool, {}, {conv});
    if (kind == 4) last = builder.add("y", OpType::kConcat, {{"axis", std::int64_t{1}}}, {conv, other});
    if (kind == 5) last = builder.add("y", OpType::kMul, {}, {conv, other});
    if (kind == 6) last = builder.add("y", OpType::kMax, {}, {conv, other});
    if (kind == 7) last = builder.add("y", OpType::kTanh, {}, {other});
    if (kind == 8) last = builder.add("y", OpType::kSlice, random_slice(random, builder.value(conv).shape()), {conv});
    ASSERT_TRUE(last.has_value()) << last.error().message;
    const Graph graph = *std::move(builder).build({conv, other, *last});
    SCOPED_TRACE(to_text(graph));
    const auto whole = evaluate_once(graph, std::array{x});
    ASSERT_TRUE(whole.has_value()) << whole.error().message;
    Case alone{graph.nodes().back().op, graph.nodes().back().attributes, {}};
    for (const ValueId id : graph.nodes().back().inputs) alone.inputs.push_back((*whole)[id == conv ? 0 : 1]);
    const auto expected = evaluate_case(alone, {.threads = 2, .choices = {}, .reference = false}, false);
    EXPECT_TRUE(same_bits((*whole)[2], expected[0]));
  }
}

TEST(Kernels, GemmAgreesWithTheReference) {
  Random random(3);
  for (int i = 0; i < 200; ++i) {
    const std::int64_t m = random.integer(0, 2) == 0 ? random.integer(2, 40) : 1;
    const std::int64_t n = random.integer(1, 300);
    const std::int64_t k = random.integer(1, 300);
    const std::int64_t transpose_a = random.integer(0, 1);
    const std::int64_t transpose_b = random.integer(0, 1);
    Case c{OpType::kGemm,
           {{"transA", transpose_a},
            {"transB", transpose_b},
            {"alpha", random.uniform(0.5F, 2.0F)},
            {"beta", random.uniform(0.5F, 2.0F)}},
           {random_tensor(random, transpose_a != 0 ? Shape{k, m} : Shape{m, k}),
            random_tensor(random, transpose_b != 0 ? Shape{n, k} : Shape{k, n})}};
    const std::int64_t kind = random.integer(0, 4);
    if (kind == 0) c.inputs.push_back(random_tensor(random, Shape{n}));
    if (kind == 1) c.inputs.push_back(random_tensor(random, Shape{m, n}));
    if (kind == 2) c.inputs.push_back(random_tensor(random, Shape{m, 1}));
    if (kind == 3) c.inputs.push_back(random_tensor(random, Shape{}));
    expect_kernel_agrees(c);
  }
}

TEST(Kernels, MatMulAgreesWithTheReference) {
  Random random(4);
  for (int i = 0; i < 150; ++i) {
    const std::int64_t m = random.integer(1, 20);
    const std::int64_t n = random.integer(1, 40);
    const std::int64_t k = random.integer(1, 40);
    std::vector<std::int64_t> a;
    std::vector<std::int64_t> b;
    for (std::int64_t axis = random.integer(0, 2); axis > 0; --axis) {
      const std::int64_t extent = random.integer(1, 3);
      a.push_back(random.integer(0, 2) == 0 ? 1 : extent);
      b.push_back(random.integer(0, 2) == 0 ? 1 : extent);
    }
    if (random.integer(0, 2) == 0) b.clear();
    const std::int64_t kind = random.integer(0, 5);
    if (kind != 0) a.push_back(m);
    a.push_back(k);
    b.push_back(k);
    if (kind != 1 || b.size() > 1) b.push_back(n);
    expect_kernel_agrees({OpType::kMatMul, {}, {random_tensor(random, Shape(a)), random_tensor(random, Shape(b))}});
  }
}

TEST(Kernels, PoolsAgreeWithTheReference) {
  Random random(5);
  for (int i = 0; i < 300; ++i) {
    const auto rank = static_cast<std::size_t>(random.integer(1, 3));
    const RandomWindow window(random, rank, true);
    std::vector<std::int64_t> x{random.integer(1, 2), random.integer(1, 9)};
    x.insert(x.end(), window.input.begin(), window.input.end());
    Attributes attributes{{"kernel_shape", window.kernel},
                          {"strides", window.strides},
                          {"dilations", window.dilations},
                          {"pads", window.pads},
                          {"ceil_mode", random.integer(0, 1)}};
    const OpType op = random.integer(0, 1) == 0 ? OpType::kMaxPool : OpType::kAveragePool;
    if (op == OpType::kAveragePool) attributes.set("count_include_pad", random.integer(0, 1));
    expect_kernel_agrees({op, attributes, {random_tensor(random, Shape(x))}});
    const OpType global = random.integer(0, 1) == 0 ? OpType::kGlobalMaxPool : OpType::kGlobalAveragePool;
    expect_kernel_agrees({global, {}, {random_tensor(random, Shape(x))}});
  }
}

Attributes random_unary_attributes(Random& random, OpType op) {
  switch (op) {
    case OpType::kClip: return {{"min", random.uniform(-2.0F, 0.0F)}, {"max", random.uniform(0.0F, 6.0F)}};
    case OpType::kElu:
    case OpType::kLeakyRelu: return {{"alpha", random.uniform(0.0F, 2.0F)}};
    case OpType::kHardSigmoid: return {{"alpha", 0.2F}, {"beta", random.uniform(0.3F, 0.7F)}};
    default: return {};
  }
}

TEST(Kernels, TheLargestOfMinusInfinitiesIsMinusInfinity) {
  const float lowest = -std::numeric_limits<float>::infinity();
  const Tensor x = Tensor::floats(Shape{1, 1, 2, 20}, std::vector<float>(40, lowest));
  for (const Case& c : {Case{OpType::kMaxPool, {{"kernel_shape", Ints{2, 3}}}, {x}},
                        Case{OpType::kGlobalMaxPool, {}, {x}}, Case{OpType::kReduceMax, {{"axes", Ints{3}}}, {x}}}) {
    for (const bool reference : {false, true}) {
      const std::vector<Tensor> outputs =
          evaluate_case(c, {.threads = 1, .choices = {}, .reference = reference}, false);
      ASSERT_EQ(outputs.size(), 1U);
      for (const float y : outputs[0].as<float>()) EXPECT_EQ(y, lowest) << describe(c);
    }
  }
}

// A small model can name any stride, dilation and padding: scratch memory must not follow them.
TEST(Kernels, HugeWindowsNeedLittleScratch) {
  Random random(17);
  const std::int64_t huge = std::int64_t{1} << 30;
  const Tensor x = random_tensor(random, Shape{1, 2, 3, 3});
  const Attributes window{{"dilations", Ints{huge, huge}}, {"pads", Ints(4, huge / 2)}};
  Attributes depthwise = window;
  depthwise.set("group", std::int64_t{2});
  Attributes pool = window;
  pool.set("kernel_shape", Ints{2, 2});
  for (const Case& c : {Case{OpType::kConv,
                             {{"group", std::int64_t{2}}, {"strides", Ints{huge, huge}}},
                             {x, random_tensor(random, Shape{2, 1, 1, 1})}},
                        Case{OpType::kConv, depthwise, {x, random_tensor(random, Shape{2, 1, 2, 2})}},
                        Case{OpType::kMaxPool, pool, {x}}, Case{OpType::kAveragePool, pool, {x}}}) {
    const auto graph = graph_of(c, true);
    ASSERT_TRUE(graph.has_value()) << graph.error().message;
    const auto session = Session::create(*graph, {});
    ASSERT_TRUE(session.has_value()) << session.error().message;
    EXPECT_LE((*session)->workspace_bytes(), std::size_t{1} << 26) << describe(c);
    expect_kernel_agrees(c);
  }
}

TEST(Kernels, UnaryAgreesWithTheReference) {
  Random random(6);
  for (const Operator& definition : all_operators()) {
    if (!is_unary(definition.type)) continue;
    for (int i = 0; i < 12; ++i) {
      const bool positive = definition.type == OpType::kSqrt;
      const float reach = i % 3 == 0 ? 80.0F : 4.0F;
      const Shape shape = i % 4 == 3 ? Shape{40000} : Shape{random.integer(1, 3), random.integer(1, 70)};
      expect_kernel_agrees({definition.type,
                            random_unary_attributes(random, definition.type),
                            {random_tensor(random, shape, positive ? 0.0F : -reach, reach)}});
    }
  }
}

TEST(Kernels, UnaryKeepsNonFiniteNumbers) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> values{kInf, -kInf, kNan, 0.0F, -0.0F, 88.7F, -87.3F, 100.0F, -110.0F};
  for (const Operator& definition : all_operators()) {
    if (!is_unary(definition.type) || definition.type == OpType::kHardSwish) continue;
    for (const float value : values) {
      const std::vector<float> many(33, value);
      expect_kernel_agrees({definition.type, {}, {Tensor::floats(Shape{33}, many)}});
    }
  }
}

// Two shapes that broadcast to each other.
std::pair<Shape, Shape> random_broadcast(Random& random) {
  std::vector<std::int64_t> a;
  std::vector<std::int64_t> b;
  for (std::int64_t axis = random.integer(0, 4); axis > 0; --axis) {
    const std::int64_t extent = random.integer(1, 12);
    a.push_back(random.integer(0, 3) == 0 ? 1 : extent);
    b.push_back(random.integer(0, 3) == 0 ? 1 : extent);
  }
  const std::int64_t drop = random.integer(0, static_cast<std::int64_t>(b.size()));
  if (random.integer(0, 1) == 0) b.erase(b.begin(), b.begin() + drop);
  return {Shape(a), Shape(b)};
}

TEST(Kernels, BinaryAgreesWithTheReference) {
  Random random(7);
  for (int i = 0; i < 400; ++i) {
    const OpType op = std::array{OpType::kAdd, OpType::kSub, OpType::kMul, OpType::kDiv,
                                 OpType::kPow}[static_cast<std::size_t>(random.integer(0, 4))];
    auto [a, b] = random_broadcast(random);
    if (i % 20 == 0) a = b = Shape{3, 20000};
    const float low = op == OpType::kDiv || op == OpType::kPow ? 0.5F : -2.0F;
    expect_kernel_agrees({op, {}, {random_tensor(random, a, low, 2.0F), random_tensor(random, b, low, 2.0F)}});
  }
  for (int i = 0; i < 20; ++i) {
    const std::int64_t channels = random.integer(1, 8);
    expect_kernel_agrees({OpType::kPRelu,
                          {},
                          {random_tensor(random, Shape{2, channels, 5, random.integer(1, 9)}),
                           random_tensor(random, Shape{channels, 1, 1})}});
  }
}

TEST(Kernels, VariadicAgreesWithTheReference) {
  Random random(8);
  for (int i = 0; i < 150; ++i) {
    const OpType op = std::array{OpType::kMax, OpType::kMin, OpType::kSum,
                                 OpType::kMean}[static_cast<std::size_t>(random.integer(0, 3))];
    const auto [a, b] = random_broadcast(random);
    Case c{op, {}, {random_tensor(random, a)}};
    for (std::int64_t more = random.integer(0, 3); more > 0; --more) {
      c.inputs.push_back(random_tensor(random, more % 2 == 0 ? a : b));
    }
    expect_kernel_agrees(c);
  }
}

TEST(Kernels, NormalizationsAgreeWithTheReference) {
  Random random(9);
  for (int i = 0; i < 100; ++i) {
    const std::int64_t channels = random.integer(1, 20);
    std::vector<std::int64_t> dims{random.integer(1, 2), channels};
    for (std::int64_t axis = random.integer(0, 3); axis > 0; --axis) dims.push_back(random.integer(1, 30));
    const Tensor x = random_tensor(random, Shape(dims), -3.0F, 3.0F);
    const Shape c{channels};
    expect_kernel_agrees({OpType::kBatchNormalization,
                          {{"epsilon", 1e-3F}},
                          {x, random_tensor(random, c), random_tensor(random, c), random_tensor(random, c),
                           random_tensor(random, c, 0.1F, 2.0F)}});
    const float beta = random.integer(0, 1) == 0 ? 0.75F : 0.6F;
    if (dims.size() > 2) {
      expect_kernel_agrees(
          {OpType::kLrn, {{"size", random.integer(1, 6)}, {"alpha", 0.1F}, {"beta", beta}, {"bias", 1.5F}}, {x}});
    }
    const std::int64_t axis = random.integer(0, static_cast<std::int64_t>(dims.size()) - 1);
    expect_kernel_agrees({OpType::kSoftmax, {{"axis", axis}}, {x}});
    expect_kernel_agrees({OpType::kLogSoftmax, {{"axis", axis}}, {x}});
  }
}

}  // namespace
}  // namespace onnx_split::test
