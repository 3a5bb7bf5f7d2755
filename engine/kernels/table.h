// Which kernel computes which operator: one explicit row each.
#pragma once

#include "engine/kernels/kernel.h"
#include "graph/layout.h"

namespace onnx_split {

// Gives nothing where the kernel doesn't cover the case; never if it takes activations or addends.
using KernelFactory = std::unique_ptr<Kernel> (*)(const KernelSpec& spec);

// The layouts of the inputs with which a node is computed into the blocked layout; empty if it can't be.
using LayoutRule = std::vector<Layout> (*)(const KernelSpec& spec);

struct KernelRow {
  OpType op;
  KernelFactory make;  // null: always the reference
  KernelFactory make_blocked = nullptr;
  LayoutRule blocked_inputs = nullptr;
  bool leads = false;             // is blocked wherever it can be; others only where their first input is
  bool takes_activation = false;  // the kernel honours Epilogue::activation
  bool takes_addend = false;      // … and Epilogue::add
  bool in_place = false;          // may write over an input of the output's type and shape
  bool any_type = false;          // otherwise float32 everywhere
};

const KernelRow& kernel_row(OpType op);

// Whether the table's kernel covers this case: the types fit and nothing is empty. Otherwise the reference computes it.
bool has_fast_kernel(OpType op, std::span<const TensorType> inputs, std::span<const TensorType> outputs);

// The operator's kernel, or the reference, which has no epilogue. `reference` forces the latter.
std::unique_ptr<Kernel> make_kernel(const KernelSpec& spec, bool reference);

}  // namespace onnx_split
