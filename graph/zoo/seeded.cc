#include "graph/zoo/seeded.h"

#include <cmath>

#include "base/random.h"
#include "graph/zoo/zoo.h"

namespace onnx_split::zoo {

std::uint64_t tensor_seed(std::string_view network, std::string_view tensor, std::uint64_t seed) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a, of "network/tensor"
  const auto mix = [&hash](char character) {
    hash = (hash ^ static_cast<unsigned char>(character)) * 0x100000001b3ULL;
  };
  for (const char character : network) mix(character);
  mix('/');
  for (const char character : tensor) mix(character);
  return Random(hash ^ Random(seed).next()).next();
}

Tensor uniform_weights(const Shape& shape, std::uint64_t seed, std::span<const float> channel_scale) {
  const std::int64_t fan_in = shape.elements(1, shape.rank());
  const float bound = std::sqrt(3.0F / static_cast<float>(fan_in));  // uniform in [-b, b) has variance b²/3
  Random random(seed);
  TensorBuilder weights({DataType::kFloat32, shape});
  const std::span<float> elements = weights.as<float>();
  for (std::int64_t channel = 0; channel < shape[0]; ++channel) {
    const float high = channel_scale.empty() ? bound : bound * channel_scale[channel];
    for (float& element : elements.subspan(channel * fan_in, fan_in)) element = random.uniform(-high, high);
  }
  return std::move(weights).build();
}

Tensor uniform_vector(std::int64_t elements, std::uint64_t seed, float low, float high) {
  Random random(seed);
  TensorBuilder vector({DataType::kFloat32, Shape{elements}});
  for (float& element : vector.as<float>()) element = random.uniform(low, high);
  return std::move(vector).build();
}

Tensor untouched_zeros(const Shape& shape) {
  const TensorType type{DataType::kFloat32, shape};
  return Tensor(type, onnx_split::untouched_zeros(type.size_bytes()));
}

Tensor random_input(const Shape& shape, std::uint64_t seed) {
  Random random(seed);
  TensorBuilder input({DataType::kFloat32, shape});
  for (float& element : input.as<float>()) element = random.normal();
  return std::move(input).build();
}

}  // namespace onnx_split::zoo
