// Seeded pseudo-random numbers that are the same on every machine and compiler (the standard library's distributions
// are not). splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace onnx_split {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

  // Uniform in [0, 1), 24 bits of it: exact in a float.
  float uniform() { return static_cast<float>(next() >> 40) * 0x1p-24F; }
  float uniform(float low, float high) { return low + (high - low) * uniform(); }

  // Uniform integer in [low, high], both included.
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    // Unsigned, because the whole range of integers is wider than an integer.
    const auto first = static_cast<std::uint64_t>(low);
    const std::uint64_t range = static_cast<std::uint64_t>(high) - first + 1;
    return static_cast<std::int64_t>(first + (range == 0 ? next() : next() % range));
  }

  // Normal with mean 0 and deviation 1 (Box and Muller).
  float normal() {
    const float radius = std::sqrt(-2.0F * std::log(1.0F - uniform()));
    return radius * std::cos(2.0F * std::numbers::pi_v<float> * uniform());
  }

 private:
  std::uint64_t state_;
};

}  // namespace onnx_split
