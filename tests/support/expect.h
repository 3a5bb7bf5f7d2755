// Reads values out of Expected in tests: a failure shows the error's message.
#pragma once

#include <gtest/gtest.h>

#include "base/error.h"

namespace onnx_split::testing {

template <class T>
T must(Expected<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}
inline void must(const Expected<void>& result) {
  if (!result) throw std::runtime_error(result.error().message);
}

// The message of a result that must be an error.
template <class T>
std::string error_of(const Expected<T>& result) {
  if (result) return "(no error)";
  return result.error().message;
}

}  // namespace onnx_split::testing
