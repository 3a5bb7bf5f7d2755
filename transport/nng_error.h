// Of this room only: nng's error numbers in our words.
#pragma once

#include <string_view>

#include "base/error.h"

namespace onnx_split::transport {

// "tcp://127.0.0.1:5555: address in use". `context` is the URL, or what was being done; `nng_code` isn't 0.
Error nng_error(int nng_code, std::string_view context);

}  // namespace onnx_split::transport
