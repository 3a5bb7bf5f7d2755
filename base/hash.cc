#include "base/hash.h"

#include <fmt/core.h>
#include <xxhash.h>
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>  // the same numbers, with the widest registers that this machine has
#endif

namespace onnx_split {
namespace {

// xxHash looks once what the machine can do, without a lock: before there are threads.
[[maybe_unused]] const std::uint64_t kLooked = XXH3_64bits_withSeed("", 0, 0) + XXH3_64bits("", 0);

}  // namespace

std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint64_t hash64(std::string_view text, std::uint64_t seed) {
  return XXH3_64bits_withSeed(text.data(), text.size(), seed);
}

std::string hex64(std::uint64_t value) { return fmt::format("{:016x}", value); }

// xxHash keeps its size to itself.
struct ContentHash::State {
  State() { XXH3_128bits_reset(state); }
  ~State() { XXH3_freeState(state); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  XXH3_state_t* const state = XXH3_createState();
};

ContentHash::ContentHash() : state_(std::make_unique<State>()) {}
ContentHash::ContentHash(ContentHash&&) noexcept = default;
ContentHash& ContentHash::operator=(ContentHash&&) noexcept = default;
ContentHash::~ContentHash() = default;

void ContentHash::update(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->state, bytes.data(), bytes.size());
}

std::string ContentHash::hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->state);
  return hex64(hash.high64) + hex64(hash.low64);
}

}  // namespace onnx_split
