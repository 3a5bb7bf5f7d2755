#include "graph/ops/cast.h"

#include "graph/ops/checks.h"
#include "graph/ops/slicing.h"

namespace onnx_split {
namespace {

Expected<std::vector<TensorType>> infer(const OpCall& call) {
  TRY(expect_inputs(call, 1, 1));
  TRY_ASSIGN(const DataType to, cast_target(call.attributes));
  return one_output({to, call.inputs[0].shape});
}

template <class From, class To>
void convert(const TensorView& input, const MutableTensorView& output) {
  const auto x = input.as<From>();
  const auto y = output.as<To>();
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = cast_element<To>(x[i]);
}

template <class From>
void convert_from(const TensorView& input, const MutableTensorView& output) {
  switch (output.type().type) {
    case DataType::kFloat32: return convert<From, float>(input, output);
    case DataType::kInt64: return convert<From, std::int64_t>(input, output);
    case DataType::kBool: return convert<From, bool>(input, output);
  }
}

Expected<void> evaluate(const OpCall&, std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs) {
  switch (inputs[0].type().type) {
    case DataType::kFloat32: convert_from<float>(inputs[0], outputs[0]); break;
    case DataType::kInt64: convert_from<std::int64_t>(inputs[0], outputs[0]); break;
    case DataType::kBool: convert_from<bool>(inputs[0], outputs[0]); break;
  }
  return {};
}

}  // namespace

Expected<DataType> cast_target(const Attributes& attributes) {
  if (!attributes.has("to")) return fail(ErrorCode::kInvalid, "attribute \"to\" is missing");
  TRY_ASSIGN(const std::string name, attributes.get_string("to", ""));
  for (const DataType type : {DataType::kFloat32, DataType::kInt64, DataType::kBool}) {
    if (name == data_type_name(type)) return type;
  }
  return fail(ErrorCode::kInvalid, "to expects float32, int64 or bool, found \"{}\"", name);
}

const Operator kCastOperator = {OpType::kCast, "Cast",  1,        1,
                                infer,         no_macs, evaluate, slice_elementwise<OpType::kCast>};

}  // namespace onnx_split
