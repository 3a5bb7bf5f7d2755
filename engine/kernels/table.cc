#include "engine/kernels/table.h"

#include <algorithm>
#include <array>

#include "engine/kernels/factories.h"
#include "engine/kernels/reference.h"

namespace onnx_split {
namespace {

constexpr bool kAnyType = true;

// Element by element, wherever the elements lie: if all operands are alike.
std::vector<Layout> blocked_alike(const KernelSpec& spec) {
  const bool alike = can_be_blocked(spec.outputs.front()) &&
                     std::all_of(spec.inputs.begin(), spec.inputs.end(),
                                 [&](const TensorType& input) { return input == spec.outputs.front(); });
  return alike ? std::vector<Layout>(spec.inputs.size(), Layout::kBlocked) : std::vector<Layout>{};
}

// Of one input with channels and positions.
std::vector<Layout> blocked_alone(const KernelSpec& spec) {
  const bool alone = spec.inputs.size() == 1 && spec.outputs.size() == 1;
  return alone && can_be_blocked(spec.inputs.front()) ? std::vector<Layout>{Layout::kBlocked} : std::vector<Layout>{};
}

constexpr std::array kTable = {
    KernelRow{.op = OpType::kAbs,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kAdd,
              .make = make_binary,
              .make_blocked = make_binary,
              .blocked_inputs = blocked_alike,
              .takes_activation = true,
              .in_place = true},
    KernelRow{.op = OpType::kAveragePool,
              .make = make_pool,
              .make_blocked = make_blocked_pool,
              .blocked_inputs = blocked_alone},
    KernelRow{.op = OpType::kBatchNormalization, .make = make_batch_norm, .takes_activation = true, .in_place = true},
    KernelRow{.op = OpType::kCast, .make = nullptr},
    KernelRow{.op = OpType::kClip,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kConcat,
              .make = make_concat,
              .make_blocked = make_concat,
              .blocked_inputs = blocked_concat_inputs,
              .any_type = kAnyType},
    KernelRow{.op = OpType::kConv,
              .make = make_conv,
              .make_blocked = make_blocked_conv,
              .blocked_inputs = blocked_conv_inputs,
              .leads = true,
              .takes_activation = true,
              .takes_addend = true},
    KernelRow{.op = OpType::kDiv,
              .make = make_binary,
              .make_blocked = make_binary,
              .blocked_inputs = blocked_alike,
              .takes_activation = true,
              .in_place = true},
    KernelRow{.op = OpType::kElu,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kExp,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kExpand, .make = make_strided_copy, .any_type = kAnyType},
    KernelRow{.op = OpType::kFlatten, .make = nullptr},  // a view: never a step
    KernelRow{.op = OpType::kGather, .make = make_gather, .any_type = kAnyType},
    KernelRow{.op = OpType::kGemm, .make = make_gemm, .takes_activation = true, .takes_addend = true},
    KernelRow{.op = OpType::kGlobalAveragePool,
              .make = make_global_pool,
              .make_blocked = make_blocked_global_pool,
              .blocked_inputs = blocked_alone},
    KernelRow{.op = OpType::kGlobalMaxPool,
              .make = make_global_pool,
              .make_blocked = make_blocked_global_pool,
              .blocked_inputs = blocked_alone},
    KernelRow{.op = OpType::kHardSigmoid,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kHardSwish,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kIdentity, .make = nullptr},  // a view
    KernelRow{.op = OpType::kLeakyRelu,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kLogSoftmax, .make = make_softmax},
    KernelRow{.op = OpType::kLrn, .make = make_lrn},
    KernelRow{.op = OpType::kMatMul, .make = make_matmul, .takes_activation = true, .takes_addend = true},
    KernelRow{.op = OpType::kMax,
              .make = make_variadic,
              .make_blocked = make_variadic,
              .blocked_inputs = blocked_alike,
              .takes_activation = true},
    KernelRow{
        .op = OpType::kMaxPool, .make = make_pool, .make_blocked = make_blocked_pool, .blocked_inputs = blocked_alone},
    KernelRow{.op = OpType::kMean,
              .make = make_variadic,
              .make_blocked = make_variadic,
              .blocked_inputs = blocked_alike,
              .takes_activation = true},
    KernelRow{.op = OpType::kMin,
              .make = make_variadic,
              .make_blocked = make_variadic,
              .blocked_inputs = blocked_alike,
              .takes_activation = true},
    KernelRow{.op = OpType::kMul,
              .make = make_binary,
              .make_blocked = make_binary,
              .blocked_inputs = blocked_alike,
              .takes_activation = true,
              .in_place = true},
    KernelRow{.op = OpType::kNeg,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kPRelu,
              .make = make_binary,
              .make_blocked = make_binary,
              .blocked_inputs = blocked_alike,
              .takes_activation = true,
              .in_place = true},
    KernelRow{.op = OpType::kPad, .make = make_pad},
    KernelRow{.op = OpType::kPow,
              .make = make_binary,
              .make_blocked = make_binary,
              .blocked_inputs = blocked_alike,
              .takes_activation = true,
              .in_place = true},
    KernelRow{.op = OpType::kReduceMax, .make = make_reduce},
    KernelRow{.op = OpType::kReduceMean, .make = make_reduce},
    KernelRow{.op = OpType::kReduceSum, .make = make_reduce},
    KernelRow{.op = OpType::kRelu,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kReshape, .make = nullptr},  // a view
    KernelRow{.op = OpType::kResize, .make = make_resize},
    KernelRow{.op = OpType::kSelu,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kSigmoid,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kSlice,
              .make = make_strided_copy,
              .make_blocked = make_strided_copy,
              .blocked_inputs = blocked_slice_inputs,
              .any_type = kAnyType},
    KernelRow{.op = OpType::kSoftmax, .make = make_softmax},
    KernelRow{.op = OpType::kSoftplus,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kSplit, .make = make_split, .any_type = kAnyType},
    KernelRow{.op = OpType::kSqrt,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kSqueeze, .make = nullptr},  // a view
    KernelRow{.op = OpType::kSub,
              .make = make_binary,
              .make_blocked = make_binary,
              .blocked_inputs = blocked_alike,
              .takes_activation = true,
              .in_place = true},
    KernelRow{.op = OpType::kSum,
              .make = make_variadic,
              .make_blocked = make_variadic,
              .blocked_inputs = blocked_alike,
              .takes_activation = true},
    KernelRow{.op = OpType::kTanh,
              .make = make_unary,
              .make_blocked = make_unary,
              .blocked_inputs = blocked_alike,
              .in_place = true},
    KernelRow{.op = OpType::kTranspose, .make = make_strided_copy, .any_type = kAnyType},
    KernelRow{.op = OpType::kUnsqueeze, .make = nullptr},  // a view
};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    if (kTable[i].op != static_cast<OpType>(i)) return false;
  }
  return true;
}
static_assert(in_order(), "one row for each OpType, in its order");

}  // namespace

const KernelRow& kernel_row(OpType op) { return kTable[static_cast<std::size_t>(op)]; }

bool has_fast_kernel(OpType op, std::span<const TensorType> inputs, std::span<const TensorType> outputs) {
  const KernelRow& row = kernel_row(op);
  const auto suits = [&row](const TensorType& type) {
    return type.shape.elements() > 0 && (row.any_type || type.type == DataType::kFloat32);
  };
  return row.make != nullptr && std::all_of(inputs.begin(), inputs.end(), suits) &&
         std::all_of(outputs.begin(), outputs.end(), suits);
}

std::unique_ptr<Kernel> make_kernel(const KernelSpec& spec, bool reference) {
  if (reference || !has_fast_kernel(spec.op, spec.inputs, spec.outputs)) return make_reference_kernel(spec);
  const KernelRow& row = kernel_row(spec.op);
  if (spec.blocked) return row.make_blocked(spec);
  std::unique_ptr<Kernel> kernel = row.make(spec);
  return kernel ? std::move(kernel) : make_reference_kernel(spec);
}

}  // namespace onnx_split
