#include "base/error.h"

#include <system_error>

namespace onnx_split {

std::string_view error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid: return "invalid";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kNotFound: return "not found";
    case ErrorCode::kExhausted: return "exhausted";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kTimeout: return "timeout";
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kIo: return "i/o";
  }
  return "unknown";
}

std::string errno_message(int errno_value) { return std::generic_category().message(errno_value); }

}  // namespace onnx_split
