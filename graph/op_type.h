// The operators of the graph. They mean what ONNX's operator of the same name means at opset 17, with three
// simplifications that the importer makes so that everything behind it has one case less:
//   - inputs that parametrise (Reshape's shape, Slice's starts, Clip's min, …) are attributes of the same name;
//   - padding is explicit (no auto_pad), axes are never negative, reshapes name every extent;
//   - ONNX operators that are another one in disguise don't appear: Dropout is Identity, Upsample is Resize, Constant,
//     ConstantOfShape and Shape are constants.
// graph/operators.h says what each means.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace onnx_split {

enum class OpType : std::uint8_t {
  kAbs,
  kAdd,
  kAveragePool,
  kBatchNormalization,
  kCast,
  kClip,
  kConcat,
  kConv,
  kDiv,
  kElu,
  kExp,
  kExpand,
  kFlatten,
  kGather,
  kGemm,
  kGlobalAveragePool,
  kGlobalMaxPool,
  kHardSigmoid,
  kHardSwish,
  kIdentity,
  kLeakyRelu,
  kLogSoftmax,
  kLrn,
  kMatMul,
  kMax,
  kMaxPool,
  kMean,
  kMin,
  kMul,
  kNeg,
  kPRelu,
  kPad,
  kPow,
  kReduceMax,
  kReduceMean,
  kReduceSum,
  kRelu,
  kReshape,
  kResize,
  kSelu,
  kSigmoid,
  kSlice,
  kSoftmax,
  kSoftplus,
  kSplit,
  kSqrt,
  kSqueeze,
  kSub,
  kSum,
  kTanh,
  kTranspose,
  kUnsqueeze,
};

std::string_view op_name(OpType op);                        // "Conv"
std::optional<OpType> op_from_name(std::string_view name);  // of ONNX's name

}  // namespace onnx_split
