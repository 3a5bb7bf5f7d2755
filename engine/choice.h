// Which algorithm computes a node, and in tiles of which size, as a pure function of the node and its shapes: the rule
// that measurement taught (bench/kernels_bench.cc). Written as text so that a plan can freeze it and a person can read
// it:
//   direct                                sums over the whole depth, in the blocked layout
//   (engine/kernels/direct_conv.cc) winograd4, winograd2                  F(4×4,3×3), F(2×2,3×3), in the blocked layout
//   (engine/kernels/winograd.cc) depthwise                             in the blocked layout im2col tile=448 depth=576
//   rows=64     OpenBLAS; tile: output positions of a tile; depth: rows of the im2col matrix
//                                         multiplied at once; rows: output channels multiplied at once
//   direct_1x1 tile=448 rows=512          OpenBLAS
//   gemv                                  one row of A: a stream over the weights
//   sgemm tile=512 rows=64                OpenBLAS; columns and rows of the result multiplied at once
// A choice decides how sums are grouped and with it the last bits of the result, so it never depends on the number of
// threads.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "graph/graph.h"
#include "graph/operators.h"

namespace onnx_split {

// The algorithm of each node that has a choice, by node name, as text. A plan freezes it, and sessions obey it.
using KernelChoices = std::map<std::string, std::string, std::less<>>;

struct Choice {
  enum class Algorithm { kDirect, kWinograd2, kWinograd4, kIm2col, kDirect1x1, kDepthwise, kGemv, kSgemm };
  Algorithm algorithm = Algorithm::kIm2col;
  std::int64_t tile = 0;
  std::int64_t depth = 0;
  std::int64_t rows = 0;

  bool operator==(const Choice&) const = default;
};

std::string to_text(const Choice& choice);

// The AVX-512 cores of OpenBLAS multiply up to a million products (rows · columns · depth) without packing the operands
// first (kernel/x86_64/sgemm_small_kernel_permit_skylakex.c).
inline constexpr std::int64_t kUnpackedProducts = 1'000'000;
bool multiplies_unpacked(std::string_view core);

// Whether the node can be computed in more than one way: Conv, Gemm and MatMul.
bool has_choice(OpType op);

// The rule's choice for one application of an operator that has one. `call` has passed infer. `core` is a core type as
// blas_core() names it.
Choice default_choice(OpType op, const OpCall& call, std::string_view core);
std::string default_choice(const Graph& graph, const Node& node, std::string_view core);

// The rule's choice for each node of the graph that has one, by node name.
KernelChoices default_choices(const Graph& graph, std::string_view core);

// Reads a choice and checks that the operator can be computed that way. Says what was expected.
Expected<Choice> parse_choice(OpType op, const OpCall& call, std::string_view text);

}  // namespace onnx_split
