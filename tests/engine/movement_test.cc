// The kernels that move, reduce and resize against the operators' references, on seeded random shapes and attributes.
#include <numeric>

#include "tests/engine/compare.h"

namespace onnx_split::test {
namespace {

std::vector<std::int64_t> random_dims(Random& random, std::int64_t least_rank, std::int64_t most_extent = 9) {
  std::vector<std::int64_t> dims;
  for (std::int64_t axis = random.integer(least_rank, 4); axis > 0; --axis)
    dims.push_back(random.integer(1, most_extent));
  return dims;
}

std::int64_t random_axis(Random& random, const std::vector<std::int64_t>& dims) {
  return random.integer(0, static_cast<std::int64_t>(dims.size()) - 1);
}

Tensor random_of_any_type(Random& random, const std::vector<std::int64_t>& dims) {
  return random.integer(0, 2) == 0 ? random_ints(random, Shape(dims), -99, 99) : random_tensor(random, Shape(dims));
}

TEST(MovementKernels, ConcatAndSplitAgreeWithTheReference) {
  Random random(1);
  for (int i = 0; i < 150; ++i) {
    std::vector<std::int64_t> dims = random_dims(random, 1);
    const std::int64_t axis = random_axis(random, dims);
    const bool ints = random.integer(0, 3) == 0;
    Case concat{OpType::kConcat, {{"axis", axis}}, {}};
    Ints extents;
    for (std::int64_t piece = random.integer(1, 4); piece > 0; --piece) {
      extents.push_back(dims[static_cast<std::size_t>(axis)] = random.integer(1, 9));
      concat.inputs.push_back(ints ? random_ints(random, Shape(dims), -9, 9) : random_tensor(random, Shape(dims)));
    }
    expect_kernel_agrees(concat);
    dims[static_cast<std::size_t>(axis)] = std::accumulate(extents.begin(), extents.end(), std::int64_t{0});
    expect_kernel_agrees(
        {OpType::kSplit, {{"axis", axis}, {"split", extents}}, {random_of_any_type(random, dims)}, extents.size()});
  }
}

TEST(MovementKernels, SliceAgreesWithTheReference) {
  Random random(2);
  for (int i = 0; i < 200; ++i) {
    const std::vector<std::int64_t> dims = random_dims(random, 1);
    Ints starts;
    Ints ends;
    Ints steps;
    for (const std::int64_t extent : dims) {
      const std::int64_t a = random.integer(0, extent - 1);
      const std::int64_t b = random.integer(0, extent - 1);
      const bool backwards = random.integer(0, 3) == 0;
      starts.push_back(backwards ? std::max(a, b) : std::min(a, b));
      ends.push_back(backwards ? std::min(a, b) - 1 - (std::min(a, b) == 0 ? extent : 0) : std::max(a, b) + 1);
      steps.push_back((backwards ? -1 : 1) * random.integer(1, 3));
    }
    expect_kernel_agrees(
        {OpType::kSlice, {{"starts", starts}, {"ends", ends}, {"steps", steps}}, {random_of_any_type(random, dims)}});
  }
}

TEST(MovementKernels, TransposeAgreesWithTheReference) {
  Random random(3);
  for (int i = 0; i < 150; ++i) {
    const std::vector<std::int64_t> dims = random_dims(random, 1);
    Ints perm(dims.size());
    std::iota(perm.begin(), perm.end(), std::int64_t{0});
    for (std::size_t j = perm.size(); j > 1; --j) {
      std::swap(perm[j - 1], perm[static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(j) - 1))]);
    }
    expect_kernel_agrees({OpType::kTranspose, {{"perm", perm}}, {random_of_any_type(random, dims)}});
  }
}

TEST(MovementKernels, ExpandAgreesWithTheReference) {
  Random random(4);
  for (int i = 0; i < 100; ++i) {
    const std::vector<std::int64_t> shape = random_dims(random, 1);
    std::vector<std::int64_t> dims = shape;
    for (std::int64_t& extent : dims) extent = random.integer(0, 1) == 0 ? 1 : extent;
    dims.erase(dims.begin(), dims.begin() + random.integer(0, static_cast<std::int64_t>(dims.size())));
    expect_kernel_agrees({OpType::kExpand, {{"shape", Ints(shape)}}, {random_of_any_type(random, dims)}});
  }
}

TEST(MovementKernels, GatherAgreesWithTheReference) {
  Random random(5);
  for (int i = 0; i < 100; ++i) {
    const std::vector<std::int64_t> dims = random_dims(random, 1);
    const std::int64_t axis = random_axis(random, dims);
    const std::int64_t extent = dims[static_cast<std::size_t>(axis)];
    const Tensor indices = random_ints(random, Shape(random_dims(random, 0, 4)), -extent, extent - 1);
    expect_kernel_agrees({OpType::kGather, {{"axis", axis}}, {random_of_any_type(random, dims), indices}});
  }
}

TEST(MovementKernels, GatherRefusesAnIndexOutOfRange) {
  const std::vector<std::int64_t> indices{0, 3};
  const std::vector<float> data{1, 2, 3};
  const Case c{OpType::kGather, {}, {Tensor::floats(Shape{3}, data), Tensor::ints(indices)}};
  const auto graph = graph_of(c, false);
  ASSERT_TRUE(graph.has_value());
  const auto result = evaluate_once(*graph, c.inputs);
  ASSERT_FALSE(result.has_value());
  EXPECT_NE(result.error().message.find("node \"node\" (Gather)"), std::string::npos) << result.error().message;
}

TEST(MovementKernels, PadAgreesWithTheReference) {
  Random random(6);
  for (int i = 0; i < 200; ++i) {
    const std::vector<std::int64_t> dims = random_dims(random, 1);
    const std::string mode = std::array{"constant", "edge", "reflect"}[static_cast<std::size_t>(random.integer(0, 2))];
    Ints pads(dims.size() * 2);
    for (std::size_t axis = 0; axis < dims.size(); ++axis) {
      const std::int64_t most = mode == "reflect" ? std::min<std::int64_t>(3, dims[axis] - 1) : 3;
      pads[axis] = random.integer(dims[axis] > 2 && mode == "constant" ? -1 : 0, most);
      pads[axis + dims.size()] = random.integer(dims[axis] > 2 && mode == "constant" ? -1 : 0, most);
    }
    expect_kernel_agrees(
        {OpType::kPad, {{"mode", mode}, {"pads", pads}, {"value", 0.5F}}, {random_of_any_type(random, dims)}});
  }
}

TEST(MovementKernels, ReductionsAgreeWithTheReference) {
  Random random(7);
  for (int i = 0; i < 300; ++i) {
    const std::vector<std::int64_t> dims = random_dims(random, 1, 20);
    Ints axes;
    for (std::size_t axis = 0; axis < dims.size(); ++axis) {
      if (random.integer(0, 1) == 0) axes.push_back(static_cast<std::int64_t>(axis));
    }
    const OpType op = std::array{OpType::kReduceMean, OpType::kReduceSum,
                                 OpType::kReduceMax}[static_cast<std::size_t>(random.integer(0, 2))];
    Case c{op, {{"axes", axes}, {"keepdims", random.integer(0, 1)}}, {random_tensor(random, Shape(dims))}};
    c.tolerance = 5e-5;  // sums may cancel
    expect_kernel_agrees(c);
  }
}

TEST(MovementKernels, ResizeAgreesWithTheReference) {
  Random random(8);
  const std::array modes{"nearest", "linear"};
  const std::array coordinates{"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"};
  const std::array roundings{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
  for (int i = 0; i < 150; ++i) {
    std::vector<std::int64_t> dims{random.integer(1, 2), random.integer(1, 4), random.integer(1, 9),
                                   random.integer(1, 9)};
    Ints sizes = dims;
    for (std::size_t axis = random.integer(0, 5) == 0 ? 1 : 2; axis < 4; ++axis) sizes[axis] = random.integer(1, 20);
    expect_kernel_agrees(
        {OpType::kResize,
         {{"mode", modes[static_cast<std::size_t>(random.integer(0, 1))]},
          {"coordinate_transformation_mode", coordinates[static_cast<std::size_t>(random.integer(0, 3))]},
          {"nearest_mode", roundings[static_cast<std::size_t>(random.integer(0, 3))]},
          {"sizes", sizes}},
         {random_tensor(random, Shape(dims))}});
  }
}

TEST(MovementKernels, CastAndViewsAgreeWithTheReference) {
  Random random(9);
  for (const char* to : {"float32", "int64", "bool"}) {
    expect_kernel_agrees({OpType::kCast, {{"to", std::string(to)}}, {random_tensor(random, Shape{3, 4}, -9, 9)}});
    expect_kernel_agrees({OpType::kCast, {{"to", std::string(to)}}, {random_ints(random, Shape{3, 4}, -2, 2)}});
  }
  const Tensor x = random_tensor(random, Shape{2, 1, 3, 4});
  expect_kernel_agrees({OpType::kIdentity, {}, {x}});
  expect_kernel_agrees({OpType::kFlatten, {{"axis", std::int64_t{2}}}, {x}});
  expect_kernel_agrees({OpType::kReshape, {{"shape", Ints{4, 6}}}, {x}});
  expect_kernel_agrees({OpType::kSqueeze, {{"axes", Ints{1}}}, {x}});
  expect_kernel_agrees({OpType::kUnsqueeze, {{"axes", Ints{0}}}, {x}});
}

}  // namespace
}  // namespace onnx_split::test
