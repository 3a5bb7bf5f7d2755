#include "graph/ops/gemm.h"

#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

const Attributes kSwap{{"perm", Ints{1, 0}}};

TEST(Gemm, EqualsTransposeMatMulMulAdd) {
  Random random(21);
  for (int round = 0; round < 100; ++round) {
    const std::int64_t m = random.integer(1, 5), n = random.integer(1, 5), k = random.integer(1, 5);
    const bool ta = random.integer(0, 1) == 1, tb = random.integer(0, 1) == 1;
    const Tensor a = random_tensor(random, ta ? Shape{k, m} : Shape{m, k});
    const Tensor b = random_tensor(random, tb ? Shape{n, k} : Shape{k, n});
    const std::vector<Shape> c_shapes{Shape{}, Shape{1}, Shape{n}, Shape{1, n}, Shape{m, 1}, Shape{m, n}};
    const Tensor c = random_tensor(random, c_shapes[static_cast<std::size_t>(random.integer(0, 5))]);
    const float alpha = random.uniform(-2, 2), beta = random.uniform(-2, 2);
    const Attributes attributes{
        {"transA", std::int64_t{ta}}, {"transB", std::int64_t{tb}}, {"alpha", alpha}, {"beta", beta}};
    const Tensor left = ta ? apply(OpType::kTranspose, kSwap, {a}) : a;
    const Tensor right = tb ? apply(OpType::kTranspose, kSwap, {b}) : b;
    const Tensor product = apply(OpType::kMul, {}, {apply(OpType::kMatMul, {}, {left, right}), Tensor::scalar(alpha)});
    const Tensor addend = apply(OpType::kMul, {}, {c, Tensor::scalar(beta)});
    expect_near(apply(OpType::kGemm, attributes, {a, b, c}), apply(OpType::kAdd, {}, {product, addend}));
    expect_near(apply(OpType::kGemm, attributes, {a, b}), product);
  }
}

TEST(MatMul, BroadcastsItsBatchAsGemmsOneByOne) {
  Random random(22);
  const Tensor a = random_tensor(random, Shape{2, 1, 3, 4});
  const Tensor b = random_tensor(random, Shape{5, 4, 2});
  const Tensor y = apply(OpType::kMatMul, {}, {a, b});
  ASSERT_EQ(y.shape(), (Shape{2, 5, 3, 2}));
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 5; ++j) {
      const auto matrix = [](const Tensor& t, std::int64_t at, const Shape& shape) {
        const auto count = static_cast<std::size_t>(shape.elements());
        return Tensor::floats(shape, t.as<float>().subspan(static_cast<std::size_t>(at) * count, count));
      };
      expect_near(matrix(y, i * 5 + j, Shape{3, 2}),
                  apply(OpType::kGemm, {}, {matrix(a, i, Shape{3, 4}), matrix(b, j, Shape{4, 2})}));
    }
  }
}

TEST(MatMul, TakesVectorsAsNumPyDoes) {
  const Tensor v = floats(Shape{3}, {1, 2, 3});
  const Tensor m = counting(Shape{3, 2});
  EXPECT_EQ(apply(OpType::kMatMul, {}, {v, v}).shape(), Shape{});
  EXPECT_EQ(to_vector(apply(OpType::kMatMul, {}, {v, v})), (std::vector<float>{14}));
  EXPECT_EQ(to_vector(apply(OpType::kMatMul, {}, {v, m})), (std::vector<float>{16, 22}));
  const Tensor mv = apply(OpType::kMatMul, {}, {counting(Shape{2, 3}), v});
  EXPECT_EQ(mv.shape(), Shape{2});
  EXPECT_EQ(to_vector(mv), (std::vector<float>{8, 26}));
}

TEST(Gemm, AnEmptySumLeavesC) {
  const Tensor c = floats(Shape{2}, {5, 6});
  const Tensor y = apply(OpType::kGemm, {}, {counting(Shape{1, 0}), counting(Shape{0, 2}), c});
  EXPECT_EQ(to_vector(y), (std::vector<float>{5, 6}));
}

TEST(Gemm, RefusesWithWhatWasExpected) {
  const Tensor a = counting(Shape{2, 3});
  const Tensor b = counting(Shape{4, 5});
  EXPECT_EQ(error_of(OpType::kGemm, {}, {a, b}), "Gemm: B expects 4 input features, A has 3");
  EXPECT_EQ(error_of(OpType::kMatMul, {}, {a, b}), "MatMul: B expects 4 input features, A has 3");
  EXPECT_EQ(error_of(OpType::kGemm, {}, {a, counting(Shape{3})}), "Gemm: A and B expect rank 2, found [2,3] and [3]");
  EXPECT_EQ(error_of(OpType::kGemm, {}, {a, counting(Shape{3, 5}), counting(Shape{4})}),
            "Gemm: C expects a shape that broadcasts to [2,5], found [4]");
  EXPECT_EQ(error_of(OpType::kGemm, {{"alpha", std::int64_t{1}}}, {a, counting(Shape{3, 5})}),
            "Gemm: attribute \"alpha\": expected a float, found an integer");
  EXPECT_EQ(error_of(OpType::kMatMul, {}, {counting(Shape{2, 1, 3}), counting(Shape{3, 3, 1})}),
            "MatMul: batch axes: shapes [2] and [3] don't broadcast");
  EXPECT_EQ(error_of(OpType::kMatMul, {}, {Tensor::scalar(1), b}),
            "MatMul: A and B expect at least one axis, found [] and [4,5]");
}

}  // namespace
}  // namespace onnx_split
