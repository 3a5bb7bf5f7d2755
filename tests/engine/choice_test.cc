#include "engine/choice.h"

#include "tests/engine/compare.h"

namespace onnx_split::test {
namespace {

Case small_conv(std::int64_t kernel, std::int64_t group) {
  Random random(1);
  return {OpType::kConv,
          {{"group", group}, {"pads", Ints(4, kernel / 2)}},
          {random_tensor(random, Shape{1, 8, 13, 17}), random_tensor(random, Shape{8, 8 / group, kernel, kernel}),
           random_tensor(random, Shape{8})}};
}

std::string error_of(const Case& c, const std::string& node, const std::string& choice) {
  const auto graph = graph_of(c, true);
  EXPECT_TRUE(graph.has_value());
  const auto session = Session::create(*graph, {.threads = 1, .choices = {{node, choice}}, .reference = false});
  return session ? "" : session.error().message;
}

TEST(Choice, TextAndChoiceAreInverse) {
  const Case c = small_conv(3, 1);
  const auto graph = graph_of(c, true);
  ASSERT_TRUE(graph.has_value());
  const std::string text = choose(*graph, graph->nodes().front(), {.core = "SkylakeX"});
  const auto types = input_types(*graph, graph->nodes().front());
  const auto parsed = parse_choice(OpType::kConv, {c.attributes, types, 1}, text);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  EXPECT_EQ(to_text(*parsed), text);
  EXPECT_EQ(text, "direct");
}

TEST(Choice, TheRuleKnowsItsAlgorithms) {
  const auto rule = [](const Case& c) {
    const auto graph = graph_of(c, true);
    return choose(*graph, graph->nodes().front(), {.core = "SkylakeX"});
  };
  EXPECT_EQ(rule(small_conv(1, 1)), "direct");
  EXPECT_EQ(rule(small_conv(3, 8)), "depthwise");
  EXPECT_EQ(rule(small_conv(3, 2)), "direct");
  Random random(1);
  const Tensor weights = random_tensor(random, Shape{5, 7});
  EXPECT_EQ(rule({OpType::kGemm, {}, {random_tensor(random, Shape{1, 5}), weights}}), "gemv");
  EXPECT_EQ(rule({OpType::kGemm, {}, {random_tensor(random, Shape{2, 5}), weights}}).substr(0, 6), "sgemm ");
}

TEST(Choice, TheRuleKeepsToWhatIsAllowedWherePossible) {
  using Algorithm = Choice::Algorithm;
  const auto rule = [](const Case& c, std::vector<Algorithm> allowed, bool half) {
    const auto graph = graph_of(c, true);
    return choose(*graph, graph->nodes().front(),
                  {.core = "SkylakeX", .allowed = std::move(allowed), .half_weights = half});
  };
  Random random(1);
  const Case three{
      OpType::kConv, {}, {random_tensor(random, Shape{1, 16, 9, 9}), random_tensor(random, Shape{8, 16, 3, 3})}};
  const Case one = small_conv(1, 1), depthwise = small_conv(3, 8);
  EXPECT_EQ(rule(three, {Algorithm::kWinograd4}, false), "winograd4");
  EXPECT_EQ(rule(one, {Algorithm::kWinograd4}, false), "direct");  // it can't be
  EXPECT_EQ(rule(three, openblas_algorithms(), false).substr(0, 7), "im2col ");
  EXPECT_EQ(rule(one, openblas_algorithms(), false).substr(0, 11), "direct_1x1 ");
  EXPECT_EQ(rule(depthwise, {Algorithm::kDirect}, false), "direct");
  EXPECT_EQ(rule(three, {Algorithm::kWinograd2}, true), "winograd2 weights=fp16");
  EXPECT_EQ(rule(one, {}, true), "direct weights=fp16");
  EXPECT_EQ(rule(depthwise, {}, true), "depthwise");  // its weights are few
  EXPECT_EQ(rule(one, openblas_algorithms(), true).substr(0, 11), "direct_1x1 ");
  EXPECT_EQ(rule(one, openblas_algorithms(), true).find("fp16"), std::string::npos);  // OpenBLAS reads floats
  const Case large{
      OpType::kConv, {}, {random_tensor(random, Shape{1, 64, 58, 58}), random_tensor(random, Shape{64, 64, 3, 3})}};
  EXPECT_EQ(rule(large, {}, false), "winograd4");
  EXPECT_EQ(rule(large, {}, true), "winograd2 weights=fp16");
  EXPECT_EQ(rule(large, {Algorithm::kGemv}, true), "winograd2 weights=fp16");  // gemv can't: as if nothing were said
  const Case product{OpType::kGemm, {}, {random_tensor(random, Shape{1, 5}), random_tensor(random, Shape{5, 7})}};
  EXPECT_EQ(rule(product, {}, true), "gemv weights=fp16");
  EXPECT_EQ(rule(product, {Algorithm::kSgemm}, false).substr(0, 6), "sgemm ");
}

TEST(Choice, LeanAlgorithmsAreNeverWinograd) {
  for (const Choice::Algorithm algorithm : lean_algorithms()) {
    EXPECT_NE(to_text({.algorithm = algorithm}).substr(0, 4), "wino");
  }
}

TEST(Choice, AlgorithmsAreNamedWithCommasBetween) {
  const auto some = parse_algorithms("winograd2,depthwise");
  ASSERT_TRUE(some.has_value());
  EXPECT_EQ(*some, (std::vector{Choice::Algorithm::kWinograd2, Choice::Algorithm::kDepthwise}));
  EXPECT_TRUE(parse_algorithms("")->empty());
  for (const char* wrong : {"winograd", "direct,,gemv", "direct, gemv"}) {
    const auto parsed = parse_algorithms(wrong);
    ASSERT_FALSE(parsed.has_value()) << wrong;
    EXPECT_NE(parsed.error().message.find("winograd4"), std::string::npos) << parsed.error().message;
  }
  EXPECT_FALSE(parse_algorithms("direct,").has_value());
}

TEST(Choice, FloatWeightsAreTheSameChoiceWithoutHalfOnes) {
  EXPECT_EQ(with_float_weights({{"a", "direct weights=fp16"}, {"b", "gemv"}, {"c", "winograd4 weights=fp16"}}),
            (KernelChoices{{"a", "direct"}, {"b", "gemv"}, {"c", "winograd4"}}));
}

TEST(Choice, TilesFitTheCacheOfTheCore) {
  Random random(1);
  const Case c{OpType::kConv,
               {{"pads", Ints(4, 1)}},
               {random_tensor(random, Shape{1, 64, 56, 56}), random_tensor(random, Shape{64, 64, 3, 3})}};
  const auto graph = graph_of(c, true);
  const Node& node = graph->nodes().front();
  const auto types = input_types(*graph, node);
  for (const auto& [core, bytes] : {std::pair{"SkylakeX", 1 << 20}, {"neoversen1", 1 << 18}, {"CORTEXA72", 1 << 18}}) {
    const Choice choice =
        choose(OpType::kConv, {node.attributes, types, 1}, {.core = core, .allowed = openblas_algorithms()});
    EXPECT_EQ(choice.algorithm, Choice::Algorithm::kIm2col);
    EXPECT_LE(choice.tile * choice.depth * 4, bytes) << to_text(choice);
  }
}

TEST(Choice, EveryTilingGivesTheSameResultUpToRounding) {
  for (const std::int64_t kernel : {1, 3}) {
    for (const std::int64_t group : {1, 2, 8}) {
      const Case c = small_conv(kernel, group);
      const auto reference = evaluate_case(c, {.threads = 1, .choices = {}, .reference = true}, true);
      for (const char* choice : {"im2col tile=1 depth=1 rows=1", "im2col tile=50 depth=5 rows=3",
                                 "im2col tile=1000 depth=1000 rows=1000", "im2col tile=16 depth=72 rows=8"}) {
        SCOPED_TRACE(choice);
        const auto one = evaluate_case(c, {.threads = 1, .choices = {{"node", choice}}, .reference = false}, true);
        const auto four = evaluate_case(c, {.threads = 4, .choices = {{"node", choice}}, .reference = false}, true);
        ASSERT_EQ(one.size(), 1U);
        EXPECT_LE(distance(one[0], reference[0]), 1e-5);
        EXPECT_TRUE(same_bits(one, four));
      }
    }
  }
}

TEST(Choice, SessionsReportAndObeyChoices) {
  const auto graph = graph_of(small_conv(3, 1), true);
  ASSERT_TRUE(graph.has_value());
  const KernelChoices wanted{{"node", "im2col tile=50 depth=5 rows=3"}};
  const auto session = Session::create(*graph, {.threads = 1, .choices = wanted, .reference = false});
  ASSERT_TRUE(session.has_value());
  EXPECT_EQ((*session)->choices(), wanted);
  EXPECT_EQ((*session)->workspace_bytes(), 50 * 5 * sizeof(float) / 64 * 64 + 64);
}

TEST(Choice, ImpossibleOnesAreRefusedWithTheReason) {
  const Case c = small_conv(3, 1);
  EXPECT_NE(error_of(c, "nobody", "gemv").find("no node \"nobody\""), std::string::npos);
  for (const char* choice : {"",
                             "winograd",
                             "depthwise",
                             "direct_1x1 tile=1 rows=1",
                             "gemv",
                             "im2col",
                             "im2col tile=1 depth=1",
                             "im2col tile=0 depth=1 rows=1",
                             "im2col tile=1 depth=1 rows=-1",
                             "im2col tile=1 tile=1 depth=1 rows=1",
                             "im2col tile=1x depth=1 rows=1",
                             "im2col tile depth=1 rows=1",
                             "im2col tile=9999999999999999999999 depth=1 rows=1",
                             "im2col tile=16000000 depth=16000000 rows=1",
                             "im2col tile=1  depth=1 rows=1",
                             "depthwise tile=3",
                             "depthwise weights=fp16",
                             "direct weights=fp8",
                             "direct weights=",
                             "direct weights=fp16 weights=fp16",
                             "im2col tile=1 depth=1 rows=1 weights=fp16"}) {
    const std::string error = error_of(c, "node", choice);
    EXPECT_NE(error.find(fmt::format("choice \"{}\"", choice)), std::string::npos) << choice << ": " << error;
    EXPECT_NE(error.find("node \"node\" (Conv)"), std::string::npos) << choice << ": " << error;
  }
  Random random(1);
  const Case relu{OpType::kRelu, {}, {random_tensor(random, Shape{3})}};
  EXPECT_NE(error_of(relu, "node", "gemv").find("no choice"), std::string::npos);
}

}  // namespace
}  // namespace onnx_split::test
