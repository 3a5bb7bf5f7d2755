#include "graph/ops/batch_norm.h"
#include "graph/ops/lrn.h"
#include "graph/ops/softmax.h"
#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

TEST(Softmax, SumsToOneAndIgnoresAConstant) {
  Random random(51);
  const Tensor x = random_tensor(random, Shape{2, 5, 3});
  for (std::int64_t axis = 0; axis < 3; ++axis) {
    const Attributes along{{"axis", axis}};
    const Tensor y = apply(OpType::kSoftmax, along, {x});
    for (const float sum : to_vector(apply(OpType::kReduceSum, {{"axes", Ints{axis}}}, {y})))
      EXPECT_NEAR(sum, 1.0F, 1e-6);
    expect_near(apply(OpType::kSoftmax, along, {apply(OpType::kAdd, {}, {x, Tensor::scalar(0.5F)})}), y);
    expect_near(apply(OpType::kExp, {}, {apply(OpType::kLogSoftmax, along, {x})}), y);
  }
}

TEST(Softmax, SurvivesLargeNumbersAndEmptyTensors) {
  EXPECT_EQ(to_vector(apply(OpType::kSoftmax, {}, {floats(Shape{2}, {1000, -1000})})), (std::vector<float>{1, 0}));
  EXPECT_EQ(to_vector(apply(OpType::kLogSoftmax, {}, {floats(Shape{2}, {0, -1000})})), (std::vector<float>{0, -1000}));
  EXPECT_EQ(apply(OpType::kSoftmax, {}, {counting(Shape{2, 0})}).shape(), (Shape{2, 0}));
  EXPECT_EQ(error_of(OpType::kSoftmax, {{"axis", std::int64_t{2}}}, {counting(Shape{2, 2})}),
            "Softmax: axis 2 is outside a tensor of rank 2");
}

TEST(BatchNormalization, EqualsItsFormulaInOtherOperators) {
  Random random(52);
  const Tensor x = random_tensor(random, Shape{2, 3, 4, 2});
  std::vector<Tensor> columns;
  std::vector<Tensor> inputs{x};
  for (int i = 0; i < 4; ++i) {
    inputs.push_back(i < 3 ? random_tensor(random, Shape{3})
                           : apply(OpType::kAbs, {}, {random_tensor(random, Shape{3})}));
    columns.push_back(apply(OpType::kReshape, {{"shape", Ints{3, 1, 1}}}, {inputs.back()}));
  }
  const Tensor deviation = apply(OpType::kSqrt, {}, {apply(OpType::kAdd, {}, {columns[3], Tensor::scalar(0.01F)})});
  const Tensor centred = apply(OpType::kSub, {}, {x, columns[2]});
  const Tensor normal = apply(OpType::kDiv, {}, {centred, deviation});
  const Tensor expected = apply(OpType::kAdd, {}, {apply(OpType::kMul, {}, {normal, columns[0]}), columns[1]});
  expect_near(apply(OpType::kBatchNormalization, {{"epsilon", 0.01F}}, inputs), expected);
}

TEST(BatchNormalization, RefusesWithWhatWasExpected) {
  const Tensor x = counting(Shape{1, 3, 2});
  const Tensor p = counting(Shape{3});
  EXPECT_EQ(error_of(OpType::kBatchNormalization, {}, {x, p, p, counting(Shape{4}), p}),
            "BatchNormalization: mean expects shape [3], found [4]");
  EXPECT_EQ(error_of(OpType::kBatchNormalization, {}, {x, p}), "BatchNormalization: expected 5 inputs, found 2");
  EXPECT_EQ(error_of(OpType::kBatchNormalization, {}, {Tensor::scalar(1), p, p, p, p}),
            "BatchNormalization: input expects shape [N,C,…], found a scalar");
}

TEST(Lrn, EqualsItsFormula) {
  Random random(53);
  for (std::int64_t size = 1; size < 9; ++size) {
    const std::int64_t channels = 6;
    const Tensor x = random_tensor(random, Shape{2, channels, 2, 3});
    const Attributes attributes{{"size", size}, {"alpha", 0.5F}, {"beta", 0.6F}, {"bias", 1.5F}};
    const Tensor y = apply(OpType::kLrn, attributes, {x});
    for (std::int64_t n = 0; n < 2; ++n) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const auto at = [&](std::int64_t channel) {
          return static_cast<std::size_t>((n * channels + channel) * 6 + 1);
        };
        double squares = 0.0;
        for (std::int64_t other = 0; other < channels; ++other) {
          const bool near = other >= c - (size - 1) / 2 && other <= c + size / 2;
          if (near) squares += std::pow(static_cast<double>(x.as<float>()[at(other)]), 2);
        }
        const double expected =
            static_cast<double>(x.as<float>()[at(c)]) / std::pow(1.5 + 0.5 / static_cast<double>(size) * squares, 0.6F);
        EXPECT_NEAR(y.as<float>()[at(c)], expected, 1e-6);
      }
    }
  }
}

TEST(Lrn, RefusesWithWhatWasExpected) {
  EXPECT_EQ(error_of(OpType::kLrn, {}, {counting(Shape{1, 2})}), "LRN: size expects at least 1, found 0");
  EXPECT_EQ(error_of(OpType::kLrn, {{"size", std::int64_t{3}}}, {counting(Shape{2})}),
            "LRN: input expects shape [N,C,…], found [2]");
}

}  // namespace
}  // namespace onnx_split
