// What the tests of the graph share: seeded tensors, one operator applied, comparisons and error texts.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "graph/builder.h"
#include "graph/operators.h"

namespace onnx_split {

inline constexpr std::int64_t kIntMin = std::numeric_limits<std::int64_t>::min();
inline constexpr std::int64_t kIntMax = std::numeric_limits<std::int64_t>::max();

// Below `count`.
inline std::size_t random_index(Random& random, std::size_t count) {
  return static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(count) - 1));
}

inline Tensor random_tensor(Random& random, Shape shape) {
  std::vector<float> elements(static_cast<std::size_t>(shape.elements()));
  for (float& x : elements) x = random.uniform(-1.0F, 1.0F);
  return Tensor::floats(std::move(shape), elements);
}

inline Tensor floats(Shape shape, const std::vector<float>& elements) {
  return Tensor::floats(std::move(shape), elements);
}

inline Tensor ints(Shape shape, const std::vector<std::int64_t>& elements) {
  return Tensor::from<std::int64_t>(std::move(shape), elements);
}

// 0, 1, 2, …
inline Tensor counting(Shape shape) {
  std::vector<float> elements(static_cast<std::size_t>(shape.elements()));
  for (std::size_t i = 0; i < elements.size(); ++i) elements[i] = static_cast<float>(i);
  return Tensor::floats(std::move(shape), elements);
}

template <class T = float>
std::vector<T> to_vector(const Tensor& tensor) {
  const auto elements = tensor.as<T>();
  return {elements.begin(), elements.end()};
}

inline std::vector<Tensor> apply_all(OpType op, const Attributes& attributes, const std::vector<Tensor>& inputs,
                                     std::size_t output_count = 1) {
  auto outputs = evaluate(op, attributes, inputs, output_count);
  EXPECT_TRUE(outputs.has_value()) << (outputs ? "" : outputs.error().message);
  return outputs ? std::move(*outputs) : std::vector<Tensor>(output_count, Tensor::scalar(0.0F));
}

inline Tensor apply(OpType op, const Attributes& attributes, const std::vector<Tensor>& inputs) {
  return apply_all(op, attributes, inputs).front();
}

// "Conv: " and the message of what must fail; "" where it doesn't.
inline std::string error_of(OpType op, const Attributes& attributes, const std::vector<Tensor>& inputs,
                            std::size_t output_count = 1) {
  const auto outputs = evaluate(op, attributes, inputs, output_count);
  return outputs ? "" : fmt::format("{}: {}", op_name(op), outputs.error().message);
}

inline void expect_near(const Tensor& found, const Tensor& expected, double tolerance = 1e-6) {
  ASSERT_EQ(found.type(), expected.type());
  double scale = 1.0;
  for (const float x : expected.as<float>()) scale = std::max(scale, std::fabs(static_cast<double>(x)));
  for (std::size_t i = 0; i < found.as<float>().size(); ++i) {
    ASSERT_NEAR(found.as<float>()[i], expected.as<float>()[i], tolerance * scale) << "element " << i;
  }
}

inline void expect_same(const Tensor& found, const Tensor& expected) {
  ASSERT_EQ(found.type(), expected.type());
  const auto a = found.buffer().bytes();
  const auto b = expected.buffer().bytes();
  EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end()));
}

// The value of what must succeed.
template <class T>
T must(Expected<T> result) {
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message);
  if (!result) std::abort();
  return std::move(*result);
}

// Computes a graph with the reference, node by node.
inline std::vector<Tensor> compute(const Graph& graph, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> values(graph.value_count());
  for (std::size_t i = 0; i < inputs.size(); ++i) values[graph.inputs()[i].index()] = inputs[i];
  for (std::size_t i = 0; i < graph.value_count(); ++i) {
    if (graph.values()[i].constant) values[i] = *graph.values()[i].constant;
  }
  for (const Node& node : graph.nodes()) {
    std::vector<Tensor> arguments;
    for (const ValueId id : node.inputs) arguments.push_back(values[id.index()]);
    const auto results = must(evaluate(node.op, node.attributes, arguments, node.outputs.size()));
    for (std::size_t i = 0; i < results.size(); ++i) values[node.outputs[i].index()] = results[i];
  }
  std::vector<Tensor> outputs;
  for (const ValueId id : graph.outputs()) outputs.push_back(values[id.index()]);
  return outputs;
}

}  // namespace onnx_split
