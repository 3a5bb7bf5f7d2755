// What the engine's tests share: random tensors, single-node graphs, and comparisons of outputs.
#pragma once

#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"
#include "engine/evaluate.h"
#include "graph/builder.h"

namespace onnx_split::test {

inline Tensor random_tensor(Random& random, Shape shape, float low = -1.0F, float high = 1.0F) {
  TensorBuilder builder({DataType::kFloat32, std::move(shape)});
  for (float& x : builder.as<float>()) x = random.uniform(low, high);
  return std::move(builder).build();
}

inline Tensor random_ints(Random& random, Shape shape, std::int64_t low, std::int64_t high) {
  TensorBuilder builder({DataType::kInt64, std::move(shape)});
  for (std::int64_t& x : builder.as<std::int64_t>()) x = random.integer(low, high);
  return std::move(builder).build();
}

// One application of an operator, with the data of its inputs.
struct Case {
  OpType op;
  Attributes attributes;
  std::vector<Tensor> inputs;
  std::size_t outputs = 1;
  double tolerance = 1e-5;  // relative to the largest element of the reference
};

inline std::string describe(const Case& c) {
  std::string text = fmt::format("{} {}", op_name(c.op), c.attributes.to_string());
  for (const Tensor& input : c.inputs) text += fmt::format(" {}", input.type().to_string());
  return text;
}

// Every input but the first is a constant where `constants` says so.
inline Expected<Graph> graph_of(const Case& c, bool constants) {
  GraphBuilder builder("case");
  std::vector<ValueId> ids;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    const std::string name = fmt::format("input{}", i);
    TRY_ASSIGN(const ValueId id, i > 0 && constants ? builder.add_constant(name, c.inputs[i])
                                                    : builder.add_input(name, c.inputs[i].type()));
    ids.push_back(id);
  }
  std::vector<std::string> outputs;
  for (std::size_t i = 0; i < c.outputs; ++i) outputs.push_back(fmt::format("output{}", i));
  TRY_ASSIGN(const NodeId node, builder.add_node("node", c.op, c.attributes, ids, outputs));
  std::vector<ValueId> results = builder.graph().node(node).outputs;
  return std::move(builder).build(std::move(results));
}

inline std::vector<Tensor> evaluate_case(const Case& c, const SessionOptions& options, bool constants) {
  const auto graph = graph_of(c, constants);
  if (!graph) {
    ADD_FAILURE() << describe(c) << ": " << graph.error().message;
    return {};
  }
  const std::span<const Tensor> all(c.inputs);
  auto result = evaluate_once(*graph, constants ? all.first(1) : all, options);
  if (!result) {
    ADD_FAILURE() << describe(c) << ": " << result.error().message;
    return {};
  }
  return std::move(*result);
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  const auto x = a.buffer().bytes();
  const auto y = b.buffer().bytes();
  return a.type() == b.type() && x.size() == y.size() && (x.empty() || std::memcmp(x.data(), y.data(), x.size()) == 0);
}

inline bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!same_bits(a[i], b[i])) return false;
  }
  return true;
}

// max|a - b| / max|b|; infinite where types differ or anything but the same non-finite number meets one.
inline double distance(const Tensor& a, const Tensor& b) {
  constexpr double kFar = std::numeric_limits<double>::infinity();
  if (a.type() != b.type()) return kFar;
  if (a.type().type != DataType::kFloat32) return same_bits(a, b) ? 0.0 : kFar;
  double difference = 0.0;
  double largest = 1e-30;
  for (std::size_t i = 0; i < a.as<float>().size(); ++i) {
    const float x = a.as<float>()[i];
    const float y = b.as<float>()[i];
    if (!std::isfinite(x) || !std::isfinite(y)) {
      if (!(x == y || (x != x && y != y))) return kFar;
      continue;
    }
    difference = std::max(difference, std::abs(static_cast<double>(x) - static_cast<double>(y)));
    largest = std::max(largest, std::abs(static_cast<double>(y)));
  }
  return difference / largest;
}

// The fast kernel agrees with the reference; three threads and constant inputs give the bits of one thread.
inline void expect_kernel_agrees(const Case& c) {
  SCOPED_TRACE(describe(c));
  const auto reference = evaluate_case(c, {.threads = 1, .choices = {}, .reference = true}, false);
  const auto one = evaluate_case(c, {.threads = 1, .choices = {}, .reference = false}, false);
  const auto three = evaluate_case(c, {.threads = 3, .choices = {}, .reference = false}, true);
  ASSERT_EQ(reference.size(), one.size());
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_LE(distance(one[i], reference[i]), c.tolerance);
  EXPECT_TRUE(same_bits(one, three));
}

}  // namespace onnx_split::test
