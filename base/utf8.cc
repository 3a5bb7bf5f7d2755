#include "base/utf8.h"

#include <cstdint>

namespace onnx_split {

bool is_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<std::uint8_t>(text[i++]);
    if (lead < 0x80) continue;
    const int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4) return false;
    std::uint32_t code = lead & (0x3fU >> more);
    for (int n = 0; n < more; ++n) {
      if (i == text.size() || (static_cast<std::uint8_t>(text[i]) & 0xc0) != 0x80) return false;
      code = code << 6 | (static_cast<std::uint8_t>(text[i++]) & 0x3fU);
    }
    const bool shortest = more == 1 || (more == 2 && code >= 0x800) || (more == 3 && code >= 0x10000);
    if (!shortest || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return false;
  }
  return true;
}

}  // namespace onnx_split
