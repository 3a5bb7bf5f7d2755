// Builds a network layer by layer and, at the same time, computes it on a small seeded batch, so that each layer's
// weights can be set from what really arrives at it (docs/architecture.md, "Networks with random weights").
//
// Only the activations that the caller still holds stay in memory. The first error sticks: whatever is added after it
// is ignored, and finish() returns it; so a network reads as its layers, without an error check on each line. For one
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "graph/builder.h"
#include "graph/zoo/zoo.h"

namespace onnx_split::zoo {

// A value of the network, and what it is for the calibration batch (nothing while only the structure is built).
struct Activation {
  ValueId value;
  Tensor batch;
};

// The sliding window of a convolution or a pool; one entry per spatial axis, pads: begins, then ends.
struct Kernel {
  Ints extents;
  Ints strides;
  Ints pads;
  bool ceil_mode = false;  // pools only
};
// The same along both axes of a picture.
Kernel square(std::int64_t extent, std::int64_t stride = 1, std::int64_t pad = 0);

// What calibration makes of each channel that a layer with a bias computes, over batch and space: its deviation, and
// its mean, drawn uniformly from [mean_low, mean_high) for each channel.
struct Target {
  float mean_low = 0.2F;
  float mean_high = 0.8F;
  float deviation = 1.0F;
};

// A batch norm's epsilon, and the intervals from which its scales and biases are drawn.
struct Norm {
  float epsilon = 1e-5F;
  float scale_low = 0.5F;
  float scale_high = 1.5F;
  float bias_low = 0.2F;
  float bias_high = 0.8F;
  // The same at half the size: keeps a residual branch smaller than the sum that it is added to.
  Norm damped() const { return {epsilon, 0.5F * scale_low, 0.5F * scale_high, 0.5F * bias_low, 0.5F * bias_high}; }
};

class CalibratingBuilder {
 public:
  // Without `evaluate` only the structure is built: weights are zeros that occupy no memory. `network` and `evaluate`
  // must outlive the builder.
  CalibratingBuilder(const Network& network, std::uint64_t seed, const Evaluate* evaluate);

  Activation input();

  // Weights and bias are set so that the output meets `target`.
  Activation conv(const std::string& name, const Activation& x, std::int64_t channels, const Kernel& kernel,
                  const Target& target = {});
  // To be followed by a batch norm, which does the rest. Depthwise: groups = channels = x's channels.
  Activation conv_without_bias(const std::string& name, const Activation& x, std::int64_t channels,
                               const Kernel& kernel, std::int64_t groups = 1);
  Activation depthwise(const std::string& name, const Activation& x, const Kernel& kernel);
  // Its statistics are the batch's.
  Activation batch_norm(const std::string& name, const Activation& x, const Norm& norm = {});

  // x is [batch, features]. Outputs are centred one by one, and have deviation 1 over all outputs together: the batch
  // is too small to tell one output's deviation.
  Activation linear(const std::string& name, const Activation& x, std::int64_t features);
  // The last layer: its output is the value "logits", with deviation kLogitsDeviation around each class's mean.
  Activation linear_logits(const std::string& name, const Activation& x, std::int64_t classes);

  Activation relu(const std::string& name, const Activation& x);
  Activation relu6(const std::string& name, const Activation& x);
  Activation max_pool(const std::string& name, const Activation& x, const Kernel& kernel);
  Activation global_average_pool(const std::string& name, const Activation& x);
  Activation flatten(const std::string& name, const Activation& x);
  // For networks without a last linear layer: a flatten whose output is the value "logits".
  Activation flatten_logits(const std::string& name, const Activation& x);
  Activation add(const std::string& name, const Activation& a, const Activation& b);
  Activation concat(const std::string& name, const Activation& a, const Activation& b);  // along the channels

  const Shape& shape(const Activation& x) const { return builder_.value(x.value).shape(); }
  std::int64_t channels(const Activation& x) const { return shape(x)[1]; }

  // The graph, or the first error. The builder is spent.
  Expected<Graph> finish(const Activation& logits) &&;

 private:
  using Constants = std::vector<std::pair<std::string, Tensor>>;  // by name
  using Activations = std::vector<const Activation*>;

  bool calibrating() const { return evaluate_ != nullptr && !error_; }
  std::uint64_t seed_of(const std::string& tensor) const;
  Tensor weights(const std::string& name, const Shape& shape, std::span<const float> channel_scale = {}) const;
  Tensor vector(const std::string& name, std::int64_t elements, float low, float high) const;
  Activation linear_layer(const std::string& name, const Activation& x, std::int64_t features, float deviation,
                          const std::string& output);
  // Adds a node without computing it.
  ValueId add_node(const std::string& name, OpType op, const Attributes& attributes, const Activations& inputs,
                   const Constants& constants, const std::string& output);
  // One node's output for the batch.
  Tensor compute(OpType op, const Attributes& attributes, const Activations& inputs, const Constants& constants);
  // Both.
  Activation apply(const std::string& name, OpType op, const Attributes& attributes, const Activations& inputs,
                   const Constants& constants = {}, const std::string& output = {});
  template <class T>
  T checked(Expected<T> result, T otherwise = {});

  const Network& network_;
  std::uint64_t seed_;
  const Evaluate* evaluate_;
  GraphBuilder builder_;
  std::optional<Error> error_;
};

}  // namespace onnx_split::zoo
