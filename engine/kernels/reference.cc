#include "engine/kernels/reference.h"

namespace onnx_split {
namespace {

class ReferenceKernel final : public Kernel {
 public:
  explicit ReferenceKernel(const KernelSpec& spec)
      : evaluate_(operator_of(spec.op).evaluate),
        attributes_(spec.attributes),
        input_types_(spec.inputs.begin(), spec.inputs.end()),
        output_count_(spec.outputs.size()) {}

  Expected<void> run(const RunContext& context) override {
    return evaluate_({attributes_, input_types_, output_count_}, context.inputs, context.outputs);
  }

 private:
  decltype(Operator::evaluate) evaluate_;
  const Attributes& attributes_;
  std::vector<TensorType> input_types_;
  std::size_t output_count_;
};

}  // namespace

std::unique_ptr<Kernel> make_reference_kernel(const KernelSpec& spec) {
  CHECK(spec.epilogue.empty());
  return std::make_unique<ReferenceKernel>(spec);
}

}  // namespace onnx_split
