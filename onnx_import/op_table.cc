#include "onnx_import/op_table.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "onnx_import/converters.h"

namespace onnx_split {
namespace {

using enum OpType;
using Kind = Parameter::Kind;

constexpr int kLast = kLastOpset;
constexpr std::string_view kConvWindow = "kernel_shape auto_pad strides dilations pads group";
constexpr std::string_view kPool7 = "kernel_shape auto_pad strides pads count_include_pad";
constexpr std::string_view kPool10 = "kernel_shape auto_pad strides pads count_include_pad ceil_mode";
constexpr std::string_view kMaxPool10 = "kernel_shape auto_pad strides pads dilations ceil_mode -storage_order=0";
constexpr std::string_view kResize11 =
    "mode=nearest|linear nearest_mode -cubic_coeff_a -exclude_outside=0 -extrapolation_value "
    "coordinate_transformation_mode=half_pixel|pytorch_half_pixel|align_corners|asymmetric|tf_half_pixel_for_nn";
constexpr std::string_view kResize18 =
    "mode=nearest|linear nearest_mode -cubic_coeff_a -exclude_outside=0 -extrapolation_value axes -antialias=0 "
    "-keep_aspect_ratio_policy=stretch "
    "coordinate_transformation_mode=half_pixel|pytorch_half_pixel|align_corners|asymmetric";
constexpr std::array<Parameter, 4> kResizeInputs = {
    {{1, "roi", Kind::kFloats}, {2, "scales", Kind::kFloats}, {3, "sizes", Kind::kInts}}};
constexpr std::array<Parameter, 4> kAxesInput = {{{1, "axes", Kind::kInts}}};
constexpr std::array<Parameter, 4> kPadInputs = {
    {{1, "pads", Kind::kInts}, {2, "value", Kind::kFloat}, {3, "axes", Kind::kInts}}};

// name, since, until, the graph's operator, converter, attributes, inputs that are attributes, outputs.
// A row starts where the operator's meaning or form changed; new element types alone make no row.
constexpr OpRow kRows[] = {
    {"Abs", 1, kLast, kAbs, convert_plain},
    {"Add", 1, 6, kAdd, convert_binary_1, "broadcast axis"},
    {"Add", 7, kLast, kAdd, convert_plain},
    {"AveragePool", 1, 6, kAveragePool, convert_pool, "kernel_shape auto_pad strides pads"},
    {"AveragePool", 7, 9, kAveragePool, convert_pool, kPool7},
    {"AveragePool", 10, 18, kAveragePool, convert_pool, kPool10},
    {"AveragePool", 19, kLast, kAveragePool, convert_pool,
     "kernel_shape auto_pad strides pads dilations count_include_pad ceil_mode"},
    {"BatchNormalization", 1, 6, kBatchNormalization, convert_plain, "epsilon -momentum -spatial=1 !-is_test=1"},
    {"BatchNormalization", 7, 13, kBatchNormalization, convert_plain, "epsilon -momentum -spatial=1"},
    {"BatchNormalization", 14, kLast, kBatchNormalization, convert_plain, "epsilon -momentum -training_mode=0"},
    {"Cast", 1, kLast, kCast, convert_cast, "to -saturate"},
    {"Clip", 1, 10, kClip, convert_plain, "min max"},
    {"Clip", 11, kLast, kClip, convert_plain, "", {{{1, "min", Kind::kFloat}, {2, "max", Kind::kFloat}}}},
    {"Concat", 1, 3, kConcat, convert_concat_1, "axis"},
    {"Concat", 4, kLast, kConcat, convert_axis, "axis"},
    {"Constant", 1, kLast, kIdentity, convert_constant, "value value_float value_floats value_int value_ints"},
    {"ConstantOfShape", 9, kLast, kIdentity, convert_constant_of_shape, "value", {{{0, "shape", Kind::kInts}}}},
    {"Conv", 1, kLast, kConv, convert_conv, kConvWindow},
    {"Div", 1, 6, kDiv, convert_binary_1, "broadcast axis"},
    {"Div", 7, kLast, kDiv, convert_plain},
    {"Dropout", 1, 6, kIdentity, convert_plain, "-ratio !-is_test=1"},
    {"Dropout", 7, 11, kIdentity, convert_plain, "-ratio"},
    {"Dropout",
     12,
     kLast,
     kIdentity,
     convert_dropout,
     "-seed",
     {{{1, "ratio", Kind::kFloat}, {2, "training_mode", Kind::kInt}}},
     2},
    {"Elu", 1, kLast, kElu, convert_plain, "alpha"},
    {"Exp", 1, kLast, kExp, convert_plain},
    {"Expand", 8, kLast, kExpand, convert_expand, "", {{{1, "shape", Kind::kInts}}}},
    {"Flatten", 1, kLast, kFlatten, convert_axis, "axis"},
    {"Gather", 1, kLast, kGather, convert_axis, "axis"},
    {"Gemm", 1, 6, kGemm, convert_plain, "alpha beta transA transB -broadcast"},
    {"Gemm", 7, kLast, kGemm, convert_plain, "alpha beta transA transB"},
    {"GlobalAveragePool", 1, kLast, kGlobalAveragePool, convert_plain},
    {"GlobalMaxPool", 1, kLast, kGlobalMaxPool, convert_plain},
    {"HardSigmoid", 1, kLast, kHardSigmoid, convert_plain, "alpha beta"},
    {"HardSwish", 14, kLast, kHardSwish, convert_plain},
    {"Identity", 1, kLast, kIdentity, convert_plain},
    {"LRN", 1, kLast, kLrn, convert_plain, "alpha beta bias size"},
    {"LeakyRelu", 1, kLast, kLeakyRelu, convert_plain, "alpha"},
    {"LogSoftmax", 1, 12, kLogSoftmax, convert_softmax_1, "axis"},
    {"LogSoftmax", 13, kLast, kLogSoftmax, convert_softmax, "axis"},
    {"MatMul", 1, kLast, kMatMul, convert_plain},
    {"Max", 1, kLast, kMax, convert_plain},
    {"MaxPool", 1, 7, kMaxPool, convert_pool, "kernel_shape auto_pad strides pads"},
    {"MaxPool", 8, 9, kMaxPool, convert_pool, "kernel_shape auto_pad strides pads -storage_order=0"},
    {"MaxPool", 10, kLast, kMaxPool, convert_pool, kMaxPool10},
    {"Mean", 1, kLast, kMean, convert_plain},
    {"Min", 1, kLast, kMin, convert_plain},
    {"Mul", 1, 6, kMul, convert_binary_1, "broadcast axis"},
    {"Mul", 7, kLast, kMul, convert_plain},
    {"Neg", 1, kLast, kNeg, convert_plain},
    {"PRelu", 1, 6, kPRelu, convert_prelu_1},
    {"PRelu", 7, kLast, kPRelu, convert_plain},
    {"Pad", 2, 10, kPad, convert_pad, "mode=constant|edge|reflect pads value"},
    {"Pad",
     11,
     17,
     kPad,
     convert_pad,
     "mode=constant|edge|reflect",
     {{{1, "pads", Kind::kInts}, {2, "value", Kind::kFloat}}}},
    {"Pad", 18, kLast, kPad, convert_pad, "mode=constant|edge|reflect", kPadInputs},
    {"Pow", 1, 6, kPow, convert_binary_1, "broadcast axis"},
    {"Pow", 7, kLast, kPow, convert_plain},
    {"ReduceMax", 1, 17, kReduceMax, convert_reduce, "axes keepdims"},
    {"ReduceMax", 18, kLast, kReduceMax, convert_reduce, "keepdims noop_with_empty_axes", kAxesInput},
    {"ReduceMean", 1, 17, kReduceMean, convert_reduce, "axes keepdims"},
    {"ReduceMean", 18, kLast, kReduceMean, convert_reduce, "keepdims noop_with_empty_axes", kAxesInput},
    {"ReduceSum", 1, 12, kReduceSum, convert_reduce, "axes keepdims"},
    {"ReduceSum", 13, kLast, kReduceSum, convert_reduce, "keepdims noop_with_empty_axes", kAxesInput},
    {"Relu", 1, kLast, kRelu, convert_plain},
    {"Reshape", 1, 4, kReshape, convert_reshape, "shape"},
    {"Reshape", 5, 13, kReshape, convert_reshape, "", {{{1, "shape", Kind::kInts}}}},
    {"Reshape", 14, kLast, kReshape, convert_reshape, "allowzero", {{{1, "shape", Kind::kInts}}}},
    {"Resize", 10, 10, kResize, convert_upsample, "mode=nearest|linear", {{{1, "scales", Kind::kFloats}}}},
    {"Resize", 11, 17, kResize, convert_resize, kResize11, kResizeInputs},
    {"Resize", 18, kLast, kResize, convert_resize, kResize18, kResizeInputs},
    {"Selu", 6, kLast, kSelu, convert_plain, "alpha gamma"},
    {"Shape", 1, kLast, kIdentity, convert_shape, "start end"},
    {"Sigmoid", 1, kLast, kSigmoid, convert_plain},
    {"Slice", 1, 9, kSlice, convert_slice, "starts ends axes"},
    {"Slice",
     10,
     kLast,
     kSlice,
     convert_slice,
     "",
     {{{1, "starts", Kind::kInts}, {2, "ends", Kind::kInts}, {3, "axes", Kind::kInts}, {4, "steps", Kind::kInts}}}},
    {"Softmax", 1, 12, kSoftmax, convert_softmax_1, "axis"},
    {"Softmax", 13, kLast, kSoftmax, convert_softmax, "axis"},
    {"Softplus", 1, kLast, kSoftplus, convert_plain},
    {"Split", 2, 12, kSplit, convert_split, "axis split", {}, kAnyOutputs},
    {"Split", 13, 17, kSplit, convert_split, "axis", {{{1, "split", Kind::kInts}}}, kAnyOutputs},
    {"Split", 18, kLast, kSplit, convert_split, "axis num_outputs", {{{1, "split", Kind::kInts}}}, kAnyOutputs},
    {"Sqrt", 1, kLast, kSqrt, convert_plain},
    {"Squeeze", 1, 12, kSqueeze, convert_squeeze, "axes"},
    {"Squeeze", 13, kLast, kSqueeze, convert_squeeze, "", kAxesInput},
    {"Sub", 1, 6, kSub, convert_binary_1, "broadcast axis"},
    {"Sub", 7, kLast, kSub, convert_plain},
    {"Sum", 1, kLast, kSum, convert_plain},
    {"Tanh", 1, kLast, kTanh, convert_plain},
    {"Transpose", 1, kLast, kTranspose, convert_transpose, "perm"},
    {"Unsqueeze", 1, 12, kUnsqueeze, convert_unsqueeze, "axes"},
    {"Unsqueeze", 13, kLast, kUnsqueeze, convert_unsqueeze, "", kAxesInput},
    {"Upsample", 7, 8, kResize, convert_upsample, "mode=nearest|linear scales"},
    {"Upsample", 9, 9, kResize, convert_upsample, "mode=nearest|linear", {{{1, "scales", Kind::kFloats}}}},
};

// What a word of OpRow::attributes says.
struct AttributeRule {
  std::string_view name;
  std::string_view values;  // "a|b"; empty: any
  bool dropped = false;
  bool required = false;
};

std::string_view take_until(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return word;
}

AttributeRule parse_rule(std::string_view word) {
  AttributeRule rule;
  for (; word.front() == '-' || word.front() == '!'; word.remove_prefix(1)) {
    (word.front() == '-' ? rule.dropped : rule.required) = true;
  }
  rule.name = take_until(word, '=');
  rule.values = word;
  return rule;
}

std::string to_text(const AttributeValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer);
  return "?";
}

bool allows(std::string_view values, const std::string& value) {
  while (!values.empty()) {
    if (take_until(values, '|') == value) return true;
  }
  return false;
}

}  // namespace

const OpRow* find_row(std::string_view name, std::int64_t opset) {
  const auto found = std::find_if(std::begin(kRows), std::end(kRows), [&](const OpRow& row) {
    return row.name == name && row.since <= opset && opset <= row.until;
  });
  return found == std::end(kRows) ? nullptr : found;
}

std::span<const OpRow> all_rows() { return kRows; }

const Parameter* parameter_at(const OpRow& row, std::size_t input) {
  for (const Parameter& parameter : row.parameters) {
    if (parameter.kind != Parameter::Kind::kNone && parameter.input == input) return &parameter;
  }
  return nullptr;
}

bool understands(const OpRow& row, std::string_view attribute) {
  for (std::string_view rest = row.attributes; !rest.empty();) {
    const AttributeRule rule = parse_rule(take_until(rest, ' '));
    if (rule.name == attribute) return !rule.dropped;
  }
  return false;
}

std::string check_attributes(const OpRow& row, Attributes& attributes) {
  std::set<std::string_view> understood;
  for (std::string_view rest = row.attributes; !rest.empty();) {
    const AttributeRule rule = parse_rule(take_until(rest, ' '));
    understood.insert(rule.name);
    const auto found = attributes.values().find(rule.name);
    if (found == attributes.values().end()) {
      if (rule.required) return fmt::format("{} must be {}", rule.name, rule.values);
      continue;
    }
    if (!rule.values.empty() && !allows(rule.values, to_text(found->second))) {
      return fmt::format("{}={} isn't supported", rule.name, to_text(found->second));
    }
    if (rule.dropped) attributes.erase(rule.name);
  }
  for (const auto& [name, value] : attributes.values()) {
    if (!understood.contains(name)) return fmt::format("attribute \"{}\" isn't supported", name);
  }
  return {};
}

}  // namespace onnx_split
