#include "graph/ops/reduce.h"

#include <algorithm>

#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

TEST(Reduce, ManyAxesAreOneAfterTheOther) {
  Random random(61);
  for (int round = 0; round < 100; ++round) {
    const Tensor x = random_tensor(random, Shape{2, 3, 4, 2});
    Ints axes;
    for (std::int64_t axis = 0; axis < 4; ++axis) {
      if (random.integer(0, 1) == 1) axes.push_back(axis);
    }
    if (axes.empty()) axes.push_back(random.integer(0, 3));
    for (const OpType op : {OpType::kReduceMax, OpType::kReduceMean, OpType::kReduceSum}) {
      Tensor expected = x;
      for (const std::int64_t axis : axes) expected = apply(op, {{"axes", Ints{axis}}}, {expected});
      expect_near(apply(op, {{"axes", axes}}, {x}), expected);
      expect_near(apply(op, {{"axes", axes}, {"keepdims", std::int64_t{0}}}, {x}),
                  apply(OpType::kSqueeze, {{"axes", axes}}, {expected}));
    }
  }
}

TEST(Reduce, NoAxesAreAllAxes) {
  const Tensor x = counting(Shape{2, 3});
  EXPECT_EQ(to_vector(apply(OpType::kReduceSum, {}, {x})), (std::vector<float>{15}));
  EXPECT_EQ(apply(OpType::kReduceMean, {{"keepdims", std::int64_t{0}}}, {x}).shape(), Shape{});
  EXPECT_EQ(to_vector(apply(OpType::kReduceMax, {{"axes", Ints{-1}}}, {x})), (std::vector<float>{2, 5}));
}

TEST(Reduce, TakesIntegersAndWraps) {
  const Tensor x = ints(Shape{3}, {std::numeric_limits<std::int64_t>::max(), 1, 5});
  EXPECT_EQ(to_vector<std::int64_t>(apply(OpType::kReduceSum, {}, {x})),
            (std::vector<std::int64_t>{std::numeric_limits<std::int64_t>::min() + 5}));
  EXPECT_EQ(to_vector<std::int64_t>(apply(OpType::kReduceMax, {}, {x})),
            (std::vector<std::int64_t>{std::numeric_limits<std::int64_t>::max()}));
}

TEST(Reduce, OverNothing) {
  const Tensor x = counting(Shape{2, 0});
  EXPECT_EQ(to_vector(apply(OpType::kReduceSum, {{"axes", Ints{1}}}, {x})), (std::vector<float>{0, 0}));
  EXPECT_TRUE(std::isnan(apply(OpType::kReduceMean, {}, {x}).as<float>()[0]));
  EXPECT_EQ(error_of(OpType::kReduceMax, {}, {x}),
            "ReduceMax: input float32[2,0] has no elements to take the maximum of");
  EXPECT_EQ(apply(OpType::kReduceMax, {{"axes", Ints{0}}}, {x}).shape(), (Shape{1, 0}));
}

TEST(Reduce, RefusesWithWhatWasExpected) {
  const Tensor x = counting(Shape{2, 3});
  EXPECT_EQ(error_of(OpType::kReduceSum, {{"axes", Ints{0, -2}}}, {x}), "ReduceSum: axes name axis 0 twice");
  EXPECT_EQ(error_of(OpType::kReduceSum, {{"axes", Ints{2}}}, {x}), "ReduceSum: axis 2 is outside a tensor of rank 2");
  EXPECT_EQ(error_of(OpType::kReduceMean, {}, {ints(Shape{1}, {1})}),
            "ReduceMean: input expects float32, found int64[1]");
}

}  // namespace
}  // namespace onnx_split
