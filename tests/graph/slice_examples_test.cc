// Slices and partial sums worked out by hand. That they give the right numbers everywhere is slice_test.cc's matter;
// here is which regions and attributes they are made of.
#include "graph/cut_out.h"
#include "tests/graph/helpers.h"
#include "tests/graph/slice_calls.h"

namespace onnx_split {
namespace {

Expected<NodeSlice> slice_of(const Application& application, const Region& region) {
  std::vector<TensorType> types;
  for (const Tensor& input : application.inputs) types.push_back(input.type());
  const OpCall call{application.attributes, types, 1};
  const Operator& definition = operator_of(application.op);
  if (definition.slice == nullptr) return fail(ErrorCode::kInvalid, "it has no slice");
  return definition.slice(call, must(definition.infer(call)), 0, region);
}

Expected<NodeSlice> share_of(const Application& application, const Region& region, bool first) {
  std::vector<TensorType> types;
  for (const Tensor& input : application.inputs) types.push_back(input.type());
  const OpCall call{application.attributes, types, 1};
  const Operator& definition = operator_of(application.op);
  if (definition.partial_sum == nullptr) return fail(ErrorCode::kInvalid, "it has no partial sum");
  return definition.partial_sum(call, must(definition.infer(call)), region, first);
}

// The message of what must be refused; "" where it isn't.
std::string refusal_of(const Application& application, const Region& region) {
  const auto slice = slice_of(application, region);
  if (slice) return "";
  EXPECT_EQ(slice.error().code, ErrorCode::kUnsupported);
  return slice.error().message;
}

// What the slice's operator gives, of which `region` was asked for.
std::vector<float> values_of(const Application& application, const NodeSlice& slice, Region region) {
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < slice.inputs.size(); ++i) {
    if (slice.inputs[i]) inputs.push_back(cut_out(application.inputs[i], *slice.inputs[i]));
  }
  for (std::size_t axis = 0; axis < region.rank(); ++axis) {
    region[axis] = {region[axis].begin - slice.produced[axis].begin, region[axis].end - slice.produced[axis].begin};
  }
  const Tensor result = apply(slice.op, slice.attributes, inputs);
  EXPECT_EQ(result.shape().to_string(), slice.produced.shape().to_string());
  return result.shape() == slice.produced.shape() ? to_vector(cut_out(result, region)) : std::vector<float>{};
}

std::string text(const std::optional<Region>& region) { return region ? region->to_string() : "nothing"; }

TEST(SliceExample, ConvTakesItsRowsHaloAndThePaddingOfTheTrueBorderOnly) {
  Random random(1);
  // Rows of the output: from input rows -1…1, 1…3, 3…5 and 5…7, where -1 and 7 are padding.
  const Application conv{OpType::kConv,
                         {{"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}},
                         {random_tensor(random, Shape{1, 2, 7, 7}), random_tensor(random, Shape{4, 2, 3, 3})}};
  const NodeSlice upper = must(slice_of(conv, Region({{0, 1}, {0, 4}, {0, 2}, {0, 4}})));
  EXPECT_EQ(text(upper.inputs[0]), "[0:1,0:2,0:4,0:7]");
  EXPECT_EQ(text(upper.inputs[1]), "[0:4,0:2,0:3,0:3]");
  EXPECT_EQ(upper.attributes.ints_or("pads", {}), (Ints{1, 1, 0, 1}));
  EXPECT_EQ(upper.attributes.ints_or("strides", {}), (Ints{2, 2}));
  const NodeSlice middle = must(slice_of(conv, Region({{0, 1}, {0, 4}, {1, 3}, {0, 4}})));
  EXPECT_EQ(text(middle.inputs[0]), "[0:1,0:2,1:6,0:7]");
  EXPECT_EQ(middle.attributes.ints_or("pads", {}), (Ints{0, 1, 0, 1}));
  const NodeSlice lower = must(slice_of(conv, Region({{0, 1}, {0, 4}, {2, 4}, {0, 4}})));
  EXPECT_EQ(text(lower.inputs[0]), "[0:1,0:2,3:7,0:7]");
  EXPECT_EQ(lower.attributes.ints_or("pads", {}), (Ints{0, 1, 1, 1}));
  EXPECT_EQ(text(lower.produced), "[0:1,0:4,2:4,0:4]");
}

TEST(SliceExample, ConvTakesItsOutputChannelsWeights) {
  Random random(2);
  const Application conv{
      OpType::kConv,
      {},
      {random_tensor(random, Shape{1, 3, 5}), random_tensor(random, Shape{8, 3, 1}), random_tensor(random, Shape{8})}};
  const NodeSlice slice = must(slice_of(conv, Region({{0, 1}, {2, 5}, {0, 5}})));
  EXPECT_EQ(text(slice.inputs[0]), "[0:1,0:3,0:5]");
  EXPECT_EQ(text(slice.inputs[1]), "[2:5,0:3,0:1]");
  EXPECT_EQ(text(slice.inputs[2]), "[2:5]");
}

TEST(SliceExample, GroupedConvTakesItsGroupsOnly) {
  Random random(3);
  // Three groups of two input and two output channels.
  const Application conv{
      OpType::kConv,
      {{"group", std::int64_t{3}}},
      {random_tensor(random, Shape{1, 6, 5}), random_tensor(random, Shape{6, 2, 3}), random_tensor(random, Shape{6})}};
  const NodeSlice two_groups = must(slice_of(conv, Region({{0, 1}, {2, 6}, {0, 3}})));
  EXPECT_EQ(text(two_groups.inputs[0]), "[0:1,2:6,0:5]");
  EXPECT_EQ(text(two_groups.inputs[1]), "[2:6,0:2,0:3]");
  EXPECT_EQ(text(two_groups.inputs[2]), "[2:6]");
  EXPECT_EQ(two_groups.attributes.int_or("group", 1), 2);
  EXPECT_EQ(text(two_groups.produced), "[0:1,2:6,0:3]");
  // Half of two groups can't come without the other halves.
  const NodeSlice halves = must(slice_of(conv, Region({{0, 1}, {1, 3}, {0, 3}})));
  EXPECT_EQ(text(halves.inputs[0]), "[0:1,0:4,0:5]");
  EXPECT_EQ(text(halves.produced), "[0:1,0:4,0:3]");
}

TEST(SliceExample, DepthwiseConvFollowsItsChannels) {
  Random random(4);
  const Application conv{OpType::kConv,
                         {{"group", std::int64_t{4}}},
                         {random_tensor(random, Shape{1, 4, 3}), random_tensor(random, Shape{4, 1, 3})}};
  const NodeSlice slice = must(slice_of(conv, Region({{0, 1}, {1, 3}, {0, 1}})));
  EXPECT_EQ(text(slice.inputs[0]), "[0:1,1:3,0:3]");
  EXPECT_EQ(text(slice.inputs[1]), "[1:3,0:1,0:3]");
  EXPECT_EQ(slice.attributes.int_or("group", 1), 2);
}

TEST(SliceExample, AverageKeepsItsDivisorAtAnInnerBorder) {
  const Application pool{OpType::kAveragePool,
                         {{"kernel_shape", Ints{3}}, {"pads", Ints{1, 1}}, {"count_include_pad", std::int64_t{1}}},
                         {counting(Shape{1, 1, 6})}};
  const Region inner({{0, 1}, {0, 1}, {2, 4}});
  const NodeSlice slice = must(slice_of(pool, inner));
  EXPECT_EQ(text(slice.inputs[0]), "[0:1,0:1,1:5]");
  EXPECT_EQ(slice.attributes.ints_or("pads", {0, 0}), (Ints{0, 0}));
  EXPECT_EQ(values_of(pool, slice, inner), (std::vector<float>{2, 3}));
  // (0 + 0 + 1) / 3: the padding counts.
  const Region border({{0, 1}, {0, 1}, {0, 2}});
  const NodeSlice left = must(slice_of(pool, border));
  EXPECT_EQ(text(left.inputs[0]), "[0:1,0:1,0:3]");
  EXPECT_EQ(left.attributes.ints_or("pads", {0, 0}), (Ints{1, 0}));
  EXPECT_EQ(values_of(pool, left, border), (std::vector<float>{1.0F / 3.0F, 1}));
}

TEST(SliceExample, CeilModesLastWindowComesAlone) {
  // Windows at 0, 2 and 4 of five elements: the last has one.
  Application pool{OpType::kMaxPool,
                   {{"kernel_shape", Ints{2}}, {"strides", Ints{2}}, {"ceil_mode", std::int64_t{1}}},
                   {counting(Shape{1, 1, 5})}};
  const Region last({{0, 1}, {0, 1}, {2, 3}});
  for (const OpType op : {OpType::kMaxPool, OpType::kAveragePool}) {
    pool.op = op;
    const NodeSlice slice = must(slice_of(pool, last));
    EXPECT_EQ(text(slice.inputs[0]), "[0:1,0:1,4:5]") << op_name(op);
    EXPECT_EQ(text(slice.produced), last.to_string()) << op_name(op);
    EXPECT_EQ(values_of(pool, slice, last), (std::vector<float>{4})) << op_name(op);
  }
  // What ceil_mode adds isn't padding, which would count.
  pool.attributes.set("count_include_pad", std::int64_t{1});
  const Region last_two({{0, 1}, {0, 1}, {1, 3}});
  EXPECT_EQ(values_of(pool, must(slice_of(pool, last_two)), last_two), (std::vector<float>{2.5F, 4}));
}

TEST(SliceExample, LrnReadsItsChannelsNeighbours) {
  Random random(5);
  // Channel c sums over c - 1 … c + 2.
  const Application lrn{OpType::kLrn, {{"size", std::int64_t{4}}}, {random_tensor(random, Shape{1, 9, 3, 3})}};
  const NodeSlice inner = must(slice_of(lrn, Region({{0, 1}, {3, 5}, {0, 3}, {0, 3}})));
  EXPECT_EQ(text(inner.inputs[0]), "[0:1,2:7,0:3,0:3]");
  EXPECT_EQ(text(inner.produced), "[0:1,2:7,0:3,0:3]");
  const NodeSlice border = must(slice_of(lrn, Region({{0, 1}, {0, 2}, {1, 2}, {0, 3}})));
  EXPECT_EQ(text(border.inputs[0]), "[0:1,0:4,1:2,0:3]");
}

TEST(SliceExample, ConcatLeavesOutBranchesItDoesNotTouch) {
  const Application concat{OpType::kConcat,
                           {{"axis", std::int64_t{1}}},
                           {counting(Shape{1, 2, 3}), counting(Shape{1, 3, 3}), counting(Shape{1, 1, 3})}};
  const NodeSlice one = must(slice_of(concat, Region({{0, 1}, {2, 4}, {1, 3}})));
  EXPECT_EQ(text(one.inputs[0]), "nothing");
  EXPECT_EQ(text(one.inputs[1]), "[0:1,0:2,1:3]");
  EXPECT_EQ(text(one.inputs[2]), "nothing");
  EXPECT_EQ(one.op, OpType::kIdentity);
  const NodeSlice two = must(slice_of(concat, Region({{0, 1}, {4, 6}, {0, 3}})));
  EXPECT_EQ(text(two.inputs[0]), "nothing");
  EXPECT_EQ(text(two.inputs[1]), "[0:1,2:3,0:3]");
  EXPECT_EQ(text(two.inputs[2]), "[0:1,0:1,0:3]");
  EXPECT_EQ(two.op, OpType::kConcat);
}

TEST(SliceExample, FlattenPassesChannelsAndRefusesWhatIsNoBox) {
  const Application flatten{OpType::kFlatten, {}, {counting(Shape{1, 4, 2, 3})}};
  const NodeSlice slice = must(slice_of(flatten, Region({{0, 1}, {6, 18}})));
  EXPECT_EQ(text(slice.inputs[0]), "[0:1,1:3,0:2,0:3]");
  EXPECT_EQ(text(slice.produced), "[0:1,6:18]");
  // The last element of one channel and the first of the next.
  EXPECT_NE(refusal_of(flatten, Region({{0, 1}, {5, 7}})), "");
}

TEST(SliceExample, ReshapePassesRowsOfWhatItMerges) {
  const Application reshape{OpType::kReshape, {{"shape", Ints{2, 12}}}, {counting(Shape{2, 3, 4})}};
  const NodeSlice slice = must(slice_of(reshape, Region({{0, 2}, {4, 12}})));
  EXPECT_EQ(text(slice.inputs[0]), "[0:2,1:3,0:4]");
  EXPECT_EQ(slice.attributes.ints_or("shape", {}), (Ints{2, 8}));
}

TEST(SliceExample, SqueezeKeepsAnAxisThatBecomesOneElement) {
  const Application squeeze{OpType::kSqueeze, {}, {counting(Shape{1, 3, 1})}};
  const NodeSlice slice = must(slice_of(squeeze, Region({{1, 2}})));
  EXPECT_EQ(text(slice.inputs[0]), "[0:1,1:2,0:1]");
  EXPECT_EQ(apply(slice.op, slice.attributes, {cut_out(squeeze.inputs[0], *slice.inputs[0])}).shape(), (Shape{1}));
}

TEST(SliceExample, ResizeGivesThePeriodOfItsPhase) {
  Application resize{OpType::kResize, {{"scales", Floats{1, 1, 2, 1}}}, {counting(Shape{1, 1, 4, 2})}};
  for (const char* coordinates : {"half_pixel", "asymmetric"}) {
    resize.attributes.set("coordinate_transformation_mode", std::string(coordinates));
    if (resize.attributes.string_or("coordinate_transformation_mode", "") == "asymmetric") {
      resize.attributes.set("nearest_mode", std::string("floor"));
    }
    for (const Range rows : {Range{2, 4}, Range{3, 4}}) {
      const NodeSlice slice = must(slice_of(resize, Region({{0, 1}, {0, 1}, rows, {0, 2}})));
      EXPECT_EQ(text(slice.inputs[0]), "[0:1,0:1,1:2,0:2]") << coordinates;
      EXPECT_EQ(text(slice.produced), "[0:1,0:1,2:4,0:2]") << coordinates;
    }
  }
  // The corners stay where they are: every row is another mixture.
  resize.attributes.set("mode", std::string("linear"));
  resize.attributes.set("coordinate_transformation_mode", std::string("align_corners"));
  EXPECT_NE(refusal_of(resize, Region({{0, 1}, {0, 1}, {2, 4}, {0, 2}})), "");
}

TEST(SliceExample, SoftmaxIsRefusedAcrossItsAxisOnly) {
  const Application softmax{OpType::kSoftmax, {{"axis", std::int64_t{1}}}, {counting(Shape{2, 5})}};
  EXPECT_THAT(refusal_of(softmax, Region({{0, 2}, {1, 3}})), testing::HasSubstr("axis 1"));
  EXPECT_EQ(text(must(slice_of(softmax, Region({{1, 2}, {0, 5}}))).inputs[0]), "[1:2,0:5]");
}

TEST(SliceExample, MovesReadNoMoreThanTheyShow) {
  const Application pad{OpType::kPad, {{"pads", Ints{2, 2}}}, {counting(Shape{6})}};
  EXPECT_EQ(text(must(slice_of(pad, Region({{3, 5}}))).inputs[0]), "[1:3]");
  const NodeSlice left = must(slice_of(pad, Region({{0, 4}})));
  EXPECT_EQ(text(left.inputs[0]), "[0:2]");
  EXPECT_EQ(left.attributes.ints_or("pads", {}), (Ints{2, 0}));
  // Elements 1, 4, 7 and 10; and 10, 8, 6, 4.
  const Application forwards{
      OpType::kSlice, {{"starts", Ints{1}}, {"ends", Ints{12}}, {"steps", Ints{3}}}, {counting(Shape{12})}};
  EXPECT_EQ(text(must(slice_of(forwards, Region({{1, 3}}))).inputs[0]), "[4:8]");
  const Application backwards{
      OpType::kSlice, {{"starts", Ints{10}}, {"ends", Ints{2}}, {"steps", Ints{-2}}}, {counting(Shape{12})}};
  EXPECT_EQ(text(must(slice_of(backwards, Region({{1, 3}}))).inputs[0]), "[6:9]");
}

TEST(SliceExample, BroadcastInputsAreReadWhereTheyRepeat) {
  const Application add{OpType::kAdd, {}, {counting(Shape{1, 4, 3}), counting(Shape{4, 1})}};
  const NodeSlice slice = must(slice_of(add, Region({{0, 1}, {1, 3}, {2, 3}})));
  EXPECT_EQ(text(slice.inputs[0]), "[0:1,1:3,2:3]");
  EXPECT_EQ(text(slice.inputs[1]), "[1:3,0:1]");
}

TEST(PartialSumExample, ConvAddsItsBiasInTheFirstShareOnly) {
  Random random(6);
  const Application conv{
      OpType::kConv,
      {{"pads", Ints{1, 1}}},
      {random_tensor(random, Shape{1, 6, 5}), random_tensor(random, Shape{4, 6, 3}), random_tensor(random, Shape{4})}};
  const Region channels({{0, 1}, {2, 5}, {0, 5}});
  for (const bool first : {true, false}) {
    const NodeSlice share = must(share_of(conv, channels, first));
    EXPECT_EQ(text(share.inputs[0]), channels.to_string());
    EXPECT_EQ(text(share.inputs[1]), "[0:4,2:5,0:3]");
    EXPECT_EQ(text(share.inputs[2]), first ? "[0:4]" : "nothing");
    EXPECT_EQ(share.attributes.ints_or("pads", {}), (Ints{1, 1}));
  }
  const auto rows = share_of(conv, Region({{0, 1}, {0, 6}, {0, 3}}), true);
  ASSERT_FALSE(rows.has_value());
  EXPECT_EQ(rows.error().code, ErrorCode::kUnsupported);
}

TEST(PartialSumExample, GemmTakesItsShareOfBothMatrices) {
  Random random(7);
  const Application gemm{
      OpType::kGemm,
      {{"transB", std::int64_t{1}}, {"alpha", 0.5F}},
      {random_tensor(random, Shape{1, 8}), random_tensor(random, Shape{3, 8}), random_tensor(random, Shape{3})}};
  const NodeSlice share = must(share_of(gemm, Region({{0, 1}, {4, 8}}), false));
  EXPECT_EQ(text(share.inputs[1]), "[0:3,4:8]");
  EXPECT_EQ(text(share.inputs[2]), "nothing");
  EXPECT_EQ(share.attributes.float_or("alpha", 1.0F), 0.5F);
}

TEST(PartialSumExample, MeansAreScaledToTheirShare) {
  const Application pool{OpType::kGlobalAveragePool, {}, {floats(Shape{1, 1, 1, 4}, {1, 2, 6, 7})}};
  const NodeSlice share = must(share_of(pool, Region({{0, 1}, {0, 1}, {0, 1}, {1, 4}}), false));
  EXPECT_EQ(share.scale, 0.75F);
  EXPECT_EQ(values_of(pool, share, share.produced), (std::vector<float>{5}));
  // Over channels it doesn't average.
  const Application channels{OpType::kGlobalAveragePool, {}, {counting(Shape{1, 4, 2})}};
  EXPECT_FALSE(share_of(channels, Region({{0, 1}, {0, 2}, {0, 2}}), true).has_value());
}

}  // namespace
}  // namespace onnx_split
