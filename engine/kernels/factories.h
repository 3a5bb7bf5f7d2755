// The makers of the kernels, for the table alone.
#pragma once

#include "engine/kernels/kernel.h"
#include "graph/layout.h"

namespace onnx_split {

// conv.cc, direct_conv.cc, depthwise.cc, winograd.cc
std::unique_ptr<Kernel> make_conv(const KernelSpec& spec);
std::unique_ptr<Kernel> make_blocked_conv(const KernelSpec& spec);
std::vector<Layout> blocked_conv_inputs(const KernelSpec& spec);
std::unique_ptr<Kernel> make_depthwise(const KernelSpec& spec);  // blocked
// blocked; outputs of a tile along each axis: 2 or 4
std::unique_ptr<Kernel> make_winograd(const KernelSpec& spec, std::int64_t outputs, bool half);
// gemm.cc
std::unique_ptr<Kernel> make_gemm(const KernelSpec& spec);
std::unique_ptr<Kernel> make_matmul(const KernelSpec& spec);
// pool.cc
std::unique_ptr<Kernel> make_pool(const KernelSpec& spec);
std::unique_ptr<Kernel> make_global_pool(const KernelSpec& spec);
// blocked_pool.cc
std::unique_ptr<Kernel> make_blocked_pool(const KernelSpec& spec);
std::unique_ptr<Kernel> make_blocked_global_pool(const KernelSpec& spec);
// elementwise.cc; blocked ones too, whose operands are alike
std::unique_ptr<Kernel> make_unary(const KernelSpec& spec);
std::unique_ptr<Kernel> make_binary(const KernelSpec& spec);
std::unique_ptr<Kernel> make_variadic(const KernelSpec& spec);
// normalization.cc
std::unique_ptr<Kernel> make_batch_norm(const KernelSpec& spec);
std::unique_ptr<Kernel> make_lrn(const KernelSpec& spec);
std::unique_ptr<Kernel> make_softmax(const KernelSpec& spec);
// reduce.cc
std::unique_ptr<Kernel> make_reduce(const KernelSpec& spec);
// movement.cc
std::unique_ptr<Kernel> make_concat(const KernelSpec& spec);  // blocked too
std::vector<Layout> blocked_concat_inputs(const KernelSpec& spec);
std::unique_ptr<Kernel> make_split(const KernelSpec& spec);
std::unique_ptr<Kernel> make_strided_copy(const KernelSpec& spec);  // a blocked Slice too
std::vector<Layout> blocked_slice_inputs(const KernelSpec& spec);
std::unique_ptr<Kernel> make_pad(const KernelSpec& spec);
std::unique_ptr<Kernel> make_gather(const KernelSpec& spec);
// resize.cc
std::unique_ptr<Kernel> make_resize(const KernelSpec& spec);

}  // namespace onnx_split
