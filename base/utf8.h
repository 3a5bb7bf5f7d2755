// Whether a text is UTF-8 (RFC 3629: shortest forms, no surrogates, at most U+10FFFF). Names that aren't couldn't be
// written to a plan and found again.
#pragma once

#include <string_view>

namespace onnx_split {

bool is_utf8(std::string_view text);

}  // namespace onnx_split
