// Small random networks for properties: chains, residuals, concats, depthwise and grouped convolutions, pools, local
// normalisation, squeeze-and-excite, several kinds of heads; 1-D to 3-D. Seeded; every network is valid and computes in
// microseconds.
#pragma once

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "graph/builder.h"
#include "graph/zoo/zoo.h"

namespace onnx_split::testing {

class RandomNetwork {
 public:
  // `axes`: spatial ones, 1 to 3. Channels are few multiples of `unit`, for the most part.
  explicit RandomNetwork(std::uint64_t seed, std::size_t axes = 2, std::int64_t unit = 1)
      : random_(seed), axes_(axes), unit_(unit), builder_("random") {}

  // `blocks` random blocks behind one another, then a head.
  Graph make(std::int64_t blocks) {
    Ints dims{1, some_channels(4)};
    for (std::size_t axis = 0; axis < axes_; ++axis) dims.push_back(random_.integer(axes_ == 3 ? 3 : 5, 9));
    ValueId now = must(builder_.add_input("input", {DataType::kFloat32, Shape(dims)}));
    for (std::int64_t i = 0; i < blocks; ++i) now = block(now);
    std::vector<ValueId> outputs;
    const bool is_input = !builder_.value(now).producer.valid();
    if (!is_input && random_.integer(0, 2) == 0) outputs.push_back(now);  // in the middle of the network
    outputs.insert(outputs.begin(), head(now));
    return must(std::move(builder_).build(outputs));
  }

 private:
  template <class T>
  static T must(Expected<T> result) {
    if (!result) fmt::print(stderr, "{}\n", result.error().message);
    CHECK(result.has_value());
    return std::move(*result);
  }

  const Shape& shape_of(ValueId id) const { return builder_.value(id).shape(); }
  std::int64_t channels_of(ValueId id) const { return shape_of(id)[1]; }
  std::int64_t some_channels(std::int64_t most) { return unit_ * random_.integer(1, most); }
  bool coin() { return random_.integer(0, 1) == 1; }
  // One number for each spatial axis; `twice`: begins and ends.
  Ints all(std::int64_t value, bool twice = false) const { return Ints(twice ? 2 * axes_ : axes_, value); }
  bool fits(ValueId x, std::int64_t extent) const {
    const Shape& shape = shape_of(x);
    return std::all_of(shape.begin() + 2, shape.end(), [&](std::int64_t e) { return e >= extent; });
  }

  ValueId add(OpType op, Attributes attributes, std::vector<ValueId> inputs) {
    return must(
        builder_.add(fmt::format("{}_{}", op_name(op), count_++), op, std::move(attributes), std::move(inputs)));
  }

  ValueId weights(Shape shape, float low = -0.5F, float high = 0.5F) {
    std::vector<float> data(static_cast<std::size_t>(shape.elements()));
    for (float& x : data) x = random_.uniform(low, high);
    return must(builder_.add_constant(fmt::format("w_{}", count_++), Tensor::floats(shape, data)));
  }

  ValueId conv(ValueId x, std::int64_t outputs, std::int64_t kernel, std::int64_t stride, std::int64_t groups,
               std::int64_t dilation = 1) {
    const std::int64_t pad = kernel / 2 * dilation;
    Ints pads = all(pad, true);
    if (kernel > 1 && fits(x, 2) && random_.integer(0, 3) == 0) --pads[0];  // asymmetric
    Attributes attributes{{"group", groups}, {"pads", pads}, {"strides", all(stride)}, {"dilations", all(dilation)}};
    Ints dims = all(kernel);
    dims.insert(dims.begin(), {outputs, channels_of(x) / groups});
    std::vector<ValueId> inputs{x, weights(Shape(dims))};
    if (coin()) inputs.push_back(weights({outputs}));
    return add(OpType::kConv, std::move(attributes), std::move(inputs));
  }

  ValueId activate(ValueId x) {
    switch (random_.integer(0, 3)) {
      case 0: return add(OpType::kRelu, {}, {x});
      case 1: return add(OpType::kClip, {{"min", 0.0F}, {"max", 6.0F}}, {x});
      case 2: return add(OpType::kSigmoid, {}, {x});
      default: return x;
    }
  }

  ValueId any_conv(ValueId x) {
    const std::int64_t kernel = random_.integer(0, 1) * 2 + 1;
    const std::int64_t dilation = kernel == 3 && random_.integer(0, 3) == 0 && fits(x, 3) ? 2 : 1;
    return activate(conv(x, some_channels(9), kernel, fits(x, 3) ? random_.integer(1, 2) : 1, 1, dilation));
  }

  ValueId grouped(ValueId x) {
    const std::int64_t channels = channels_of(x);
    const std::int64_t groups = channels % 3 == 0 ? 3 : channels % 2 == 0 ? 2 : 1;
    return activate(conv(x, groups * some_channels(3), 3, 1, groups));
  }

  ValueId residual(ValueId x) {
    const std::int64_t channels = channels_of(x);
    const ValueId inner = activate(fits(x, 3) ? whole_conv(x, channels) : conv(x, channels, 1, 1, 1));
    return activate(add(OpType::kAdd, {}, {conv(inner, channels, 1, 1, 1), x}));
  }

  // 3 wide, and as large as its input.
  ValueId whole_conv(ValueId x, std::int64_t outputs) {
    Ints dims = all(3);
    dims.insert(dims.begin(), {outputs, channels_of(x)});
    return add(OpType::kConv, {{"pads", all(1, true)}}, {x, weights(Shape(dims)), weights({outputs})});
  }

  ValueId branches(ValueId x) {
    const ValueId a = activate(conv(x, some_channels(4), 1, 1, 1));
    const ValueId b = activate(whole_conv(x, some_channels(4)));
    return add(OpType::kConcat, {{"axis", std::int64_t{1}}}, {a, b});
  }

  ValueId inverted_residual(ValueId x) {
    const std::int64_t channels = channels_of(x);
    const std::int64_t wide = channels * random_.integer(1, 3);
    const ValueId expanded = activate(conv(x, wide, 1, 1, 1));
    Ints dims = all(3);
    dims.insert(dims.begin(), {wide, 1});
    const ValueId filtered =
        add(OpType::kConv, {{"group", wide}, {"pads", all(1, true)}}, {expanded, weights(Shape(dims))});
    return add(OpType::kAdd, {}, {x, conv(activate(filtered), channels, 1, 1, 1)});
  }

  ValueId pool(ValueId x) {
    const bool is_max = coin();
    if (!fits(x, 3)) return activate(x);
    Attributes attributes{{"kernel_shape", all(random_.integer(2, 3))},
                          {"strides", all(random_.integer(1, 2))},
                          {"ceil_mode", random_.integer(0, 1)}};
    if (coin()) attributes.set("pads", all(1, true));
    if (!is_max) attributes.set("count_include_pad", random_.integer(0, 1));
    return add(is_max ? OpType::kMaxPool : OpType::kAveragePool, attributes, {x});
  }

  // A value that is read again far behind.
  ValueId gate(ValueId x) {
    const ValueId a = add(OpType::kAveragePool, {{"kernel_shape", all(3)}, {"pads", all(1, true)}}, {x});
    return add(OpType::kMul, {}, {activate(a), x});
  }

  ValueId squeeze_and_excite(ValueId x) {
    const ValueId mean = add(OpType::kGlobalAveragePool, {}, {x});
    const ValueId inner = add(OpType::kRelu, {}, {conv(mean, 2, 1, 1, 1)});
    return add(OpType::kMul, {}, {x, add(OpType::kSigmoid, {}, {conv(inner, channels_of(x), 1, 1, 1)})});
  }

  ValueId normalize(ValueId x) {
    const std::int64_t channels = channels_of(x);
    if (coin()) return add(OpType::kLrn, {{"size", random_.integer(1, 4)}, {"alpha", 0.5F}}, {x});
    return add(OpType::kBatchNormalization, {},
               {x, weights({channels}), weights({channels}), weights({channels}), weights({channels}, 0.5F, 1.5F)});
  }

  // Halves change places.
  ValueId swap_halves(ValueId x) {
    const std::int64_t channels = channels_of(x);
    if (channels < 2) return activate(x);
    const std::string name = fmt::format("halves_{}", count_++);
    const NodeId halves = must(builder_.add_node(
        name, OpType::kSplit, {{"axis", std::int64_t{1}}, {"split", Ints{channels / 2, channels - channels / 2}}}, {x},
        {name + "_a", name + "_b"}));
    const std::vector<ValueId> both = builder_.graph().node(halves).outputs;
    return add(OpType::kConcat, {{"axis", std::int64_t{1}}}, {activate(both[1]), both[0]});
  }

  ValueId resize(ValueId x) {
    if (fits(x, 7)) return activate(x);
    Floats scales{1.0F, 1.0F};
    for (std::size_t axis = 0; axis < axes_; ++axis) scales.push_back(2.0F);
    return add(OpType::kResize, {{"mode", coin() ? std::string("linear") : std::string("nearest")}, {"scales", scales}},
               {x});
  }

  ValueId block(ValueId x) {
    const std::int64_t channels = channels_of(x);
    switch (random_.integer(0, 12)) {
      case 0: return any_conv(x);
      case 1: return activate(conv(x, channels, 3, 1, channels));
      case 2: return residual(x);
      case 3: return branches(x);
      case 4: return pool(x);
      case 5: return gate(x);
      case 6: return grouped(x);
      case 7: return inverted_residual(x);
      case 8: return normalize(x);
      case 9: return swap_halves(x);
      case 10: return resize(x);
      case 11: return squeeze_and_excite(x);
      default: return any_conv(x);
    }
  }

  ValueId fully_connected(ValueId x, std::int64_t outputs) {
    return add(OpType::kGemm, {{"transB", std::int64_t{1}}},
               {x, weights({outputs, shape_of(x)[1]}), weights({outputs})});
  }

  ValueId head(ValueId x) {
    const std::int64_t kind = random_.integer(0, 3);
    if (kind == 1) {  // as AlexNet has it
      const ValueId flat = add(OpType::kFlatten, {{"axis", std::int64_t{1}}}, {x});
      const ValueId inner = add(OpType::kRelu, {}, {fully_connected(flat, random_.integer(4, 9))});
      const ValueId logits = fully_connected(inner, random_.integer(3, 5));
      return coin() ? logits : add(OpType::kSoftmax, {{"axis", std::int64_t{1}}}, {logits});
    }
    if (kind == 2) {
      Ints axes;
      for (std::size_t axis = 0; axis < axes_; ++axis) axes.push_back(static_cast<std::int64_t>(axis) + 2);
      const ValueId mean = add(OpType::kReduceMean, {{"axes", axes}, {"keepdims", std::int64_t{0}}}, {x});
      return add(OpType::kMatMul, {}, {mean, weights({shape_of(mean)[1], 3})});
    }
    if (kind == 3) return conv(x, 3, 1, 1, 1);  // a map
    const ValueId mean = add(OpType::kGlobalAveragePool, {}, {x});
    return fully_connected(add(OpType::kFlatten, {{"axis", std::int64_t{1}}}, {mean}), 3);
  }

  Random random_;
  std::size_t axes_;
  std::int64_t unit_;
  GraphBuilder builder_;
  int count_ = 0;
};

inline Graph random_network(std::uint64_t seed, std::int64_t blocks, std::size_t axes = 2, std::int64_t unit = 1) {
  return RandomNetwork(seed, axes, unit).make(blocks);
}

// Seeded inputs for every input of a graph.
inline std::vector<Tensor> random_inputs(const Graph& graph, std::uint64_t seed) {
  std::vector<Tensor> inputs;
  for (const ValueId id : graph.inputs()) inputs.push_back(zoo::random_input(graph.value(id).shape(), seed++));
  return inputs;
}

}  // namespace onnx_split::testing
