#include "tests/graph/slice_calls.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "tests/graph/helpers.h"

namespace onnx_split {
namespace {

// Once in `times`.
bool chance(Random& random, std::int64_t times) { return random.integer(1, times) == 1; }

template <class T>
T pick(Random& random, std::initializer_list<T> values) {
  return values.begin()[random_index(random, values.size())];
}

template <class T>
void shuffle(Random& random, std::vector<T>& values) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random_index(random, i)]);
}

Shape random_shape(Random& random, std::int64_t min_rank, std::int64_t max_rank) {
  Shape shape(Ints(static_cast<std::size_t>(random.integer(min_rank, max_rank))));
  const std::int64_t most = shape.rank() < 3 ? 7 : shape.rank() == 3 ? 5 : 4;
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) shape[axis] = random.integer(1, most);
  return shape;
}

Tensor random_floats(Random& random, const Shape& shape, float low, float high) {
  TensorBuilder builder({DataType::kFloat32, shape});
  for (float& x : builder.as<float>()) x = random.uniform(low, high);
  return std::move(builder).build();
}

Tensor random_ints(Random& random, const Shape& shape, std::int64_t low, std::int64_t high) {
  TensorBuilder builder({DataType::kInt64, shape});
  for (std::int64_t& x : builder.as<std::int64_t>()) x = random.integer(low, high);
  return std::move(builder).build();
}

Tensor random_data(Random& random, const Shape& shape, DataType type) {
  switch (type) {
    case DataType::kFloat32: return random_floats(random, shape, -3.0F, 3.0F);
    case DataType::kInt64: return random_ints(random, shape, -100, 100);
    case DataType::kBool: break;
  }
  TensorBuilder builder({DataType::kBool, shape});
  for (bool& x : builder.as<bool>()) x = chance(random, 2);
  return std::move(builder).build();
}

// Floats, but once in three times ints or bools.
DataType any_type(Random& random) {
  return chance(random, 3) ? pick(random, {DataType::kInt64, DataType::kBool}) : DataType::kFloat32;
}

Tensor any_data(Random& random, const Shape& shape) { return random_data(random, shape, any_type(random)); }

// Sets an attribute, unless it has its default value and happens to be left out.
void set(Random& random, Attributes& attributes, const char* name, AttributeValue value, const AttributeValue& other) {
  if (value != other || chance(random, 2)) attributes.set(name, std::move(value));
}

// Both signs of an axis mean the same.
std::int64_t named_axis(Random& random, std::size_t axis, std::size_t rank) {
  return static_cast<std::int64_t>(axis) - (chance(random, 4) ? static_cast<std::int64_t>(rank) : 0);
}

// Some of the axes in [0, rank), in any order.
std::vector<std::size_t> some_axes(Random& random, std::size_t rank) {
  std::vector<std::size_t> axes;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    if (chance(random, 2)) axes.push_back(axis);
  }
  shuffle(random, axes);
  return axes;
}

Ints named_axes(Random& random, const std::vector<std::size_t>& axes, std::size_t rank) {
  Ints named;
  for (const std::size_t axis : axes) named.push_back(named_axis(random, axis, rank));
  return named;
}

// What broadcasts to `full`.
Shape random_operand(Random& random, const Shape& full) {
  if (chance(random, 3)) return full;
  const std::int64_t dropped = chance(random, 2) ? 0 : random.integer(0, static_cast<std::int64_t>(full.rank()));
  Shape shape(Ints(full.begin() + dropped, full.end()));
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
    if (chance(random, 3)) shape[axis] = 1;
  }
  return shape;
}

Application make_unary(Random& random, OpType op) {
  Attributes attributes;
  if (op == OpType::kClip) {
    if (chance(random, 2)) attributes.set("min", random.uniform(-2.0F, 0.0F));
    if (chance(random, 2)) attributes.set("max", random.uniform(0.0F, 2.0F));
  } else if (chance(random, 2)) {
    if (op == OpType::kElu || op == OpType::kLeakyRelu || op == OpType::kHardSigmoid || op == OpType::kSelu) {
      attributes.set("alpha", random.uniform(0.1F, 2.0F));
    }
    if (op == OpType::kHardSigmoid) attributes.set("beta", random.uniform(0.3F, 0.7F));
    if (op == OpType::kSelu) attributes.set("gamma", random.uniform(0.5F, 1.5F));
  }
  const Shape shape = random_shape(random, 0, 5);
  const bool takes_ints = op == OpType::kAbs || op == OpType::kNeg;
  if (takes_ints && chance(random, 3)) return {op, attributes, {random_ints(random, shape, -100, 100)}};
  return {op, attributes, {random_floats(random, shape, op == OpType::kSqrt ? 0.0F : -4.0F, 4.0F)}};
}

Application make_identity(Random& random, OpType op) {
  return {op, {}, {any_data(random, random_shape(random, 0, 5))}};
}

Application make_cast(Random& random, OpType op) {
  const std::string to(data_type_name(pick(random, {DataType::kFloat32, DataType::kInt64, DataType::kBool})));
  const auto from = pick(random, {DataType::kFloat32, DataType::kInt64, DataType::kBool});
  return {op, {{"to", to}}, {random_data(random, random_shape(random, 0, 4), from)}};
}

Application make_binary(Random& random, OpType op) {
  const Shape full = random_shape(random, 0, 5);
  if (op == OpType::kPRelu) {
    return {op, {}, {random_floats(random, full, -2, 2), random_floats(random, random_operand(random, full), -2, 2)}};
  }
  const Shape a = random_operand(random, full);
  const Shape b = random_operand(random, full);
  const bool ints = chance(random, 3);
  if (op == OpType::kPow) {
    const Tensor exponent = ints ? random_ints(random, b, -3, 3) : random_floats(random, b, -2.0F, 2.0F);
    return {op, {}, {random_floats(random, a, 0.5F, 2.0F), exponent}};
  }
  // Integers must not be divided by 0.
  if (ints) return {op, {}, {random_ints(random, a, -100, 100), random_ints(random, b, 1, 9)}};
  return {op, {}, {random_floats(random, a, -2.0F, 2.0F), random_floats(random, b, -2.0F, 2.0F)}};
}

Application make_variadic(Random& random, OpType op) {
  const Shape full = random_shape(random, 0, 4);
  const bool takes_ints = op == OpType::kMax || op == OpType::kMin;
  const DataType type = takes_ints && chance(random, 3) ? DataType::kInt64 : DataType::kFloat32;
  Application made{op, {}, {}};
  for (std::int64_t i = random.integer(1, 4); i > 0; --i) {
    made.inputs.push_back(random_data(random, random_operand(random, full), type));
  }
  return made;
}

// Spatial attributes of a window, and an input that it fits.
struct RandomWindow {
  Ints kernel, strides, dilations, pads, input;

  RandomWindow(Random& random, bool may_lie_in_padding) {
    const std::int64_t rank = random.integer(1, 3);
    Ints ends;
    for (std::int64_t i = 0; i < rank; ++i) {
      kernel.push_back(random.integer(1, rank == 3 ? 2 : 4));
      strides.push_back(random.integer(1, 3));
      dilations.push_back(random.integer(1, 2));
      const std::int64_t reach = (kernel.back() - 1) * dilations.back() + 1;
      const std::int64_t most_pad = std::min<std::int64_t>(3, may_lie_in_padding ? reach + 1 : reach - 1);
      pads.push_back(random.integer(0, most_pad));
      ends.push_back(random.integer(0, most_pad));
      const std::int64_t least = std::max<std::int64_t>(1, reach - pads.back() - ends.back());
      input.push_back(random.integer(least, least + (rank == 1 ? 12 : rank == 2 ? 6 : 3)));
    }
    pads.insert(pads.end(), ends.begin(), ends.end());
  }

  void set_attributes(Random& random, Attributes& attributes) const {
    const std::size_t rank = kernel.size();
    set(random, attributes, "strides", strides, Ints(rank, 1));
    set(random, attributes, "dilations", dilations, Ints(rank, 1));
    set(random, attributes, "pads", pads, Ints(2 * rank, 0));
  }
};

Shape joined(std::int64_t first, std::int64_t second, const Ints& rest) {
  Ints dims{first, second};
  dims.insert(dims.end(), rest.begin(), rest.end());
  return Shape(std::move(dims));
}

Application make_conv(Random& random, OpType op) {
  const RandomWindow window(random, chance(random, 3));
  const bool is_depthwise = chance(random, 4);
  const std::int64_t groups = chance(random, 2) ? 1 : random.integer(2, 4);
  const std::int64_t in_per_group = is_depthwise ? 1 : random.integer(1, groups == 1 ? 6 : 3);
  const std::int64_t outputs = groups * random.integer(1, 3);
  Application made{op, {}, {}};
  set(random, made.attributes, "group", groups, std::int64_t{1});
  if (chance(random, 2)) made.attributes.set("kernel_shape", window.kernel);
  window.set_attributes(random, made.attributes);
  const Shape x = joined(random.integer(1, 2), groups * in_per_group, window.input);
  made.inputs = {random_tensor(random, x), random_tensor(random, joined(outputs, in_per_group, window.kernel))};
  if (chance(random, 2)) made.inputs.push_back(random_tensor(random, Shape{outputs}));
  return made;
}

Application make_pool(Random& random, OpType op) {
  const RandomWindow window(random, false);
  Application made{op, {{"kernel_shape", window.kernel}}, {}};
  window.set_attributes(random, made.attributes);
  set(random, made.attributes, "ceil_mode", random.integer(0, 1), std::int64_t{0});
  if (op == OpType::kAveragePool) {
    set(random, made.attributes, "count_include_pad", random.integer(0, 1), std::int64_t{0});
  }
  const Shape x = joined(random.integer(1, 2), random.integer(1, 3), window.input);
  // Below zero: padding must not be taken for a maximum.
  made.inputs = {random_floats(random, x, -2.0F, -1.0F)};
  return made;
}

Application make_global_pool(Random& random, OpType op) {
  return {op, {}, {random_tensor(random, random_shape(random, 3, 5))}};
}

Application make_lrn(Random& random, OpType op) {
  const Shape x = random_shape(random, 2, 5);
  Attributes attributes{{"size", chance(random, 4) ? 1 : random.integer(1, 2 * x[1] + 2)}};
  if (chance(random, 2)) attributes.set("alpha", random.uniform(0.1F, 1.0F));
  if (chance(random, 2)) attributes.set("beta", random.uniform(0.5F, 1.0F));
  if (chance(random, 2)) attributes.set("bias", random.uniform(0.5F, 2.0F));
  return {op, attributes, {random_tensor(random, x)}};
}

Application make_batch_norm(Random& random, OpType op) {
  const Shape x = random_shape(random, 1, 5);
  const Shape c{x.rank() == 1 ? 1 : x[1]};
  Attributes attributes;
  if (chance(random, 2)) attributes.set("epsilon", 0.01F);
  return {op,
          attributes,
          {random_tensor(random, x), random_tensor(random, c), random_tensor(random, c), random_tensor(random, c),
           random_floats(random, c, 0.1F, 2.0F)}};
}

Application make_softmax(Random& random, OpType op) {
  const Shape x = random_shape(random, 1, 4);
  const std::size_t axis = random_index(random, x.rank());
  Attributes attributes;
  if (axis + 1 < x.rank() || chance(random, 2)) attributes.set("axis", named_axis(random, axis, x.rank()));
  return {op, attributes, {random_tensor(random, x)}};
}

Application make_gemm(Random& random, OpType op) {
  const std::int64_t m = random.integer(1, 5);
  const std::int64_t n = random.integer(1, 5);
  const std::int64_t k = chance(random, 20) ? 0 : random.integer(1, 6);
  const std::int64_t transpose_a = random.integer(0, 1);
  const std::int64_t transpose_b = random.integer(0, 1);
  Application made{op,
                   {},
                   {random_tensor(random, transpose_a != 0 ? Shape{k, m} : Shape{m, k}),
                    random_tensor(random, transpose_b != 0 ? Shape{n, k} : Shape{k, n})}};
  set(random, made.attributes, "transA", transpose_a, std::int64_t{0});
  set(random, made.attributes, "transB", transpose_b, std::int64_t{0});
  if (chance(random, 2)) made.attributes.set("alpha", random.uniform(0.5F, 2.0F));
  if (chance(random, 2)) made.attributes.set("beta", random.uniform(0.5F, 2.0F));
  if (!chance(random, 5)) {
    const Shape c = pick<Shape>(random, {{}, {1}, {n}, {1, 1}, {1, n}, {m, 1}, {m, n}});
    made.inputs.push_back(random_tensor(random, c));
  }
  return made;
}

Application make_matmul(Random& random, OpType op) {
  const std::int64_t k = chance(random, 20) ? 0 : random.integer(1, 6);
  const Shape batch = random_shape(random, 0, 3);
  Ints a = random_operand(random, batch).vector();
  Ints b = random_operand(random, batch).vector();
  const std::int64_t vector = random.integer(0, 5);
  if (vector == 0) a.clear();
  if (vector == 1) b.clear();
  if (vector != 0) a.push_back(random.integer(1, 5));
  a.push_back(k);
  b.push_back(k);
  if (vector != 1) b.push_back(random.integer(1, 5));
  return {op, {}, {random_tensor(random, Shape(a)), random_tensor(random, Shape(b))}};
}

Application make_reduce(Random& random, OpType op) {
  Shape x = random_shape(random, 0, 4);
  // The sum of nothing is 0; the others have no value that could be compared.
  if (op == OpType::kReduceSum && x.rank() > 0 && chance(random, 20)) x[random_index(random, x.rank())] = 0;
  Attributes attributes;
  const Ints axes = named_axes(random, some_axes(random, x.rank()), x.rank());
  set(random, attributes, "axes", axes, Ints{});
  set(random, attributes, "keepdims", random.integer(0, 1), std::int64_t{1});
  const bool ints = op != OpType::kReduceMean && chance(random, 3);
  return {op, attributes, {random_data(random, x, ints ? DataType::kInt64 : DataType::kFloat32)}};
}

// The same elements under another shape: the extents' prime factors, grouped anew, and once in four times mixed.
Application make_reshape(Random& random, OpType op) {
  Shape x(Ints(static_cast<std::size_t>(random.integer(0, 4))));
  Ints factors;
  for (std::size_t axis = 0; axis < x.rank(); ++axis) {
    x[axis] = pick<std::int64_t>(random, {1, 2, 3, 4, 6});
    std::int64_t left = x[axis];
    for (const std::int64_t prime : {2, 3}) {
      for (; left % prime == 0; left /= prime) factors.push_back(prime);
    }
  }
  if (chance(random, 4)) shuffle(random, factors);
  Ints shape;
  for (const std::int64_t factor : factors) {
    if (shape.empty() || chance(random, 2)) shape.push_back(1);
    shape.back() *= factor;
  }
  while (shape.size() < 6 && chance(random, 3)) {
    shape.insert(shape.begin() + random.integer(0, static_cast<std::int64_t>(shape.size())), 1);
  }
  return {op, {{"shape", shape}}, {any_data(random, x)}};
}

Application make_flatten(Random& random, OpType op) {
  const Shape x = random_shape(random, 1, 5);
  const auto rank = static_cast<std::int64_t>(x.rank());
  std::int64_t axis = random.integer(0, rank);
  if (axis < rank && chance(random, 4)) axis -= rank;
  Attributes attributes;
  set(random, attributes, "axis", axis, std::int64_t{1});
  return {op, attributes, {any_data(random, x)}};
}

Application make_squeeze(Random& random, OpType op) {
  Shape x = random_shape(random, 0, 5);
  const std::vector<std::size_t> axes = some_axes(random, x.rank());
  for (const std::size_t axis : axes) x[axis] = 1;
  Attributes attributes;
  if (!chance(random, 3)) attributes.set("axes", named_axes(random, axes, x.rank()));
  return {op, attributes, {any_data(random, x)}};
}

Application make_unsqueeze(Random& random, OpType op) {
  const Shape x = random_shape(random, 0, 4);
  const std::size_t rank = x.rank() + random_index(random, 4);
  std::vector<std::size_t> axes(rank);
  std::iota(axes.begin(), axes.end(), std::size_t{0});
  shuffle(random, axes);
  axes.resize(rank - x.rank());
  return {op, {{"axes", named_axes(random, axes, rank)}}, {any_data(random, x)}};
}

Application make_transpose(Random& random, OpType op) {
  const Shape x = random_shape(random, 0, 5);
  std::vector<std::size_t> perm(x.rank());
  std::iota(perm.begin(), perm.end(), std::size_t{0});
  shuffle(random, perm);
  Attributes attributes;
  if (!chance(random, 4)) attributes.set("perm", named_axes(random, perm, x.rank()));
  return {op, attributes, {any_data(random, x)}};
}

Application make_expand(Random& random, OpType op) {
  const Shape full = random_shape(random, 0, 5);
  return {op, {{"shape", random_operand(random, full).vector()}}, {any_data(random, random_operand(random, full))}};
}

Application make_concat(Random& random, OpType op) {
  const Shape x = random_shape(random, 1, 4);
  const std::size_t axis = random_index(random, x.rank());
  const DataType type = any_type(random);
  Application made{op, {{"axis", named_axis(random, axis, x.rank())}}, {random_data(random, x, type)}};
  for (std::int64_t more = random.integer(0, 3); more > 0; --more) {
    Shape shape = x;
    shape[axis] = random.integer(0, 3);
    made.inputs.push_back(random_data(random, shape, type));
  }
  shuffle(random, made.inputs);
  return made;
}

Application make_split(Random& random, OpType op) {
  Shape x = random_shape(random, 1, 4);
  const std::size_t axis = random_index(random, x.rank());
  Application made{op, {}, {}, static_cast<std::size_t>(random.integer(1, 4))};
  if (axis > 0 || chance(random, 2)) made.attributes.set("axis", named_axis(random, axis, x.rank()));
  if (chance(random, 3)) {
    x[axis] = static_cast<std::int64_t>(made.output_count) * random.integer(1, 2);
  } else {
    Ints pieces{random.integer(1, 4)};
    while (pieces.size() < made.output_count) pieces.push_back(random.integer(0, 3));
    shuffle(random, pieces);
    x[axis] = std::accumulate(pieces.begin(), pieces.end(), std::int64_t{0});
    made.attributes.set("split", pieces);
  }
  made.inputs = {any_data(random, x)};
  return made;
}

Application make_pad(Random& random, OpType op) {
  Shape x = random_shape(random, 0, 4);
  Attributes attributes;
  const auto mode = pick<std::string>(random, {"constant", "edge", "reflect"});
  set(random, attributes, "mode", mode, std::string("constant"));
  if (chance(random, 2)) attributes.set("value", 1.5F);
  if (mode == "constant" && x.rank() > 0 && chance(random, 20)) x[random_index(random, x.rank())] = 0;
  Ints pads(2 * x.rank(), 0);
  for (std::size_t axis = 0; axis < x.rank(); ++axis) {
    if (x[axis] > 0 && chance(random, 3)) continue;
    // Crops may go as far as the other side's padding, so that what comes out is nothing but padding.
    const std::int64_t most = mode == "reflect" ? std::min<std::int64_t>(3, x[axis] - 1) : 3;
    const std::int64_t begin = random.integer(std::max(-x[axis], 1 - x[axis] - most), most);
    pads[axis] = begin;
    pads[x.rank() + axis] = random.integer(std::max(-x[axis], 1 - x[axis] - begin), most);
  }
  attributes.set("pads", pads);
  return {op, attributes, {any_data(random, x)}};
}

// Start and end of a walk along an axis that takes something, in any of the ways to say it.
std::pair<std::int64_t, std::int64_t> random_walk(Random& random, std::int64_t extent, bool forwards) {
  std::int64_t start = random.integer(0, extent - 1);
  std::int64_t end = forwards ? random.integer(start + 1, extent) : random.integer(-1, start - 1);
  if (end == extent) {
    if (chance(random, 2)) end = pick(random, {extent + 2, kIntMax});
  } else if (end == -1) {
    end = pick(random, {-extent - 1, kIntMin});
  } else if (chance(random, 3)) {
    end -= extent;
  }
  if (chance(random, 3)) start -= extent;
  if (!forwards && start == extent - 1 && chance(random, 2)) start = pick(random, {extent, kIntMax});
  return {start, end};
}

Application make_slice(Random& random, OpType op) {
  const Shape x = random_shape(random, 1, 4);
  std::vector<std::size_t> axes = some_axes(random, x.rank());
  const bool names_axes = chance(random, 2);
  if (!names_axes) std::iota(axes.begin(), axes.end(), std::size_t{0});
  const bool names_steps = chance(random, 2);
  Ints starts, ends, steps;
  for (const std::size_t axis : axes) {
    steps.push_back(names_steps ? pick<std::int64_t>(random, {1, 2, 3, -1, -2, -3}) : 1);
    const auto [start, end] = random_walk(random, x[axis], steps.back() > 0);
    starts.push_back(start);
    ends.push_back(end);
  }
  Attributes attributes{{"starts", starts}, {"ends", ends}};
  if (names_axes) attributes.set("axes", named_axes(random, axes, x.rank()));
  if (names_steps) attributes.set("steps", steps);
  return {op, attributes, {any_data(random, x)}};
}

Application make_gather(Random& random, OpType op) {
  const Shape x = random_shape(random, 1, 4);
  const std::size_t axis = random_index(random, x.rank());
  Attributes attributes;
  if (axis > 0 || chance(random, 2)) attributes.set("axis", named_axis(random, axis, x.rank()));
  const Tensor indices = random_ints(random, random_shape(random, 0, 3), -x[axis], x[axis] - 1);
  return {op, attributes, {any_data(random, x), indices}};
}

Application make_resize(Random& random, OpType op) {
  Shape x = random_shape(random, 1, 4);
  if (x.rank() < 3) x[0] = random.integer(1, 12);
  Floats scales;
  Ints sizes;
  for (const std::int64_t extent : x) {
    const bool keeps = chance(random, 2);
    const float scale = keeps ? 1.0F : pick(random, {0.5F, 0.6F, 1.0F / 3.0F, 1.2F, 1.5F, 2.0F, 3.0F, 4.0F});
    scales.push_back(scale * static_cast<float>(extent) < 1.0F ? 1.0F : scale);
    sizes.push_back(keeps ? extent : random.integer(1, 2 * extent + 1));
  }
  Application made{op, {}, {random_tensor(random, x)}};
  if (chance(random, 2)) {
    made.attributes.set("scales", scales);
  } else {
    made.attributes.set("sizes", sizes);
  }
  const std::string nearest = "nearest", half_pixel = "half_pixel", prefer_floor = "round_prefer_floor";
  set(random, made.attributes, "mode", pick<std::string>(random, {nearest, "linear"}), nearest);
  set(random, made.attributes, "coordinate_transformation_mode",
      pick<std::string>(random,
                        {half_pixel, "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn"}),
      half_pixel);
  set(random, made.attributes, "nearest_mode",
      pick<std::string>(random, {prefer_floor, "round_prefer_ceil", "floor", "ceil"}), prefer_floor);
  return made;
}

struct Row {
  Generator make;
  std::vector<OpType> ops;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {make_unary,
       {OpType::kAbs, OpType::kClip, OpType::kElu, OpType::kExp, OpType::kHardSigmoid, OpType::kHardSwish,
        OpType::kLeakyRelu, OpType::kNeg, OpType::kRelu, OpType::kSelu, OpType::kSigmoid, OpType::kSoftplus,
        OpType::kSqrt, OpType::kTanh}},
      {make_binary, {OpType::kAdd, OpType::kDiv, OpType::kMul, OpType::kPRelu, OpType::kPow, OpType::kSub}},
      {make_variadic, {OpType::kMax, OpType::kMean, OpType::kMin, OpType::kSum}},
      {make_reduce, {OpType::kReduceMax, OpType::kReduceMean, OpType::kReduceSum}},
      {make_pool, {OpType::kAveragePool, OpType::kMaxPool}},
      {make_global_pool, {OpType::kGlobalAveragePool, OpType::kGlobalMaxPool}},
      {make_softmax, {OpType::kLogSoftmax, OpType::kSoftmax}},
      {make_batch_norm, {OpType::kBatchNormalization}},
      {make_cast, {OpType::kCast}},
      {make_concat, {OpType::kConcat}},
      {make_conv, {OpType::kConv}},
      {make_expand, {OpType::kExpand}},
      {make_flatten, {OpType::kFlatten}},
      {make_gather, {OpType::kGather}},
      {make_gemm, {OpType::kGemm}},
      {make_identity, {OpType::kIdentity}},
      {make_lrn, {OpType::kLrn}},
      {make_matmul, {OpType::kMatMul}},
      {make_pad, {OpType::kPad}},
      {make_reshape, {OpType::kReshape}},
      {make_resize, {OpType::kResize}},
      {make_slice, {OpType::kSlice}},
      {make_split, {OpType::kSplit}},
      {make_squeeze, {OpType::kSqueeze}},
      {make_transpose, {OpType::kTranspose}},
      {make_unsqueeze, {OpType::kUnsqueeze}},
  };
  return table;
}

}  // namespace

std::string describe(const Application& application) {
  std::string text = fmt::format("{} {}", op_name(application.op), application.attributes.to_string());
  for (const Tensor& input : application.inputs) text += fmt::format(" {}", input.type().to_string());
  if (application.output_count > 1) text += fmt::format(" to {} outputs", application.output_count);
  return text;
}

Generator generator_of(OpType op) {
  for (const Row& row : rows()) {
    if (std::find(row.ops.begin(), row.ops.end(), op) != row.ops.end()) return row.make;
  }
  return nullptr;
}

}  // namespace onnx_split
