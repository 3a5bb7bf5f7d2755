#include "engine/evaluate.h"

namespace onnx_split {

Expected<std::vector<Tensor>> evaluate(Session& session, std::span<const Tensor> inputs) {
  std::vector<TensorView> input_views;
  for (const Tensor& input : inputs) input_views.push_back(input.view());
  std::vector<TensorBuilder> builders;
  for (const ValueId id : session.graph().outputs()) builders.emplace_back(session.graph().value(id).type);
  std::vector<MutableTensorView> output_views;
  for (TensorBuilder& builder : builders) output_views.push_back(builder.view());
  TRY(session.run(input_views, output_views));
  std::vector<Tensor> outputs;
  for (TensorBuilder& builder : builders) outputs.push_back(std::move(builder).build());
  return outputs;
}

Expected<std::vector<Tensor>> evaluate_once(const Graph& graph, std::span<const Tensor> inputs,
                                            const SessionOptions& options) {
  TRY_ASSIGN(const std::unique_ptr<Session> session, Session::create(graph, options));
  return evaluate(*session, inputs);
}

}  // namespace onnx_split
