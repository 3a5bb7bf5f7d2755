#include "graph/ops/checks.h"

namespace onnx_split {

Expected<void> expect_inputs(const OpCall& call, std::size_t min, std::size_t max) {
  const std::size_t found = call.inputs.size();
  if (found >= min && found <= max) return {};
  if (max == kManyInputs) return fail(ErrorCode::kInvalid, "expected at least {} input, found {}", min, found);
  if (min == max) return fail(ErrorCode::kInvalid, "expected {} inputs, found {}", min, found);
  return fail(ErrorCode::kInvalid, "expected {} to {} inputs, found {}", min, max, found);
}

Expected<void> expect_type(std::string_view what, const TensorType& found, DataType expected) {
  if (found.type == expected) return {};
  return fail(ErrorCode::kInvalid, "{} expects {}, found {}", what, data_type_name(expected), found.to_string());
}

Expected<void> expect_float_or_int(const OpCall& call) {
  const DataType first = call.inputs.front().type;
  if (first == DataType::kBool) {
    return fail(ErrorCode::kInvalid, "expected float32 or int64 inputs, found {}", call.inputs.front().to_string());
  }
  for (std::size_t i = 1; i < call.inputs.size(); ++i) {
    TRY(expect_type(fmt::format("input {}, as input 0,", i), call.inputs[i], first));
  }
  return {};
}

Expected<void> expect_shape(std::string_view what, const Shape& found, const Shape& expected) {
  if (found == expected) return {};
  return fail(ErrorCode::kInvalid, "{} expects shape {}, found {}", what, expected.to_string(), found.to_string());
}

Expected<std::vector<bool>> axis_flags(const Ints& axes, std::size_t rank) {
  std::vector<bool> flags(rank, false);
  for (const std::int64_t named : axes) {
    TRY_ASSIGN(const std::size_t axis, normalize_axis(named, rank));
    if (flags[axis]) return fail(ErrorCode::kInvalid, "axes name axis {} twice", axis);
    flags[axis] = true;
  }
  return flags;
}

Expected<std::vector<TensorType>> one_output(DataType type, std::vector<std::int64_t> dims) {
  TRY_ASSIGN(Shape shape, Shape::checked(std::move(dims)));
  return std::vector<TensorType>{{type, std::move(shape)}};
}

Expected<std::vector<TensorType>> one_output(TensorType type) { return std::vector<TensorType>{std::move(type)}; }

}  // namespace onnx_split
