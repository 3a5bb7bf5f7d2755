// What every fuzz target has: libFuzzer's entry points, and its input as text or bytes. A target aborts (CHECK) where a
// promise is broken; what its input is refused with doesn't matter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

// The target: one input, 0 always. Called from one thread.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

// Optional: changes an input in place, up to max_size bytes, and gives its new size. The same seed, the same change.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed);

// libFuzzer's own mutation of bytes.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace onnx_split::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}
inline std::span<const std::byte> bytes_of(const std::uint8_t* data, std::size_t size) {
  return std::as_bytes(std::span(data, size));
}

// Puts what a custom mutator made into libFuzzer's memory, or lets libFuzzer mutate what is there, if it is too long.
inline std::size_t put_or_mutate(std::string_view made, std::uint8_t* data, std::size_t size, std::size_t max_size) {
  if (made.empty() || made.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  made.copy(reinterpret_cast<char*>(data), made.size());
  return made.size();
}

}  // namespace onnx_split::fuzz
