#include <functional>
#include <limits>
#include <map>

#include "graph/ops/binary.h"
#include "graph/ops/broadcast.h"
#include "graph/ops/cast.h"
#include "graph/ops/unary.h"
#include "graph/ops/variadic.h"
#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The formulas of the ONNX specification, in double and without this project's code.
const std::map<OpType, std::function<double(double)>> kFormulas = {
    {OpType::kAbs, [](double x) { return x < 0 ? -x : x; }},
    {OpType::kClip, [](double x) { return x; }},
    {OpType::kElu, [](double x) { return x < 0 ? std::exp(x) - 1 : x; }},
    {OpType::kExp, [](double x) { return std::exp(x); }},
    {OpType::kHardSigmoid, [](double x) { return std::max(0.0, std::min(1.0, 0.2 * x + 0.5)); }},
    {OpType::kHardSwish, [](double x) { return x * std::max(0.0, std::min(1.0, x / 6 + 0.5)); }},
    {OpType::kLeakyRelu, [](double x) { return x < 0 ? 0.01 * x : x; }},
    {OpType::kNeg, [](double x) { return -x; }},
    {OpType::kRelu, [](double x) { return std::max(0.0, x); }},
    {OpType::kSelu, [](double x) { return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * (std::exp(x) - 1)); }},
    {OpType::kSigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }},
    {OpType::kSoftplus, [](double x) { return std::log(1 + std::exp(x)); }},
    {OpType::kSqrt, [](double x) { return std::sqrt(x); }},
    {OpType::kTanh, [](double x) { return std::tanh(x); }},
};

TEST(Unary, EveryOperatorFollowsItsFormula) {
  for (const Operator& definition : all_operators()) {
    ASSERT_EQ(is_unary(definition.type), kFormulas.contains(definition.type)) << definition.name;
    if (!is_unary(definition.type)) continue;
    Random random(31);
    std::vector<float> x(200);
    for (float& element : x) element = random.uniform(definition.type == OpType::kSqrt ? 0.0F : -8.0F, 8.0F);
    const Tensor y = apply(definition.type, {}, {floats(Shape{200}, x)});
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = kFormulas.at(definition.type)(static_cast<double>(x[i]));
      EXPECT_NEAR(y.as<float>()[i], expected, 1e-6 * std::max(1.0, std::fabs(expected))) << definition.name << x[i];
    }
  }
}

TEST(Unary, ReadsItsAttributes) {
  const Tensor x = floats(Shape{3}, {-2, 0.5F, 9});
  const auto result = [&](OpType op, const Attributes& attributes) { return to_vector(apply(op, attributes, {x})); };
  EXPECT_EQ(result(OpType::kClip, {{"min", 0.0F}, {"max", 6.0F}}), (std::vector<float>{0, 0.5F, 6}));
  EXPECT_EQ(result(OpType::kClip, {{"min", 7.0F}, {"max", 6.0F}}), (std::vector<float>{6, 6, 6}));
  EXPECT_EQ(result(OpType::kLeakyRelu, {{"alpha", 0.5F}}), (std::vector<float>{-1, 0.5F, 9}));
  EXPECT_EQ(result(OpType::kHardSigmoid, {{"alpha", 0.5F}, {"beta", 0.25F}}), (std::vector<float>{0, 0.5F, 1}));
  EXPECT_EQ(error_of(OpType::kClip, {{"min", std::int64_t{0}}}, {x}),
            "Clip: attribute \"min\": expected a float, found an integer");
}

TEST(Unary, KeepsNansAndSurvivesExtremes) {
  for (const auto& [op, formula] : kFormulas) {
    EXPECT_TRUE(std::isnan(apply(op, {}, {Tensor::scalar(kNan)}).as<float>()[0])) << op_name(op);
  }
  EXPECT_EQ(apply(OpType::kSigmoid, {}, {Tensor::scalar(-1000)}).as<float>()[0], 0.0F);
  EXPECT_EQ(apply(OpType::kSoftplus, {}, {Tensor::scalar(1000)}).as<float>()[0], 1000.0F);
  const Tensor lowest = ints(Shape{2}, {kIntMin, -3});
  EXPECT_EQ(to_vector<std::int64_t>(apply(OpType::kAbs, {}, {lowest})), (std::vector<std::int64_t>{kIntMin, 3}));
  EXPECT_EQ(to_vector<std::int64_t>(apply(OpType::kNeg, {}, {lowest})), (std::vector<std::int64_t>{kIntMin, 3}));
  EXPECT_EQ(error_of(OpType::kRelu, {}, {lowest}), "Relu: input expects float32, found int64[2]");
}

Shape random_broadcastable(Random& random, const Shape& whole) {
  Ints dims;
  for (auto axis = static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(whole.rank())));
       axis < whole.rank(); ++axis) {
    dims.push_back(random.integer(0, 1) == 0 ? 1 : whole[axis]);
  }
  return Shape(dims);
}

TEST(Binary, BroadcastsAsExpandDoes) {
  Random random(32);
  for (int round = 0; round < 200; ++round) {
    Ints dims(static_cast<std::size_t>(random.integer(0, 4)));
    for (std::int64_t& extent : dims) extent = random.integer(0, 3);
    const Shape whole(dims);
    const Tensor a = random_tensor(random, random_broadcastable(random, whole));
    const Tensor b = random_tensor(random, random_broadcastable(random, whole));
    const Shape together = must(broadcast(a.shape(), b.shape()));
    const Attributes shape{{"shape", together.vector()}};
    const std::vector<Tensor> expanded{apply(OpType::kExpand, shape, {a}), apply(OpType::kExpand, shape, {b})};
    for (const OpType op : {OpType::kAdd, OpType::kSub, OpType::kMul, OpType::kDiv, OpType::kMax, OpType::kMin,
                            OpType::kMean, OpType::kSum}) {
      const Tensor y = apply(op, {}, {a, b});
      expect_same(y, apply(op, {}, expanded));
      EXPECT_EQ(y.shape(), together);
    }
  }
}

TEST(Binary, ComputesElementByElement) {
  const Tensor a = floats(Shape{4}, {1, -2, 3, -4});
  const Tensor b = floats(Shape{4}, {4, 3, -2, 0.5F});
  const auto result = [&](OpType op) { return to_vector(apply(op, {}, {a, b})); };
  EXPECT_EQ(result(OpType::kAdd), (std::vector<float>{5, 1, 1, -3.5F}));
  EXPECT_EQ(result(OpType::kSub), (std::vector<float>{-3, -5, 5, -4.5F}));
  EXPECT_EQ(result(OpType::kMul), (std::vector<float>{4, -6, -6, -2}));
  EXPECT_EQ(result(OpType::kDiv), (std::vector<float>{0.25F, -2.0F / 3.0F, -1.5F, -8}));
  EXPECT_EQ(result(OpType::kPRelu), (std::vector<float>{1, -6, 3, -2}));
  EXPECT_EQ(to_vector(apply(OpType::kPow, {}, {a, ints(Shape{}, {2})})), (std::vector<float>{1, 4, 9, 16}));
  EXPECT_EQ(to_vector(apply(OpType::kPow, {}, {floats(Shape{2}, {4, 9}), Tensor::scalar(0.5F)})),
            (std::vector<float>{2, 3}));
}

TEST(Binary, IntegersWrapAndTruncate) {
  const auto result = [](OpType op, std::int64_t a, std::int64_t b) {
    return apply(op, {}, {ints(Shape{}, {a}), ints(Shape{}, {b})}).as<std::int64_t>()[0];
  };
  EXPECT_EQ(result(OpType::kDiv, -7, 2), -3);
  EXPECT_EQ(result(OpType::kDiv, kIntMin, -1), kIntMin);
  EXPECT_EQ(result(OpType::kAdd, std::numeric_limits<std::int64_t>::max(), 1), kIntMin);
  EXPECT_EQ(result(OpType::kMul, kIntMin, 2), 0);
  EXPECT_EQ(error_of(OpType::kDiv, {}, {ints(Shape{2}, {1, 2}), ints(Shape{2}, {1, 0})}),
            "Div: an integer is divided by zero");
  EXPECT_EQ(error_of(OpType::kDiv, {}, {ints(Shape{0}, {}), ints(Shape{1}, {0})}), "");
}

TEST(Binary, RefusesWithWhatWasExpected) {
  const Tensor f = counting(Shape{2, 3});
  const Tensor i = ints(Shape{2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(error_of(OpType::kAdd, {}, {f, i}), "Add: input 1, as input 0, expects float32, found int64[2,3]");
  EXPECT_EQ(error_of(OpType::kAdd, {}, {f, counting(Shape{4})}), "Add: shapes [2,3] and [4] don't broadcast");
  EXPECT_EQ(error_of(OpType::kMul, {}, {f}), "Mul: expected 2 inputs, found 1");
  EXPECT_EQ(error_of(OpType::kPRelu, {}, {counting(Shape{3}), f}),
            "PRelu: slope expects a shape that broadcasts to [3], found [2,3]");
  EXPECT_EQ(error_of(OpType::kPow, {}, {i, f}), "Pow: base expects float32, found int64[2,3]");
  EXPECT_EQ(error_of(OpType::kSum, {}, {f, i}), "Sum: input 1 expects float32, found int64[2,3]");
  EXPECT_EQ(error_of(OpType::kMax, {}, {}), "Max: expected at least 1 input, found 0");
}

TEST(Variadic, CombinesManyInputs) {
  const std::vector<Tensor> inputs{floats(Shape{3}, {1, 5, 2}), Tensor::scalar(3), floats(Shape{3}, {4, -1, 2})};
  const auto result = [&](OpType op) { return to_vector(apply(op, {}, inputs)); };
  EXPECT_EQ(result(OpType::kMax), (std::vector<float>{4, 5, 3}));
  EXPECT_EQ(result(OpType::kMin), (std::vector<float>{1, -1, 2}));
  EXPECT_EQ(result(OpType::kSum), (std::vector<float>{8, 7, 7}));
  EXPECT_EQ(result(OpType::kMean), (std::vector<float>{8.0F / 3, 7.0F / 3, 7.0F / 3}));
  expect_same(apply(OpType::kMean, {}, {inputs[0]}), inputs[0]);
  EXPECT_EQ(to_vector<std::int64_t>(apply(OpType::kMax, {}, {ints(Shape{2}, {1, 9}), ints(Shape{}, {4})})),
            (std::vector<std::int64_t>{4, 9}));
  EXPECT_TRUE(std::isnan(apply(OpType::kMax, {}, {Tensor::scalar(kNan), Tensor::scalar(1)}).as<float>()[0]));
  EXPECT_TRUE(std::isnan(apply(OpType::kMin, {}, {Tensor::scalar(1), Tensor::scalar(kNan)}).as<float>()[0]));
}

TEST(Cast, ConvertsAmongAllTypes) {
  const auto cast = [](const Tensor& x, const char* to) {
    return apply(OpType::kCast, {{"to", std::string(to)}}, {x});
  };
  const Tensor x = floats(Shape{6}, {-1.9F, 0, 2.9F, 1e30F, -1e30F, kNan});
  EXPECT_EQ(to_vector<std::int64_t>(cast(x, "int64")),
            (std::vector<std::int64_t>{-1, 0, 2, std::numeric_limits<std::int64_t>::max(), kIntMin, 0}));
  EXPECT_EQ(to_vector<bool>(cast(x, "bool")), (std::vector<bool>{true, false, true, true, true, true}));
  EXPECT_EQ(to_vector(cast(cast(x, "bool"), "float32")), (std::vector<float>{1, 0, 1, 1, 1, 1}));
  EXPECT_EQ(to_vector(cast(ints(Shape{2}, {-3, 7}), "float32")), (std::vector<float>{-3, 7}));
  EXPECT_THAT(error_of(OpType::kCast, {{"to", std::string("float16")}}, {x}),
              testing::HasSubstr("to expects float32, int64 or bool, found \"float16\""));
  EXPECT_THAT(error_of(OpType::kCast, {}, {x}), testing::HasSubstr("attribute \"to\" is missing"));
}

}  // namespace
}  // namespace onnx_split
