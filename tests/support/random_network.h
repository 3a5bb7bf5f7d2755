// Small random networks for properties: chains, residuals, concats, depthwise and grouped convolutions, pools, an FC
// head. Seeded; every network is valid and computes in microseconds.
#pragma once

#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "graph/builder.h"
#include "graph/zoo/zoo.h"

namespace onnx_split::testing {

class RandomNetwork {
 public:
  explicit RandomNetwork(std::uint64_t seed) : random_(seed), builder_("random") {}

  // `blocks` random blocks behind one another, then a classifier or a bare feature map.
  Graph make(std::int64_t blocks) {
    const Shape shape{1, random_.integer(1, 4), random_.integer(5, 9), random_.integer(5, 9)};
    ValueId now = must(builder_.add_input("input", {DataType::kFloat32, shape}));
    for (std::int64_t i = 0; i < blocks; ++i) now = block(now);
    std::vector<ValueId> outputs;
    if (random_.integer(0, 2) == 0) {
      outputs.push_back(now);  // a second output, in the middle of the network
    }
    now = add(OpType::kGlobalAveragePool, {}, {now});
    now = add(OpType::kFlatten, {{"axis", std::int64_t{1}}}, {now});
    const std::int64_t features = shape_of(now)[1];
    outputs.insert(outputs.begin(),
                   add(OpType::kGemm, {{"transB", std::int64_t{1}}}, {now, weights({3, features}), weights({3})}));
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

  ValueId add(OpType op, Attributes attributes, std::vector<ValueId> inputs) {
    return must(
        builder_.add(fmt::format("{}_{}", op_name(op), count_++), op, std::move(attributes), std::move(inputs)));
  }

  ValueId weights(Shape shape) {
    std::vector<float> data(static_cast<std::size_t>(shape.elements()));
    for (float& x : data) x = random_.uniform(-0.5F, 0.5F);
    return must(builder_.add_constant(fmt::format("w_{}", count_++), Tensor::floats(shape, data)));
  }

  ValueId conv(ValueId x, std::int64_t outputs, std::int64_t kernel, std::int64_t stride, std::int64_t groups) {
    const std::int64_t pad = kernel / 2;
    Attributes attributes{{"group", groups}, {"pads", Ints{pad, pad, pad, pad}}, {"strides", Ints{stride, stride}}};
    std::vector<ValueId> inputs{x, weights({outputs, shape_of(x)[1] / groups, kernel, kernel})};
    if (random_.integer(0, 1) == 1) inputs.push_back(weights({outputs}));
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

  ValueId block(ValueId x) {
    const std::int64_t channels = shape_of(x)[1];
    switch (random_.integer(0, 5)) {
      case 0: return activate(conv(x, random_.integer(1, 6), random_.integer(0, 1) * 2 + 1, random_.integer(1, 2), 1));
      case 1: return activate(conv(x, channels, 3, 1, channels));
      case 2: {  // residual
        const ValueId inner = activate(conv(x, channels, 3, 1, 1));
        return activate(add(OpType::kAdd, {}, {conv(inner, channels, 1, 1, 1), x}));
      }
      case 3: {  // two branches
        const ValueId a = activate(conv(x, random_.integer(1, 4), 1, 1, 1));
        const ValueId b = activate(conv(x, random_.integer(1, 4), 3, 1, 1));
        return add(OpType::kConcat, {{"axis", std::int64_t{1}}}, {a, b});
      }
      case 4: {
        if (shape_of(x)[2] < 2 || shape_of(x)[3] < 2) return activate(x);
        return add(OpType::kMaxPool, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{1, 1}}}, {x});
      }
      default: {  // a value that is read again far behind
        const ValueId a = add(OpType::kAveragePool, {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}}, {x});
        return add(OpType::kMul, {}, {activate(a), x});
      }
    }
  }

  Random random_;
  GraphBuilder builder_;
  int count_ = 0;
};

inline Graph random_network(std::uint64_t seed, std::int64_t blocks) { return RandomNetwork(seed).make(blocks); }

// Seeded inputs for every input of a graph.
inline std::vector<Tensor> random_inputs(const Graph& graph, std::uint64_t seed) {
  std::vector<Tensor> inputs;
  for (const ValueId id : graph.inputs()) inputs.push_back(zoo::random_input(graph.value(id).shape(), seed++));
  return inputs;
}

}  // namespace onnx_split::testing
