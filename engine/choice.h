// Which algorithm computes a node, and in tiles of which size, as a pure function of the node, its shapes and a rule:
// what measurement taught (bench/kernels_bench.cc), within what the rule allows. Written as text so that a plan can
// freeze it and a person can read it:
//
//   direct                   sums over the whole depth, in the blocked layout (engine/kernels/direct_conv.cc)
//   winograd4, winograd2     F(4×4,3×3), F(2×2,3×3), in the blocked layout (engine/kernels/winograd.cc)
//   depthwise                in the blocked layout
//   im2col tile=448 depth=576 rows=64
//                            OpenBLAS; tile: output positions of a tile; depth: rows of the im2col matrix multiplied
//                            at once; rows: output channels multiplied at once
//   direct_1x1 tile=448 rows=512
//                            OpenBLAS
//   gemv                     one row of A: a stream over the weights
//   sgemm tile=512 rows=64   OpenBLAS; columns and rows of the result multiplied at once
//
// direct, winograd2, winograd4 and gemv can have "weights=fp16" behind them: constant weights are kept as half floats
// and widened where they are multiplied.
//
// A choice decides how sums are grouped and with it the last bits of the result, so it never depends on the number of
// threads.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

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
  bool half = false;  // weights=fp16

  bool operator==(const Choice&) const = default;
};

std::string to_text(const Choice& choice);

// What decides beside the node and its shapes.
struct ChoiceRule {
  std::string core;  // of OpenBLAS, as blas_core() names it
  // Only these, wherever one of them can compute the node. Empty: any, but half weights not for winograd4, whose
  // transformed weights lose too much by it (VGG16's answer is 5 % off; with winograd2 it isn't).
  std::vector<Choice::Algorithm> allowed = {};
  bool half_weights = false;  // weights=fp16 wherever it is possible

  bool allows(Choice::Algorithm algorithm) const;
};

// OpenBLAS's matrix products and nothing of ours.
std::vector<Choice::Algorithm> openblas_algorithms();
// All but Winograd's, whose weights take up to four times as much memory as the model's. (Of the others, direct's take
// more where fewer than sixteen channels are a group.)
std::vector<Choice::Algorithm> lean_algorithms();

// Algorithms' names with commas between them. Says what was expected.
Expected<std::vector<Choice::Algorithm>> parse_algorithms(std::string_view text);

// This machine's. The environment variable ONNX_SPLIT_ALGORITHMS ("winograd2,depthwise") says what is allowed; what it
// says wrongly ends the process with a message.
ChoiceRule default_rule();

// The AVX-512 cores of OpenBLAS multiply up to a million products (rows · columns · depth) without packing the operands
// first (kernel/x86_64/sgemm_small_kernel_permit_skylakex.c).
inline constexpr std::int64_t kUnpackedProducts = 1'000'000;
bool multiplies_unpacked(std::string_view core);

// Whether a choice is computed in the blocked layout (graph/layout.h). Unknown text isn't.
bool computes_in_blocks(std::string_view choice);

// Whether the node can be computed in more than one way: Conv, Gemm and MatMul.
bool has_choice(OpType op);

// The rule's choice for one application of an operator that has one. `call` has passed infer.
Choice choose(OpType op, const OpCall& call, const ChoiceRule& rule);
std::string choose(const Graph& graph, const Node& node, const ChoiceRule& rule);

// How many times as long a node takes with the second choice as with the first, where both are direct or Winograd
// convolutions; otherwise 1. A rough guess.
double relative_time(OpType op, const OpCall& call, const Choice& first, const Choice& second);

// The rule's choice for each node of the graph that has one, by node name.
KernelChoices choose_all(const Graph& graph, const ChoiceRule& rule);

// The same without weights=fp16.
KernelChoices with_float_weights(KernelChoices choices);

// Reads a choice and checks that the operator can be computed that way. Says what was expected.
Expected<Choice> parse_choice(OpType op, const OpCall& call, std::string_view text);

}  // namespace onnx_split
