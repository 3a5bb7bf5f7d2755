#include "transport/nng_error.h"

#include <nng/nng.h>

#include <algorithm>
#include <array>

namespace onnx_split::transport {
namespace {

struct ErrorRow {
  int nng_code;
  ErrorCode code;
  std::string_view text;
};
constexpr std::array kErrors = {
    ErrorRow{NNG_ENOMEM, ErrorCode::kExhausted, "out of memory"},
    ErrorRow{NNG_EINVAL, ErrorCode::kInvalid, "invalid argument"},
    ErrorRow{NNG_ETIMEDOUT, ErrorCode::kTimeout, "timed out"},
    ErrorRow{NNG_ECONNREFUSED, ErrorCode::kUnavailable, "connection refused"},
    ErrorRow{NNG_ECLOSED, ErrorCode::kCancelled, "socket closed"},
    ErrorRow{NNG_ECANCELED, ErrorCode::kCancelled, "cancelled"},
    ErrorRow{NNG_ENOTSUP, ErrorCode::kUnsupported, "not supported"},
    ErrorRow{NNG_EADDRINUSE, ErrorCode::kUnavailable, "address in use"},
    ErrorRow{NNG_ESTATE, ErrorCode::kInvalid, "no request to answer"},
    ErrorRow{NNG_ENOENT, ErrorCode::kNotFound, "not found"},
    ErrorRow{NNG_EPROTO, ErrorCode::kUnavailable, "the peer speaks another protocol"},
    ErrorRow{NNG_EUNREACHABLE, ErrorCode::kUnavailable, "host unreachable"},
    ErrorRow{NNG_EADDRINVAL, ErrorCode::kNotFound, "no such address"},
    ErrorRow{NNG_EPERM, ErrorCode::kIo, "permission denied"},
    ErrorRow{NNG_EMSGSIZE, ErrorCode::kExhausted, "message over the size limit"},
    ErrorRow{NNG_ECONNABORTED, ErrorCode::kUnavailable, "connection aborted"},
    ErrorRow{NNG_ECONNRESET, ErrorCode::kUnavailable, "connection lost"},
    ErrorRow{NNG_ECONNSHUT, ErrorCode::kUnavailable, "connection closed by the peer"},
    ErrorRow{NNG_ENOFILES, ErrorCode::kExhausted, "too many open files"},
    ErrorRow{NNG_ENOSPC, ErrorCode::kExhausted, "out of space"},
};

}  // namespace

Error nng_error(int nng_code, std::string_view context) {
  const auto row = std::ranges::find(kErrors, nng_code, &ErrorRow::nng_code);
  if (row != kErrors.end()) return Error{row->code, std::string(row->text)}.in(context);
  return Error{ErrorCode::kIo, nng_strerror(nng_code)}.in(context);
}

}  // namespace onnx_split::transport
