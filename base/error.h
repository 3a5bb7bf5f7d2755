// Errors as values.
//
// Whatever comes from outside (a file, a model, a plan, a peer, the user) may be wrong, so every function that
// reads it returns Expected<T>. An Error carries a code for the program and a message for the person; each layer
// that passes an error on adds its own context once, outermost first:
//   part 3: node "conv1" (Conv): weight expects 4 input channels, input has 3
// Broken invariants of our own are not errors: see base/check.h.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace onnx_split {

enum class ErrorCode {
  kInvalid,      // the input is malformed or contradicts itself
  kUnsupported,  // well-formed, but not something this program does
  kNotFound,     // a file, name or peer that isn't there
  kExhausted,    // out of memory, disk, descriptors, or over a configured limit
  kUnavailable,  // a peer died, refused or vanished; another try may succeed
  kTimeout,      // a deadline passed
  kCancelled,    // the user or a shutdown ended it
  kIo,           // the operating system failed a read or write
};

std::string_view error_code_name(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInvalid;
  std::string message;

  // The same error with "context: " put before its message.
  Error in(std::string_view context) && { return {code, fmt::format("{}: {}", context, message)}; }
};

template <class T>
using Expected = tl::expected<T, Error>;

// return fail(ErrorCode::kInvalid, "expected {} inputs, found {}", 2, n);
template <class... Args>
tl::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

// Passes an error on with one more layer of context.
inline tl::unexpected<Error> fail_in(std::string_view context, Error error) {
  return tl::unexpected<Error>(std::move(error).in(context));
}

// The message of a failed system call: "Permission denied".
std::string errno_message(int errno_value);

}  // namespace onnx_split

#define ONNX_SPLIT_CONCAT_(a, b) a##b
#define ONNX_SPLIT_CONCAT(a, b) ONNX_SPLIT_CONCAT_(a, b)

// TRY(do_it()): returns do_it()'s error from the enclosing function, if it has one.
#define TRY(expression)                                                      \
  do {                                                                       \
    auto try_result_ = (expression);                                         \
    if (!try_result_) return tl::unexpected(std::move(try_result_.error())); \
  } while (false)

// TRY_ASSIGN(auto x, compute()): as TRY, and otherwise x is the value.
#define TRY_ASSIGN(declaration, expression) \
  TRY_ASSIGN_(ONNX_SPLIT_CONCAT(try_result_, __LINE__), declaration, expression)
#define TRY_ASSIGN_(result, declaration, expression)             \
  auto result = (expression);                                    \
  if (!result) return tl::unexpected(std::move(result.error())); \
  declaration = std::move(*result)
