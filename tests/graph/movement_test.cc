#include <algorithm>
#include <numeric>

#include "graph/ops/gather.h"
#include "graph/ops/pad.h"
#include "graph/ops/slice.h"
#include "graph/ops/transpose.h"
#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

Shape small_shape(Random& random, std::int64_t least_rank = 1, std::int64_t least_extent = 0) {
  Ints dims(static_cast<std::size_t>(random.integer(least_rank, 4)));
  for (std::int64_t& extent : dims) extent = random.integer(least_extent, 4);
  return Shape(dims);
}

// 0, 1, 2, … in any element type.
Tensor counting_as(DataType type, const Shape& shape) {
  return apply(OpType::kCast, {{"to", std::string(data_type_name(type))}}, {counting(shape)});
}

DataType random_type(Random& random) { return static_cast<DataType>(random.integer(0, 2)); }

TEST(Movement, SplitThenConcatIsTheIdentity) {
  Random random(41);
  for (int round = 0; round < 200; ++round) {
    const Shape shape = small_shape(random);
    const Tensor x = counting_as(random_type(random), shape);
    const std::int64_t axis = random.integer(0, static_cast<std::int64_t>(shape.rank()) - 1);
    Ints split;
    for (std::int64_t left = shape[static_cast<std::size_t>(axis)]; left > 0; left -= split.back()) {
      split.push_back(random.integer(0, left));
    }
    if (split.empty()) split.push_back(0);
    const auto pieces = apply_all(OpType::kSplit, {{"axis", axis}, {"split", split}}, {x}, split.size());
    expect_same(apply(OpType::kConcat, {{"axis", axis}}, pieces), x);
    std::int64_t start = 0;
    for (std::size_t i = 0; i < split.size(); ++i) {
      const Attributes slice{{"starts", Ints{start}}, {"ends", Ints{start + split[i]}}, {"axes", Ints{axis}}};
      expect_same(pieces[i], apply(OpType::kSlice, slice, {x}));
      start += split[i];
    }
  }
}

TEST(Movement, EqualSplitsNeedNoExtents) {
  const auto halves = apply_all(OpType::kSplit, {}, {counting(Shape{4})}, 2);
  EXPECT_EQ(to_vector(halves[1]), (std::vector<float>{2, 3}));
  EXPECT_EQ(error_of(OpType::kSplit, {}, {counting(Shape{5})}, 2),
            "Split: axis 0 of [5] doesn't divide into 2 equal outputs");
}

TEST(Movement, TransposeAndItsInverseAreTheIdentity) {
  Random random(42);
  for (int round = 0; round < 100; ++round) {
    const Shape shape = small_shape(random);
    const Tensor x = counting_as(random_type(random), shape);
    Ints perm(shape.rank());
    std::iota(perm.begin(), perm.end(), 0);
    for (std::size_t i = perm.size(); i-- > 1;) {
      std::swap(perm[i], perm[static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(i)))]);
    }
    Ints inverse(perm.size());
    for (std::size_t i = 0; i < perm.size(); ++i)
      inverse[static_cast<std::size_t>(perm[i])] = static_cast<std::int64_t>(i);
    const Tensor y = apply(OpType::kTranspose, {{"perm", perm}}, {x});
    expect_same(apply(OpType::kTranspose, {{"perm", inverse}}, {y}), x);
  }
  EXPECT_EQ(to_vector(apply(OpType::kTranspose, {}, {counting(Shape{2, 3})})), (std::vector<float>{0, 3, 1, 4, 2, 5}));
}

// Python's slicing, told by walking.
std::vector<std::int64_t> walk(std::int64_t start, std::int64_t end, std::int64_t step, std::int64_t extent) {
  if (start < 0) start += extent;
  if (end < 0) end += extent;
  std::vector<std::int64_t> taken;
  if (step > 0) {
    start = std::max<std::int64_t>(start, 0);
    for (std::int64_t i = start; i < std::min(end, extent); i += step) taken.push_back(i);
  } else {
    start = std::min(start, extent - 1);
    for (std::int64_t i = start; i > std::max<std::int64_t>(end, -1); i += step) taken.push_back(i);
  }
  return taken;
}

TEST(Movement, SliceEqualsGatherOfTheIndicesItWalks) {
  Random random(43);
  for (int round = 0; round < 1000; ++round) {
    const Tensor x = counting(Shape{2, random.integer(0, 6), 2});
    const std::int64_t start = random.integer(-8, 8), end = random.integer(-8, 8);
    std::int64_t step = random.integer(-3, 3);
    if (step == 0) step = 1;
    // Behind the front a backward walk stands still at 0: only ends of the front clamp to -1.
    if (step < 0 && start < -x.shape()[1]) continue;
    const Attributes attributes{{"starts", Ints{start}}, {"ends", Ints{end}}, {"axes", Ints{1}}, {"steps", Ints{step}}};
    const auto indices = walk(start, end, step, x.shape()[1]);
    const Tensor expected = apply(OpType::kGather, {{"axis", std::int64_t{1}}},
                                  {x, ints(Shape{static_cast<std::int64_t>(indices.size())}, indices)});
    expect_same(apply(OpType::kSlice, attributes, {x}), expected);
  }
}

TEST(Movement, SliceTakesExtremeNumbers) {
  const Tensor x = counting(Shape{5});
  const auto slice = [&](std::int64_t start, std::int64_t end, std::int64_t step) {
    return to_vector(apply(OpType::kSlice, {{"starts", Ints{start}}, {"ends", Ints{end}}, {"steps", Ints{step}}}, {x}));
  };
  EXPECT_EQ(slice(kIntMax, kIntMin, -1), (std::vector<float>{4, 3, 2, 1, 0}));
  EXPECT_EQ(slice(kIntMin, kIntMax, 1), (std::vector<float>{0, 1, 2, 3, 4}));
  EXPECT_EQ(slice(1, kIntMax, kIntMax), (std::vector<float>{1}));
  EXPECT_EQ(slice(3, kIntMin, kIntMin), (std::vector<float>{3}));
  EXPECT_EQ(slice(-1, -6, -2), (std::vector<float>{4, 2, 0}));
  EXPECT_EQ(slice(4, 1, 1), (std::vector<float>{}));
}

TEST(Movement, SliceRefusesWithWhatWasExpected) {
  const Tensor x = counting(Shape{5});
  const auto error = [&](const Attributes& attributes) { return error_of(OpType::kSlice, attributes, {x}); };
  EXPECT_THAT(error({{"starts", Ints{0}}}), testing::HasSubstr("attribute \"ends\" is missing"));
  EXPECT_THAT(error({{"starts", Ints{0}}, {"ends", Ints{1, 2}}}),
              testing::HasSubstr("expect equal lengths, found 1, 2"));
  EXPECT_THAT(error({{"starts", Ints{0}}, {"ends", Ints{1}}, {"steps", Ints{0}}}),
              testing::HasSubstr("steps expect anything but 0"));
  EXPECT_THAT(error({{"starts", Ints{0}}, {"ends", Ints{1}}, {"axes", Ints{1}}}),
              testing::HasSubstr("axis 1 is outside a tensor of rank 1"));
  EXPECT_THAT(error({{"starts", Ints{0, 0}}, {"ends", Ints{1, 1}}, {"axes", Ints{0, -1}}}),
              testing::HasSubstr("axes name axis 0 twice"));
}

TEST(Movement, ReshapesKeepTheElements) {
  Random random(44);
  for (int round = 0; round < 100; ++round) {
    const Shape shape = small_shape(random, 1);
    const Tensor x = counting_as(random_type(random), shape);
    const auto axis = random.integer(0, static_cast<std::int64_t>(shape.rank()));
    const Tensor flat = apply(OpType::kFlatten, {{"axis", axis}}, {x});
    EXPECT_EQ(flat.shape().rank(), 2U);
    expect_same(apply(OpType::kReshape, {{"shape", shape.vector()}}, {flat}), x);
    const Tensor wider = apply(OpType::kUnsqueeze, {{"axes", Ints{axis}}}, {x});
    expect_same(apply(OpType::kSqueeze, {{"axes", Ints{axis}}}, {wider}), x);
    expect_same(apply(OpType::kIdentity, {}, {x}), x);
  }
  EXPECT_EQ(apply(OpType::kSqueeze, {}, {counting(Shape{1, 3, 1})}).shape(), Shape{3});
  EXPECT_EQ(apply(OpType::kFlatten, {{"axis", std::int64_t{0}}}, {Tensor::scalar(1)}).shape(), (Shape{1, 1}));
}

TEST(Movement, ReshapesRefuseWithWhatWasExpected) {
  const Tensor x = counting(Shape{2, 3});
  EXPECT_EQ(error_of(OpType::kReshape, {{"shape", Ints{4}}}, {x}),
            "Reshape: shape [4] has 4 elements, input [2,3] has 6");
  EXPECT_EQ(error_of(OpType::kReshape, {{"shape", Ints{-1}}}, {x}), "Reshape: shape [-1] has a negative extent");
  EXPECT_THAT(error_of(OpType::kReshape, {{"shape", Ints{0, kIntMax, kIntMax}}}, {x}), testing::HasSubstr("more than"));
  EXPECT_EQ(error_of(OpType::kFlatten, {{"axis", std::int64_t{3}}}, {x}), "Flatten: axis expects -2 to 2, found 3");
  EXPECT_EQ(error_of(OpType::kSqueeze, {{"axes", Ints{1}}}, {x}), "Squeeze: axis 1 expects extent 1, found 3 in [2,3]");
  EXPECT_EQ(error_of(OpType::kUnsqueeze, {{"axes", Ints{0, 0}}}, {x}), "Unsqueeze: axes name axis 0 twice");
  EXPECT_THAT(error_of(OpType::kUnsqueeze, {{"axes", Ints(100, 0)}}, {x}), testing::HasSubstr("at most 8, found 100"));
  EXPECT_EQ(error_of(OpType::kTranspose, {{"perm", Ints{0, 0}}}, {x}),
            "Transpose: perm expects every axis of [2,3] once, found [0,0]");
  EXPECT_EQ(error_of(OpType::kConcat, {{"axis", std::int64_t{0}}}, {x, counting(Shape{2, 2})}),
            "Concat: inputs expect to differ along axis 0 only, found float32[2,3] and float32[2,2]");
  EXPECT_EQ(error_of(OpType::kSplit, {{"split", Ints{1, 2}}}, {x}, 2),
            "Split: split expects 2 extents that add up to 2, found [1,2]");
  EXPECT_EQ(error_of(OpType::kSplit, {{"split", Ints{kIntMax, 3 - kIntMax}}}, {x}, 2).empty(), false);
  EXPECT_EQ(error_of(OpType::kExpand, {{"shape", Ints{5}}}, {x}), "Expand: shapes [2,3] and [5] don't broadcast");
}

TEST(Movement, GatherTakesEntriesAndRefusesOthers) {
  const Tensor data = counting(Shape{2, 3});
  const Attributes columns{{"axis", std::int64_t{1}}};
  const Tensor y = apply(OpType::kGather, columns, {data, ints(Shape{2, 1}, {-1, 0})});
  EXPECT_EQ(y.shape(), (Shape{2, 2, 1}));
  EXPECT_EQ(to_vector(y), (std::vector<float>{2, 0, 5, 3}));
  EXPECT_EQ(apply(OpType::kGather, columns, {data, ints(Shape{}, {1})}).shape(), Shape{2});
  EXPECT_EQ(error_of(OpType::kGather, columns, {data, ints(Shape{1}, {3})}), "Gather: index 3 is outside an axis of 3");
  EXPECT_EQ(error_of(OpType::kGather, columns, {data, ints(Shape{1}, {kIntMin})}),
            "Gather: index -9223372036854775808 is outside an axis of 3");
  EXPECT_EQ(error_of(OpType::kGather, columns, {data, data}), "Gather: indices expects int64, found float32[2,3]");
}

TEST(Movement, PadModesOfTheSpecification) {
  const Tensor x = floats(Shape{3}, {1, 2, 3});
  const auto pad = [&](const char* mode, const Ints& pads) {
    return to_vector(apply(OpType::kPad, {{"mode", std::string(mode)}, {"pads", pads}, {"value", 9.0F}}, {x}));
  };
  EXPECT_EQ(pad("constant", {1, 2}), (std::vector<float>{9, 1, 2, 3, 9, 9}));
  EXPECT_EQ(pad("edge", {1, 2}), (std::vector<float>{1, 1, 2, 3, 3, 3}));
  EXPECT_EQ(pad("reflect", {1, 2}), (std::vector<float>{2, 1, 2, 3, 2, 1}));
  EXPECT_EQ(pad("constant", {-1, 1}), (std::vector<float>{2, 3, 9}));
  EXPECT_EQ(pad("edge", {-2, 0}), (std::vector<float>{3}));
  EXPECT_EQ(
      to_vector<std::int64_t>(apply(OpType::kPad, {{"pads", Ints{1, 0}}, {"value", 4.0F}}, {ints(Shape{1}, {7})})),
      (std::vector<std::int64_t>{4, 7}));
}

TEST(Movement, PadThenCropIsTheIdentity) {
  Random random(45);
  for (int round = 0; round < 100; ++round) {
    const Shape shape = small_shape(random, 1, 1);
    const Tensor x = counting_as(random_type(random), shape);
    Ints pads(2 * shape.rank());
    Ints crops(pads.size());
    const bool reflect = random.integer(0, 1) == 1;
    for (std::size_t i = 0; i < pads.size(); ++i) {
      pads[i] = random.integer(0, reflect ? shape[i % shape.rank()] - 1 : 3);
      crops[i] = -pads[i];
    }
    const std::string mode = reflect ? "reflect" : random.integer(0, 1) == 0 ? "edge" : "constant";
    const Tensor padded = apply(OpType::kPad, {{"mode", mode}, {"pads", pads}}, {x});
    expect_same(apply(OpType::kPad, {{"pads", crops}}, {padded}), x);
  }
}

TEST(Movement, PadRefusesWithWhatWasExpected) {
  const auto error = [](const Attributes& attributes) {
    return error_of(OpType::kPad, attributes, {counting(Shape{3})});
  };
  EXPECT_THAT(error({}), testing::HasSubstr("attribute \"pads\" is missing"));
  EXPECT_THAT(error({{"pads", Ints{1}}}), testing::HasSubstr("pads expect 2 integers for an input of rank 1, found 1"));
  EXPECT_THAT(error({{"pads", Ints{kIntMax, kIntMax}}}), testing::HasSubstr("found 9223372036854775807"));
  EXPECT_THAT(error({{"pads", Ints{-2, -2}}}), testing::HasSubstr("crop more than axis 0 of 3 has"));
  EXPECT_THAT(error({{"pads", Ints{3, 0}}, {"mode", std::string("reflect")}}),
              testing::HasSubstr("pads expect less than 3 to reflect axis 0, found 3+0"));
  EXPECT_THAT(error({{"pads", Ints{0, 0}}, {"mode", std::string("wrap")}}),
              testing::HasSubstr("mode expects constant, edge or reflect, found \"wrap\""));
}

}  // namespace
}  // namespace onnx_split
