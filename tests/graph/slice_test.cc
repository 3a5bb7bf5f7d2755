// The contract of Operator::slice, partial_sum and linearity (graph/operators.h), held against every operator.
#include <algorithm>

#include "graph/cut_out.h"
#include "graph/ops/conv.h"
#include "graph/ops/lrn.h"
#include "graph/ops/pad.h"
#include "graph/ops/resize.h"
#include "graph/ops/walk.h"
#include "tests/graph/helpers.h"
#include "tests/graph/slice_calls.h"

namespace onnx_split {
namespace {

// An application with its types and its whole result.
struct Computed {
  Application application;
  std::vector<TensorType> input_types;
  std::vector<TensorType> output_types;
  std::vector<Tensor> outputs;

  OpCall call() const { return {application.attributes, input_types, application.output_count}; }
  const Operator& definition() const { return operator_of(application.op); }
};

Computed computed(Application application) {
  Computed c{std::move(application), {}, {}, {}};
  c.outputs = apply_all(c.application.op, c.application.attributes, c.application.inputs, c.application.output_count);
  for (const Tensor& input : c.application.inputs) c.input_types.push_back(input.type());
  for (const Tensor& output : c.outputs) c.output_types.push_back(output.type());
  return c;
}

Computed random_application(Random& random, OpType op) { return computed(generator_of(op)(random, op)); }

bool is_whole(const Region& region, const Shape& shape) { return region == Region::whole(shape); }

bool is_whole_along(const Region& region, const Shape& shape, std::size_t axis) {
  return region[axis] == Range{0, shape[axis]};
}

// --- regions

Range random_range(Random& random, std::int64_t extent) {
  const std::int64_t begin = random.integer(0, extent - 1);
  return {begin, random.integer(begin + 1, extent)};
}

// Not empty: everything, one element, partial along one axis, or anything. `shape` must have elements.
Region random_region(Random& random, const Shape& shape) {
  Region region = Region::whole(shape);
  if (region.rank() == 0) return region;
  const std::int64_t kind = random.integer(0, 5);
  const std::size_t only_axis = random_index(random, region.rank());
  for (std::size_t axis = 0; axis < region.rank(); ++axis) {
    if (kind == 0 || (kind <= 2 && axis != only_axis)) continue;
    region[axis] = random_range(random, shape[axis]);
    if (kind == 3) region[axis].end = region[axis].begin + 1;
  }
  return region;
}

// 2 to 4 ranges that follow each other and cover the extent, which is at least 2.
std::vector<Range> random_cuts(Random& random, std::int64_t extent) {
  std::vector<Range> ranges{{0, random.integer(1, extent - 1)}};
  while (ranges.back().end < extent) {
    const std::int64_t begin = ranges.back().end;
    ranges.push_back({begin, ranges.size() == 3 ? extent : random.integer(begin + 1, extent)});
  }
  return ranges;
}

// Boxes that are disjoint and cover `shape`, divided along one axis or two; one box where there is nothing to divide.
std::vector<Region> random_division(Random& random, const Shape& shape) {
  std::vector<Region> boxes{Region::whole(shape)};
  for (std::size_t axes = random.integer(0, 2) == 0 ? 2 : 1; axes > 0 && shape.rank() > 0; --axes) {
    const std::size_t axis = random_index(random, shape.rank());
    if (shape[axis] < 2 || !is_whole_along(boxes[0], shape, axis)) continue;
    const std::vector<Range> cuts = random_cuts(random, shape[axis]);
    std::vector<Region> divided;
    for (const Region& box : boxes) {
      for (const Range& cut : cuts) {
        divided.push_back(box);
        divided.back()[axis] = cut;
      }
    }
    boxes = std::move(divided);
  }
  return boxes;
}

// --- what is wrong with a slice; "" where nothing is

std::string problem_of_error(const Error& error) {
  if (error.code != ErrorCode::kUnsupported) return fmt::format("fails with {}", error_code_name(error.code));
  return error.message.empty() ? "is refused without a reason" : "";
}

std::string problem_of_inputs(const Computed& c, const NodeSlice& slice) {
  const std::vector<Tensor>& inputs = c.application.inputs;
  if (slice.inputs.size() != inputs.size()) return fmt::format("names {} inputs", slice.inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!slice.inputs[i]) continue;
    const Shape& shape = inputs[i].shape();
    const std::string text = slice.inputs[i]->to_string();
    if (!slice.inputs[i]->inside(shape)) return fmt::format("reads {} of input {}", text, i);
    if (slice.inputs[i]->empty() && shape.elements() > 0) return fmt::format("reads nothing, {}, of input {}", text, i);
  }
  return "";
}

// The slice's operator on the regions that it names, which must lie inside the inputs.
Expected<Tensor> evaluate_slice(const Computed& c, const NodeSlice& slice) {
  std::vector<Tensor> regions;
  for (std::size_t i = 0; i < slice.inputs.size(); ++i) {
    if (slice.inputs[i]) regions.push_back(cut_out(c.application.inputs[i], *slice.inputs[i]));
  }
  TRY_ASSIGN(const std::vector<Tensor> outputs, evaluate(slice.op, slice.attributes, regions));
  return outputs[0];
}

bool is_allowed_operator(const Computed& c, const NodeSlice& slice) {
  if (c.application.op == OpType::kSplit) return slice.op == OpType::kIdentity;
  const auto left =
      std::count_if(slice.inputs.begin(), slice.inputs.end(), [](const auto& in) { return in.has_value(); });
  return slice.op == c.application.op || (slice.op == OpType::kIdentity && left == 1 && c.definition().max_inputs > 1);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  const auto x = a.buffer().bytes();
  const auto y = b.buffer().bytes();
  return a.type() == b.type() && std::equal(x.begin(), x.end(), y.begin(), y.end());
}

bool are_near(const Tensor& a, const Tensor& b) {
  const auto x = a.as<float>();
  const auto y = b.as<float>();
  constexpr float kCoordinateRounding = 1e-5F;  // of values between -1 and 1
  return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                    [](float p, float q) { return std::abs(p - q) <= kCoordinateRounding; });
}

std::string problem_of_slice(const Computed& c, std::size_t output, const Region& region, const NodeSlice& slice) {
  if (std::string problem = problem_of_inputs(c, slice); !problem.empty()) return problem;
  const Tensor& whole = c.outputs[output];
  if (!slice.produced.inside(whole.shape()) || !slice.produced.contains(region)) {
    return fmt::format("produces {}", slice.produced.to_string());
  }
  if (slice.scale != 1.0F) return fmt::format("has scale {}", slice.scale);
  if (!is_allowed_operator(c, slice)) return fmt::format("becomes {}", op_name(slice.op));
  const auto result = evaluate_slice(c, slice);
  const std::string text = fmt::format("{} {}", op_name(slice.op), slice.attributes.to_string());
  if (!result) return fmt::format("becomes {}, which fails: {}", text, result.error().message);
  if (result->shape() != slice.produced.shape()) {
    return fmt::format("becomes {}, which gives {} for {}", text, result->type().to_string(),
                       slice.produced.to_string());
  }
  Region asked_for = region;
  for (std::size_t axis = 0; axis < region.rank(); ++axis) {
    asked_for[axis].begin -= slice.produced[axis].begin;
    asked_for[axis].end -= slice.produced[axis].begin;
  }
  const Tensor found = cut_out(*result, asked_for);
  const Tensor expected = cut_out(whole, region);
  // Sums are in double and in the same order: there is nothing to tolerate, but for a Resize's coordinates.
  const bool is_right = c.application.op == OpType::kResize ? are_near(found, expected) : same_bits(found, expected);
  if (is_right) return "";
  return fmt::format("becomes {}, which gives other numbers", text);
}

// --- what may be refused, or come with more than was asked for

// Whether the elements of `region` of an output with the input's elements in the same order form a box of the input.
bool comes_from_one_box(const Shape& input, const Shape& output, const Region& region) {
  const std::vector<std::int64_t> strides = input.strides();
  const std::vector<std::int64_t> output_strides = output.strides();
  std::vector<Range> box(input.rank(), {input.elements(), 0});
  for_each_index(region.shape(), [&](std::size_t, const Index& index) {
    std::int64_t flat = offset_of(index, output_strides);
    for (std::size_t axis = 0; axis < region.rank(); ++axis) flat += region[axis].begin * output_strides[axis];
    for (std::size_t axis = 0; axis < input.rank(); ++axis) {
      const std::int64_t at = flat / strides[axis] % input[axis];
      box[axis] = {std::min(box[axis].begin, at), std::max(box[axis].end, at + 1)};
    }
  });
  return Region(box).shape().elements() == region.shape().elements();
}

bool conv_must_give_exactly(const Computed& c, const Region& region) {
  const ConvGeometry g = must(conv_geometry(c.call()));
  const Shape& output = c.outputs[0].shape();
  for (std::size_t i = 0; i < g.window.axes.size(); ++i) {
    // Windows that lie in padding alone come from no region of the input.
    const WindowAxis& axis = g.window.axes[i];
    const std::int64_t reach = (axis.kernel - 1) * axis.dilation + 1;
    if (std::max(axis.pad_begin, axis.pad_end) >= reach && !is_whole_along(region, output, i + 2)) return false;
  }
  const std::int64_t of_group = g.output_channels / g.groups;
  return g.groups == 1 || (region[1].begin % of_group == 0 && region[1].end % of_group == 0);
}

// Where the last window runs over the padding, its divisor needs the windows before it.
bool average_pool_must_give_exactly(const Computed& c, const Region& region) {
  const Attributes& attributes = c.application.attributes;
  if (attributes.int_or("ceil_mode", 0) == 0 || attributes.int_or("count_include_pad", 0) == 0) return true;
  bool is_whole_in_space = true;
  for (std::size_t axis = 2; axis < region.rank(); ++axis) {
    is_whole_in_space = is_whole_in_space && is_whole_along(region, c.outputs[0].shape(), axis);
  }
  return is_whole_in_space;
}

// Padding needs an element of the input's own beside it, and what is reflected.
bool pad_must_give_exactly(const Computed& c, const Region& region) {
  if (c.input_types[0].shape.elements() == 0) return false;
  const PadGeometry g = must(pad_geometry(c.call()));
  for (std::size_t i = 0; i < region.rank(); ++i) {
    if (is_whole_along(region, c.outputs[0].shape(), i)) continue;
    const Range own{g.axes[i].begin, g.axes[i].begin + g.axes[i].input};
    const bool shows_padding = region[i].begin < own.begin || region[i].end > own.end;
    const bool shows_own = region[i].begin < own.end && region[i].end > own.begin;
    if (!shows_own || (shows_padding && g.mode == PadMode::kReflect)) return false;
  }
  return true;
}

bool resize_must_give_exactly(const Computed& c, const Region& region) {
  const ResizeGeometry g = must(resize_geometry(c.call()));
  for (std::size_t axis = 0; axis < region.rank(); ++axis) {
    if (!g.axes[axis].identity() && !is_whole_along(region, c.outputs[0].shape(), axis)) return false;
  }
  return true;
}

// Whether neither a refusal nor more than `region` of the first output is excused: errors say why an operator *can't*
// be divided, and more comes out only where it *can't* do otherwise.
bool must_give_exactly(const Computed& c, const Region& region) {
  const Shape& output = c.outputs[0].shape();
  switch (c.application.op) {
    case OpType::kConv: return conv_must_give_exactly(c, region);
    case OpType::kAveragePool: return average_pool_must_give_exactly(c, region);
    case OpType::kPad: return pad_must_give_exactly(c, region);
    case OpType::kResize: return resize_must_give_exactly(c, region);
    case OpType::kLrn: return is_whole_along(region, output, 1) || must(lrn_geometry(c.call())).size == 1;
    case OpType::kFlatten:
    case OpType::kReshape: return comes_from_one_box(c.input_types[0].shape, output, region);
    case OpType::kLogSoftmax:
    case OpType::kSoftmax: {
      const std::int64_t named = c.application.attributes.int_or("axis", -1);
      return is_whole_along(region, output, must(normalize_axis(named, output.rank())));
    }
    default: return true;
  }
}

std::string problem_of_slicing(const Computed& c, std::size_t output, const Region& region) {
  const auto slice = c.definition().slice(c.call(), c.output_types, output, region);
  const bool is_excused = !is_whole(region, c.outputs[output].shape()) && !must_give_exactly(c, region);
  if (!slice) {
    if (!is_excused) return "is refused: " + slice.error().message;
    return problem_of_error(slice.error());
  }
  if (std::string problem = problem_of_slice(c, output, region, *slice); !problem.empty()) return problem;
  if (is_excused || slice->produced == region) return "";
  return fmt::format("produces more: {}", slice->produced.to_string());
}

// --- slices

class SliceOf : public testing::TestWithParam<OpType> {
 protected:
  void SetUp() override {
    ASSERT_NE(operator_of(GetParam()).slice, nullptr);
    ASSERT_NE(generator_of(GetParam()), nullptr) << "tests/graph/slice_calls.cc makes no applications of it";
  }

  // Calls body(random, application, output) for `count` outputs that have elements.
  template <class Body>
  void for_random_outputs(std::size_t count, Body&& body) {
    Random random(1000 + static_cast<std::uint64_t>(GetParam()));
    while (count > 0 && !HasFatalFailure()) {
      const Computed c = random_application(random, GetParam());
      const std::size_t output = random_index(random, c.outputs.size());
      if (c.outputs[output].shape().elements() == 0) continue;
      --count;
      body(random, c, output);
    }
  }
};

TEST_P(SliceOf, GivesExactlyWhatTheWholeGivesThere) {
  for_random_outputs(200, [](Random& random, const Computed& c, std::size_t output) {
    const Shape& shape = c.outputs[output].shape();
    std::vector<Region> regions{Region::whole(shape)};
    while (regions.size() < 6) regions.push_back(random_region(random, shape));
    for (const Region& region : regions) {
      ASSERT_EQ(problem_of_slicing(c, output, region), "")
          << describe(c.application) << ": output " << output << " " << region.to_string();
    }
  });
}

TEST_P(SliceOf, IsSomewherePossibleForAPart) {
  std::size_t divided = 0;
  for_random_outputs(50, [&](Random& random, const Computed& c, std::size_t output) {
    const Region region = random_region(random, c.outputs[output].shape());
    if (is_whole(region, c.outputs[output].shape())) return;
    const auto slice = c.definition().slice(c.call(), c.output_types, output, region);
    if (slice && !is_whole(slice->produced, c.outputs[output].shape())) ++divided;
  });
  EXPECT_GE(divided, 5U);
}

std::vector<OpType> all_types() {
  std::vector<OpType> types;
  for (const Operator& definition : all_operators()) types.push_back(definition.type);
  return types;
}

INSTANTIATE_TEST_SUITE_P(All, SliceOf, testing::ValuesIn(all_types()),
                         [](const auto& instance) { return std::string(op_name(instance.param)); });

// --- partial sums

std::vector<double> to_doubles(const Tensor& tensor) {
  if (tensor.type().type == DataType::kInt64) {
    const auto elements = tensor.as<std::int64_t>();
    return {elements.begin(), elements.end()};
  }
  const auto elements = tensor.as<float>();
  return {elements.begin(), elements.end()};
}

// Where `found` is further from `expected` than `tolerance` times the largest of them.
std::string problem_of_sum(const std::vector<double>& found, const std::vector<double>& expected, double tolerance) {
  if (found.size() != expected.size()) return fmt::format("gives {} of {} elements", found.size(), expected.size());
  double largest = 1.0;
  for (const double x : expected) largest = std::max(largest, std::fabs(x));
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (!(std::fabs(found[i] - expected[i]) <= tolerance * largest)) {
      return fmt::format("gives {} instead of {} at {}", found[i], expected[i], i);
    }
  }
  return "";
}

// The axes of input 0 that an operator sums over, all of them.
std::vector<bool> summed_axes(const Computed& c) {
  const Attributes& attributes = c.application.attributes;
  std::vector<bool> summed(c.input_types[0].shape.rank(), false);
  switch (c.application.op) {
    case OpType::kConv: summed[1] = attributes.int_or("group", 1) == 1; break;
    case OpType::kGemm: summed[attributes.int_or("transA", 0) == 0 ? 1 : 0] = true; break;
    case OpType::kMatMul: summed.back() = true; break;
    case OpType::kGlobalAveragePool: std::fill(summed.begin() + 2, summed.end(), true); break;
    case OpType::kReduceMean:
    case OpType::kReduceSum: {
      const Ints axes = attributes.ints_or("axes", {});
      if (axes.empty()) summed.assign(summed.size(), true);
      for (const std::int64_t axis : axes) summed[must(normalize_axis(axis, summed.size()))] = true;
      break;
    }
    default: break;
  }
  return summed;
}

// Whether the boxes are partial only where the operator is known to sum, and in the type that sums travel in.
bool must_sum(const Computed& c, const std::vector<Region>& boxes) {
  if (c.output_types[0].type != DataType::kFloat32) return false;
  const std::vector<bool> summed = summed_axes(c);
  for (std::size_t axis = 0; axis < summed.size(); ++axis) {
    if (!summed[axis] && !is_whole_along(boxes[0], c.input_types[0].shape, axis)) return false;
  }
  return std::find(summed.begin(), summed.end(), true) != summed.end();
}

std::string problem_of_share(const Computed& c, const Region& box, const NodeSlice& share) {
  if (std::string problem = problem_of_inputs(c, share); !problem.empty()) return problem;
  if (!share.inputs[0] || !box.contains(*share.inputs[0])) return "reads elements of other shares";
  if (!is_whole(share.produced, c.outputs[0].shape())) return "produces " + share.produced.to_string();
  const auto result = evaluate_slice(c, share);
  if (!result) return "fails: " + result.error().message;
  if (result->type() != c.output_types[0]) return "gives " + result->type().to_string();
  return "";
}

// Sets `is_summed` where no share is refused.
std::string problem_of_shares(const Computed& c, const std::vector<Region>& boxes, std::size_t first, bool& is_summed) {
  is_summed = false;
  std::vector<double> sum(static_cast<std::size_t>(c.outputs[0].shape().elements()), 0.0);
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const auto share = c.definition().partial_sum(c.call(), c.output_types, boxes[i], i == first);
    if (!share) {
      if (must_sum(c, boxes)) return fmt::format("{} is refused: {}", boxes[i].to_string(), share.error().message);
      return problem_of_error(share.error());
    }
    if (std::string problem = problem_of_share(c, boxes[i], *share); !problem.empty()) {
      return fmt::format("{} {}", boxes[i].to_string(), problem);
    }
    const std::vector<double> part = to_doubles(must(evaluate_slice(c, *share)));
    for (std::size_t j = 0; j < part.size(); ++j) sum[j] += static_cast<double>(share->scale) * part[j];
  }
  is_summed = boxes.size() > 1;
  return problem_of_sum(sum, to_doubles(c.outputs[0]), 1e-5);
}

TEST(PartialSum, AddsUpToTheOutput) {
  for (const Operator& definition : all_operators()) {
    if (definition.partial_sum == nullptr) continue;
    Random random(2000 + static_cast<std::uint64_t>(definition.type));
    int summed = 0;
    for (int round = 0; round < 400; ++round) {
      const Computed c = random_application(random, definition.type);
      const std::vector<Region> boxes = random_division(random, c.input_types[0].shape);
      if (boxes[0].empty()) continue;
      bool is_summed = false;
      ASSERT_EQ(problem_of_shares(c, boxes, random_index(random, boxes.size()), is_summed), "")
          << describe(c.application) << " in " << boxes.size() << " boxes";
      if (is_summed) ++summed;
    }
    EXPECT_GE(summed, 20) << definition.name;
  }
}

TEST(PartialSum, ExistsWhereSomethingIsSummedAndNowhereElse) {
  for (const OpType op : {OpType::kConv, OpType::kGemm, OpType::kMatMul, OpType::kGlobalAveragePool,
                          OpType::kReduceMean, OpType::kReduceSum}) {
    EXPECT_NE(operator_of(op).partial_sum, nullptr) << op_name(op);
  }
  for (const OpType op : {OpType::kGlobalMaxPool, OpType::kMaxPool, OpType::kReduceMax, OpType::kSoftmax, OpType::kRelu,
                          OpType::kLrn, OpType::kConcat}) {
    EXPECT_EQ(operator_of(op).partial_sum, nullptr) << op_name(op);
  }
}

// --- linearity

Tensor plus(const Tensor& a, const Tensor& b) { return apply(OpType::kAdd, {}, {a, b}); }

// As a part applies an operator to partial sums: an input that is left over alone is itself.
std::vector<Tensor> apply_to_rest(const Application& application, const std::vector<Tensor>& inputs) {
  if (inputs.size() == 1 && application.inputs.size() > 1) return inputs;
  return apply_all(application.op, application.attributes, inputs, application.output_count);
}

// Some of the inputs, at least one.
std::vector<bool> random_choice(Random& random, std::size_t count) {
  std::vector<bool> chosen(count, false);
  chosen[random_index(random, count)] = true;
  for (std::size_t i = 0; i < count; ++i) chosen[i] = chosen[i] || random.integer(0, 2) == 0;
  return chosen;
}

// Each of the inputs `is_partial` is divided into two addends; the others go to the first part only. Nothing where the
// second part's result hasn't the output's shape, because an input that it leaves out is what was broadcast to.
std::optional<std::string> problem_of_linearity(Random& random, const Application& first,
                                                const std::vector<bool>& is_partial) {
  Application whole = first;
  std::vector<Tensor> second;
  for (std::size_t i = 0; i < first.inputs.size(); ++i) {
    if (first.inputs[i].type().type != DataType::kFloat32) return std::nullopt;
    if (!is_partial[i]) continue;
    second.push_back(random_tensor(random, first.inputs[i].shape()));
    whole.inputs[i] = plus(first.inputs[i], second.back());
  }
  const std::vector<Tensor> a = computed(first).outputs;
  const std::vector<Tensor> b = apply_to_rest(first, second);
  const std::vector<Tensor> expected = computed(whole).outputs;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (b[i].type() != expected[i].type()) return std::nullopt;
    std::vector<double> sum = to_doubles(a[i]);
    const std::vector<double> more = to_doubles(b[i]);
    for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += more[j];
    if (std::string problem = problem_of_sum(sum, to_doubles(expected[i]), 1e-5); !problem.empty()) return problem;
  }
  return "";
}

TEST(Linearity, HoldsWhereItIsDeclared) {
  for (const Operator& definition : all_operators()) {
    if (definition.linearity == Linearity::kNone) continue;
    EXPECT_EQ(definition.max_inputs == 1, definition.linearity == Linearity::kPasses) << definition.name;
    Random random(3000 + static_cast<std::uint64_t>(definition.type));
    int checked = 0;
    for (int round = 0; round < 200; ++round) {
      const Application application = generator_of(definition.type)(random, definition.type);
      const std::vector<bool> is_partial = random_choice(random, application.inputs.size());
      const auto problem = problem_of_linearity(random, application, is_partial);
      ASSERT_EQ(problem.value_or(""), "") << describe(application);
      if (problem) ++checked;
    }
    EXPECT_GE(checked, 20) << definition.name;
  }
}

TEST(Linearity, IsDeclaredWhereItHoldsInNetworks) {
  for (const OpType op : {OpType::kIdentity, OpType::kReshape, OpType::kFlatten, OpType::kSqueeze, OpType::kUnsqueeze,
                          OpType::kTranspose}) {
    EXPECT_EQ(operator_of(op).linearity, Linearity::kPasses) << op_name(op);
  }
  for (const OpType op : {OpType::kAdd, OpType::kSum}) {
    EXPECT_EQ(operator_of(op).linearity, Linearity::kAdds) << op_name(op);
  }
  for (const OpType op : {OpType::kRelu, OpType::kClip, OpType::kSigmoid, OpType::kMaxPool, OpType::kSoftmax}) {
    EXPECT_EQ(operator_of(op).linearity, Linearity::kNone) << op_name(op);
  }
}

}  // namespace
}  // namespace onnx_split
