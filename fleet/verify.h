// Does a plan give the uncut network's answer? Compares every cut value and every output.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fleet/composer.h"

namespace onnx_split {

struct ValueError {
  std::string value;
  std::optional<PartId> without;  // decoded from parity, without this part
  double max_abs_error = 0.0;
  double max_abs_reference = 0.0;
  bool bitwise_equal = true;

  // max|a−b| / max|b|; 0 where both are 0.
  double relative() const;
};

struct VerifyReport {
  std::vector<ValueError> values;   // in the manifest's order
  std::vector<ValueError> decoded;  // each value that can be told from parity, once without each of its parts

  // The value with the largest relative error, of those that weren't decoded.
  const ValueError& worst() const;
  bool bitwise_equal() const;  // of them
};

// The largest relative error of a decoded value that is right: it is a difference of sums.
inline constexpr double kDecodedTolerance = 1e-3;

// `expected` and `actual` are of one type. A NaN in one and not in the other is an infinite error.
ValueError compare(std::string value, const Tensor& actual, const Tensor& expected);

// Computes the graph uncut (with the same options) and the parts, and compares. `inputs` in the graph's order.
Expected<VerifyReport> verify(const Graph& graph, Composer& composer, std::span<const Tensor> inputs,
                              const SessionOptions& options);

}  // namespace onnx_split
