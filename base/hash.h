// xxHash3, for checksums and content hashes (not for security).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace onnx_split {

std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed = 0);
std::uint64_t hash64(std::string_view text, std::uint64_t seed = 0);
std::string hex64(std::uint64_t value);  // 16 digits

}  // namespace onnx_split
