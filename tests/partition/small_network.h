// Networks of a few nodes, for the planner's search: structure without weights. Seeded.
#pragma once

#include <algorithm>
#include <vector>

#include "base/random.h"
#include "graph/builder.h"
#include "tests/support/expect.h"

namespace onnx_split::testing {

// Networks of exactly so many nodes: chains, or graphs whose values are read again later, with one or several inputs
// and outputs, strided convolutions and pools that leave rows out.
class SmallNetwork {
 public:
  explicit SmallNetwork(std::uint64_t seed) : random_(seed), builder_("small") {}

  Graph make(std::size_t nodes, bool is_chain) {
    const Shape shape{1, 2 * random_.integer(1, 4), random_.integer(4, 9), random_.integer(4, 9)};
    ValueId now = must(builder_.add_input("x", {DataType::kFloat32, shape}));
    values_.push_back(now);
    if (!is_chain && random_.integer(0, 4) == 0) {
      values_.push_back(must(builder_.add_input("x2", {DataType::kFloat32, shape})));
      now = add(OpType::kAdd, {}, {now, values_.back()});
    }
    while (count_ < nodes) {
      const std::size_t left = nodes - count_;
      if (left == 2 && random_.integer(0, 1) == 0) {
        const ValueId flat = add(OpType::kFlatten, {{"axis", std::int64_t{1}}}, {now});
        now = fully_connected(flat);
      } else if (!is_chain && random_.integer(0, 2) == 0) {
        now = join(now);
      } else {
        // Mostly the newest value; sometimes a branch from an older one.
        const bool branches = !is_chain && random_.integer(0, 3) == 0;
        now = layer(branches ? values_[index(values_.size())] : now);
      }
    }
    std::vector<ValueId> outputs;
    for (const Value& value : builder_.graph().values()) {
      if (value.producer.valid() && value.consumers.empty())
        outputs.push_back(*builder_.graph().find_value(value.name));
    }
    // An output in the middle, too.
    if (!is_chain && nodes > 2 && random_.integer(0, 5) == 0) {
      const ValueId middle = builder_.graph().nodes()[nodes / 2].outputs[0];
      if (std::find(outputs.begin(), outputs.end(), middle) == outputs.end()) outputs.push_back(middle);
    }
    return must(std::move(builder_).build(outputs));
  }

 private:
  std::size_t index(std::size_t count) {
    return static_cast<std::size_t>(random_.integer(0, static_cast<std::int64_t>(count) - 1));
  }
  const Shape& shape_of(ValueId id) const { return builder_.value(id).shape(); }

  ValueId add(OpType op, Attributes attributes, std::vector<ValueId> inputs) {
    values_.push_back(must(builder_.add(fmt::format("n{}", count_++), op, std::move(attributes), std::move(inputs))));
    return values_.back();
  }

  ValueId zeros(const Shape& shape) {
    TensorBuilder builder({DataType::kFloat32, shape}, true);
    return must(builder_.add_constant(fmt::format("w{}", constants_++), std::move(builder).build()));
  }

  ValueId conv(ValueId x, std::int64_t outputs, std::int64_t groups) {
    const std::int64_t kernel = 2 * random_.integer(0, 1) + 1;
    const std::int64_t stride = shape_of(x)[2] > 3 && shape_of(x)[3] > 3 ? random_.integer(1, 8) / 7 + 1 : 1;
    const Ints pads(4, kernel / 2);
    return add(OpType::kConv, {{"group", groups}, {"pads", pads}, {"strides", Ints{stride, stride}}},
               {x, zeros({outputs, shape_of(x)[1] / groups, kernel, kernel}), zeros({outputs})});
  }

  ValueId fully_connected(ValueId flat) {
    const std::int64_t outputs = random_.integer(2, 12);
    return add(OpType::kGemm, {{"transB", std::int64_t{1}}},
               {flat, zeros({outputs, shape_of(flat)[1]}), zeros({outputs})});
  }

  ValueId pool(ValueId x) {
    if (shape_of(x)[2] < 3 || shape_of(x)[3] < 3) return add(OpType::kRelu, {}, {x});
    const Attributes attributes{{"kernel_shape", Ints(2, random_.integer(2, 3))},
                                {"strides", Ints(2, random_.integer(1, 2))}};
    return add(random_.integer(0, 1) == 0 ? OpType::kMaxPool : OpType::kAveragePool, attributes, {x});
  }

  ValueId layer(ValueId x) {
    if (shape_of(x).rank() != 4) return add(OpType::kRelu, {}, {x});
    const std::int64_t channels = shape_of(x)[1];
    switch (random_.integer(0, 9)) {
      case 0:
      case 1: return add(OpType::kRelu, {}, {x});
      case 2: return pool(x);
      case 3: return conv(x, channels, channels);
      case 4: return channels % 2 == 0 ? conv(x, 2 * random_.integer(1, 4), 2) : conv(x, channels, channels);
      case 5: return random_.integer(0, 3) == 0 ? add(OpType::kGlobalAveragePool, {}, {x}) : conv(x, 4, 1);
      default: return conv(x, random_.integer(1, 4) * random_.integer(1, 4), 1);
    }
  }

  // With an older value that fits.
  ValueId join(ValueId x) {
    if (shape_of(x).rank() != 4) return layer(x);
    std::vector<ValueId> alike, stackable;
    for (const ValueId other : values_) {
      const Shape& shape = shape_of(other);
      if (other == x || shape.rank() != 4) continue;
      if (shape == shape_of(x)) alike.push_back(other);
      if (shape[2] == shape_of(x)[2] && shape[3] == shape_of(x)[3]) stackable.push_back(other);
    }
    if (!alike.empty() && random_.integer(0, 2) > 0) return add(OpType::kAdd, {}, {x, alike[index(alike.size())]});
    if (stackable.empty()) return layer(x);
    return add(OpType::kConcat, {{"axis", std::int64_t{1}}}, {x, stackable[index(stackable.size())]});
  }

  Random random_;
  GraphBuilder builder_;
  std::vector<ValueId> values_;
  std::size_t count_ = 0;
  std::size_t constants_ = 0;
};

}  // namespace onnx_split::testing
