// A kernel computes one node, over and over, in memory that the session gives it. It is made once, from the node's
// types, attributes and choice; whatever can fail, be laid out or allocated happens then.
//
// Every element a kernel writes is a pure function of the node, its inputs and its choice: never of the number of
// threads, of the address or of what runs before or after (docs/architecture.md, promise 1).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "engine/page_pool.h"
#include "engine/thread_pool.h"
#include "graph/operators.h"
#include "graph/ops/unary.h"

namespace onnx_split {

// What a kernel does to each element it has computed, while it is still in cache: y = activation(result + addend). It
// rounds exactly as the nodes that it replaces would.
struct Epilogue {
  bool add = false;  // the addend is one more input, of the output's shape, behind the node's own
  UnaryParams activation{.op = OpType::kIdentity};

  bool empty() const { return !add && activation.op == OpType::kIdentity; }
};

// What a kernel is made from. The attributes outlive the kernel; the rest is gone after its creation.
struct KernelSpec {
  OpType op;
  const Attributes& attributes;
  std::span<const TensorType> inputs;
  std::span<const TensorType> outputs;
  std::string_view choice;  // valid and complete for nodes that have one (engine/choice.h), else empty
  Epilogue epilogue;
  unsigned threads = 1;
  // Inputs and outputs lie as KernelRow::blocked_inputs says (graph/layout.h); otherwise all are plain.
  bool blocked = false;
  // By input of the node: its data where they are known when the kernel is made, else null.
  std::span<const void* const> constants = {};
  PagePool* pages = nullptr;  // for weights that the kernel lays out; must be there when one is made

  OpCall call() const { return {attributes, inputs, outputs.size()}; }
};

struct RunContext {
  std::span<const TensorView> inputs;
  std::span<const MutableTensorView> outputs;
  ThreadPool& pool;
  std::byte* workspace;  // one stride for each worker, aligned to kBufferAlignment
  std::size_t workspace_stride;

  const float* input(std::size_t i) const { return static_cast<const float*>(inputs[i].data()); }
  float* output(std::size_t i = 0) const { return static_cast<float*>(outputs[i].data()); }
  float* scratch(unsigned worker) const { return reinterpret_cast<float*>(workspace + worker * workspace_stride); }
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  // Memory for weights that the kernel has laid out for itself when it was made. If it has, it reads no input of
  // the node but the first.
  virtual std::size_t weight_bytes() const { return 0; }
  // Scratch memory that run() needs for each thread.
  virtual std::size_t workspace_bytes() const { return 0; }
  // Fails only where data decides (an index out of range). Doesn't allocate.
  virtual Expected<void> run(const RunContext& context) = 0;
};

}  // namespace onnx_split
