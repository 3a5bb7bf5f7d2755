// A network with layers that may have parity parts, and stages for it: for the tests of spare parts.
#pragma once

#include <string>
#include <vector>

#include "base/random.h"
#include "graph/builder.h"
#include "partition/stages_file.h"
#include "tests/support/expect.h"

namespace onnx_split::testing {

class SpareNetwork {
 public:
  // Two convolutions, "a" and "b", and an FC layer "c", each with its activation behind it, of seeded weights and
  // sizes; `channels` of b.
  static Graph make(std::uint64_t seed, std::int64_t channels, std::int64_t side = 12) {
    return SpareNetwork(seed).build(channels, side);
  }

  // Until relu_a whole, then `layer` (b: a convolution, c: an FC layer; both with parity), then the rest whole.
  static std::vector<StageRequest> parity_stages(const std::string& layer, std::size_t ways) {
    StageRequest front, middle, rest;
    front.until = {layer == "b" ? "relu_a" : "flat"};
    middle.until = {layer};
    middle.split = Split::kOutputChannel;
    middle.ways = ways;
    middle.spare = Spare::kParity;
    return {front, middle, rest};
  }

 private:
  explicit SpareNetwork(std::uint64_t seed) : random_(seed), builder_("spare") {}

  Tensor weights(Shape shape) {
    TensorBuilder tensor({DataType::kFloat32, std::move(shape)});
    for (float& value : tensor.as<float>()) value = random_.uniform(-0.5F, 0.5F);
    return std::move(tensor).build();
  }

  ValueId conv(const std::string& name, ValueId input, std::int64_t channels) {
    const std::int64_t before = builder_.value(input).shape()[1];
    const ValueId w = must(builder_.add_constant("w_" + name, weights({channels, before, 3, 3})));
    const ValueId bias = must(builder_.add_constant("bias_" + name, weights({channels})));
    Attributes attributes;
    attributes.set("kernel_shape", Ints{3, 3});
    attributes.set("pads", Ints{1, 1, 1, 1});
    return must(builder_.add(name, OpType::kConv, std::move(attributes), {input, w, bias}));
  }

  Graph build(std::int64_t channels, std::int64_t side) {
    const ValueId input = must(builder_.add_input("x", {DataType::kFloat32, {1, 3, side, side}}));
    const ValueId a = must(builder_.add("relu_a", OpType::kRelu, {}, {conv("a", input, 8)}));
    const ValueId b = must(builder_.add("relu_b", OpType::kRelu, {}, {conv("b", a, channels)}));
    Attributes flat_axis;
    flat_axis.set("axis", std::int64_t{1});
    const ValueId flat = must(builder_.add("flat", OpType::kFlatten, std::move(flat_axis), {b}));
    const std::int64_t features = builder_.value(flat).shape()[1];
    const ValueId w = must(builder_.add_constant("w_c", weights({channels, features})));
    const ValueId bias = must(builder_.add_constant("bias_c", weights({channels})));
    Attributes transposed;
    transposed.set("transB", std::int64_t{1});
    const ValueId c = must(builder_.add("c", OpType::kGemm, std::move(transposed), {flat, w, bias}));
    const ValueId output = must(builder_.add("y", OpType::kRelu, {}, {c}));
    return must(std::move(builder_).build({output}));
  }

  Random random_;
  GraphBuilder builder_;
};

}  // namespace onnx_split::testing
