// CHECK: a broken invariant of our own stops the process with a message. Never used for input from outside.
#pragma once

#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>

namespace onnx_split {

[[noreturn]] inline void check_failed(const char* file, int line, const char* condition) {
  fmt::print(stderr, "{}:{}: broken invariant: {}\n", file, line, condition);
  std::abort();
}

}  // namespace onnx_split

#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::onnx_split::check_failed(__FILE__, __LINE__, #condition))
