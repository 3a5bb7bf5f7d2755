#include "graph/ops/conv.h"

#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

struct ConvCase {
  Ints spatial, kernel, strides, dilations, pads;
  std::int64_t batch, groups, in_per_group, out_per_group;
  bool bias;
};

ConvCase random_case(Random& random) {
  ConvCase c;
  const auto axes = static_cast<std::size_t>(random.integer(1, 3));
  for (std::size_t i = 0; i < axes; ++i) {
    c.kernel.push_back(random.integer(1, 3));
    c.dilations.push_back(random.integer(1, 2));
    c.strides.push_back(random.integer(1, 3));
    c.spatial.push_back((c.kernel[i] - 1) * c.dilations[i] + random.integer(1, 4));
  }
  for (std::size_t i = 0; i < 2 * axes; ++i) c.pads.push_back(random.integer(0, 3));
  c.batch = random.integer(1, 2);
  c.groups = random.integer(1, 3);
  c.in_per_group = random.integer(1, 3);
  c.out_per_group = random.integer(1, 3);
  c.bias = random.integer(0, 1) == 1;
  return c;
}

// Independent of the window code: Pad, then one strided Slice of the padded input a tap, each multiplied by its matrix
// of weights. The sum over taps is the convolution.
Tensor conv_by_slices(const ConvCase& c, const Tensor& x, const Tensor& w, const Ints& output) {
  const std::size_t axes = c.spatial.size();
  Ints pads(2 * (axes + 2), 0);
  for (std::size_t i = 0; i < axes; ++i) {
    pads[2 + i] = c.pads[i];
    pads[axes + 4 + i] = c.pads[axes + i];
  }
  const Tensor padded = apply(OpType::kPad, {{"pads", pads}}, {x});
  const std::int64_t positions = Shape(output).elements();
  const std::int64_t taps = Shape(c.kernel).elements();
  const std::int64_t out_channels = c.groups * c.out_per_group;
  std::vector<double> sums(static_cast<std::size_t>(c.batch * out_channels * positions), 0.0);
  for (std::int64_t tap = 0; tap < taps; ++tap) {
    Ints starts, ends, steps, slice_axes;
    std::int64_t rest = tap;
    for (std::size_t i = axes; i-- > 0;) {
      const std::int64_t start = rest % c.kernel[i] * c.dilations[i];
      rest /= c.kernel[i];
      starts.push_back(start);
      ends.push_back(start + (output[i] - 1) * c.strides[i] + 1);
      steps.push_back(c.strides[i]);
      slice_axes.push_back(static_cast<std::int64_t>(i) + 2);
    }
    const Tensor seen =
        apply(OpType::kSlice, {{"starts", starts}, {"ends", ends}, {"steps", steps}, {"axes", slice_axes}}, {padded});
    const auto pixels = seen.as<float>();
    const auto weights = w.as<float>();
    std::size_t to = 0;
    for (std::int64_t n = 0; n < c.batch; ++n) {
      for (std::int64_t m = 0; m < out_channels; ++m) {
        for (std::int64_t p = 0; p < positions; ++p, ++to) {
          for (std::int64_t k = 0; k < c.in_per_group; ++k) {
            const std::int64_t channel = m / c.out_per_group * c.in_per_group + k;
            const std::int64_t from = (n * c.groups * c.in_per_group + channel) * positions + p;
            sums[to] += static_cast<double>(pixels[static_cast<std::size_t>(from)]) *
                        static_cast<double>(weights[static_cast<std::size_t>((m * c.in_per_group + k) * taps + tap)]);
          }
        }
      }
    }
  }
  Ints dims{c.batch, out_channels};
  dims.insert(dims.end(), output.begin(), output.end());
  return Tensor::floats(Shape(dims), std::vector<float>(sums.begin(), sums.end()));
}

TEST(Conv, EqualsASumOverTapsForRandomGeometry) {
  Random random(11);
  for (int round = 0; round < 200; ++round) {
    const ConvCase c = random_case(random);
    Ints x_dims{c.batch, c.groups * c.in_per_group};
    x_dims.insert(x_dims.end(), c.spatial.begin(), c.spatial.end());
    Ints w_dims{c.groups * c.out_per_group, c.in_per_group};
    w_dims.insert(w_dims.end(), c.kernel.begin(), c.kernel.end());
    Ints output;
    for (std::size_t i = 0; i < c.spatial.size(); ++i) {
      const std::int64_t padded = c.spatial[i] + c.pads[i] + c.pads[c.spatial.size() + i];
      output.push_back((padded - (c.kernel[i] - 1) * c.dilations[i] - 1) / c.strides[i] + 1);
    }
    const Tensor x = random_tensor(random, Shape(x_dims));
    const Tensor w = random_tensor(random, Shape(w_dims));
    Tensor expected = conv_by_slices(c, x, w, output);
    std::vector<Tensor> inputs{x, w};
    if (c.bias) {
      inputs.push_back(random_tensor(random, Shape{w_dims[0]}));
      Ints bias_dims(w_dims.size(), 1);
      bias_dims[1] = w_dims[0];
      const Tensor bias = apply(OpType::kReshape, {{"shape", bias_dims}}, {inputs[2]});
      expected = apply(OpType::kAdd, {}, {expected, bias});
    }
    const Attributes attributes{
        {"group", c.groups}, {"strides", c.strides}, {"dilations", c.dilations}, {"pads", c.pads}};
    expect_near(apply(OpType::kConv, attributes, inputs), expected);
  }
}

TEST(Conv, ReadsItsGeometry) {
  const std::vector<TensorType> types{{DataType::kFloat32, Shape{2, 6, 9, 10}},
                                      {DataType::kFloat32, Shape{6, 1, 3, 5}}};
  const Attributes attributes{{"group", std::int64_t{6}}, {"pads", Ints{1, 2, 0, 3}}, {"strides", Ints{2, 1}}};
  const ConvGeometry g = must(conv_geometry({attributes, types, 1}));
  EXPECT_TRUE(g.depthwise());
  EXPECT_FALSE(g.has_bias);
  EXPECT_EQ(g.kernel_elements(), 15);
  ASSERT_EQ(g.window.axes.size(), 2U);
  EXPECT_EQ(g.window.axes[0].output, 4);
  EXPECT_EQ(g.window.axes[1].output, 11);
  EXPECT_EQ(g.window.axes[1].begin(0), -2);
  EXPECT_EQ(g.window.axes[0].pad_end, 0);
}

TEST(Conv, RefusesWithWhatWasExpected) {
  Random random(2);
  const Tensor x = random_tensor(random, Shape{1, 3, 5, 5});
  const Tensor w = random_tensor(random, Shape{8, 4, 3, 3});
  const Tensor good = random_tensor(random, Shape{8, 3, 3, 3});
  const auto big = std::int64_t{1} << 62;
  struct Bad {
    Attributes attributes;
    std::vector<Tensor> inputs;
    std::string message;
  };
  const std::vector<Bad> table = {
      {{}, {x, w}, "Conv: weight expects 4 input channels, input has 3"},
      {{}, {x}, "Conv: expected 2 to 3 inputs, found 1"},
      {{{"group", std::int64_t{2}}}, {x, good}, "group 2 doesn't divide 3 input channels and 8 output channels"},
      {{{"group", std::int64_t{0}}}, {x, good}, "group 0 doesn't divide"},
      {{{"group", 1.0F}}, {x, good}, "attribute \"group\": expected an integer, found a float"},
      {{{"strides", Ints{1, 0}}}, {x, good}, "strides expects 2 integers of at least 1, found [1,0]"},
      {{{"dilations", Ints{-1, 1}}}, {x, good}, "dilations expects 2 integers of at least 1, found [-1,1]"},
      {{{"pads", Ints{big, big, big, big}}}, {x, good}, "pads expects 4 integers of at least 0"},
      {{{"pads", Ints{0, 0}}}, {x, good}, "pads expects 4 integers of at least 0, found [0,0]"},
      {{{"dilations", Ints{3, 1}}}, {x, good}, "a kernel that spans 7 doesn't fit input 5 with padding 0+0"},
      {{{"kernel_shape", Ints{2, 2}}}, {x, good}, "kernel_shape, as the weight, expects shape [3,3], found [2,2]"},
      {{}, {x, good, floats(Shape{3}, {1, 2, 3})}, "bias expects shape [8], found [3]"},
      {{}, {x, random_tensor(random, Shape{8, 3, 3})}, "weight expects rank 4, as the input has, found [8,3,3]"},
      {{}, {x, random_tensor(random, Shape{8, 3, 0, 3})}, "kernel expects 2 extents of at least 1, found [0,3]"},
      {{}, {ints(Shape{1, 1, 1}, {1}), good}, "input expects float32, found int64[1,1,1]"},
      {{}, {random_tensor(random, Shape{1, 3}), good}, "input expects 1 to 3 spatial axes"},
      {{}, {random_tensor(random, Shape{0, 3, 5, 5}), good}, "input expects at least one sample"},
  };
  for (const Bad& bad : table) {
    EXPECT_THAT(error_of(OpType::kConv, bad.attributes, bad.inputs), testing::HasSubstr(bad.message));
  }
}

}  // namespace
}  // namespace onnx_split
