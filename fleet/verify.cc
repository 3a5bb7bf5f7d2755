#include "fleet/verify.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/evaluate.h"
#include "graph/passes/rewrite.h"

namespace onnx_split {
namespace {

// The same graph with other outputs.
Expected<Graph> with_outputs(const Graph& graph, const std::vector<std::string>& names) {
  Rewrite rewrite(graph);
  for (const Node& node : graph.nodes()) TRY(rewrite.copy(node));
  std::vector<ValueId> ids;
  for (const std::string& name : names) {
    const auto id = graph.find_value(name);
    if (!id) return fail(ErrorCode::kInvalid, "the parts give \"{}\", which the model doesn't have", name);
    ids.push_back(*id);
  }
  return std::move(rewrite).finish(ids);
}

double difference(float a, float b) {
  if (std::isnan(a) && std::isnan(b)) return 0.0;
  if (a == b) return 0.0;  // also equal infinities
  const double d = std::abs(static_cast<double>(a) - static_cast<double>(b));
  return std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
}

}  // namespace

double ValueError::relative() const {
  if (max_abs_error == 0.0) return 0.0;
  return max_abs_reference > 0.0 ? max_abs_error / max_abs_reference : std::numeric_limits<double>::infinity();
}

const ValueError& VerifyReport::worst() const {
  return *std::max_element(values.begin(), values.end(),
                           [](const ValueError& a, const ValueError& b) { return a.relative() < b.relative(); });
}

bool VerifyReport::bitwise_equal() const {
  return std::all_of(values.begin(), values.end(), [](const ValueError& value) { return value.bitwise_equal; });
}

ValueError compare(std::string value, const Tensor& actual, const Tensor& expected) {
  ValueError error{std::move(value), {}, 0.0, 0.0, true};
  const std::span<const std::byte> a = actual.buffer().bytes();
  const std::span<const std::byte> b = expected.buffer().bytes();
  error.bitwise_equal = actual.type() == expected.type() && std::equal(a.begin(), a.end(), b.begin(), b.end());
  if (actual.type() != expected.type()) {
    error.max_abs_error = std::numeric_limits<double>::infinity();
  } else if (expected.type().type == DataType::kFloat32) {
    const std::span<const float> x = actual.as<float>();
    const std::span<const float> y = expected.as<float>();
    for (std::size_t i = 0; i < x.size(); ++i) {
      error.max_abs_error = std::max(error.max_abs_error, difference(x[i], y[i]));
      if (std::isfinite(y[i])) {
        error.max_abs_reference = std::max(error.max_abs_reference, std::abs(static_cast<double>(y[i])));
      }
    }
  } else if (!error.bitwise_equal) {
    error.max_abs_error = std::numeric_limits<double>::infinity();  // integers are equal or wrong
  }
  return error;
}

Expected<VerifyReport> verify(const Graph& graph, Composer& composer, std::span<const Tensor> inputs,
                              const SessionOptions& options) {
  for (std::size_t i = 0; i < graph.inputs().size(); ++i) {
    const std::string& name = graph.value(graph.inputs()[i]).name;
    if (composer.manifest().inputs.size() == graph.inputs().size() && composer.manifest().inputs[i] == name) continue;
    return fail(ErrorCode::kInvalid, "the parts' input {} isn't the model's \"{}\"", i, name);
  }
  std::vector<DecodedValue> decoded;
  TRY_ASSIGN(const NamedTensors actual, composer.run(inputs, &decoded));
  std::vector<std::string> names;
  for (const ManifestValue& value : composer.manifest().values) {
    if (actual.contains(value.name)) names.push_back(value.name);
  }
  TRY_ASSIGN(const Graph uncut, with_outputs(graph, names));
  TRY_ASSIGN(const std::vector<Tensor> expected, evaluate_once(uncut, inputs, options));
  VerifyReport report;
  for (std::size_t i = 0; i < names.size(); ++i) {
    report.values.push_back(compare(names[i], actual.find(names[i])->second, expected[i]));
    for (const DecodedValue& value : decoded) {
      if (value.value != names[i]) continue;
      ValueError& error = report.decoded.emplace_back(compare(names[i], value.tensor, expected[i]));
      error.without = value.without;
    }
  }
  return report;
}

}  // namespace onnx_split
