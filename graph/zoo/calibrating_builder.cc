#include "graph/zoo/calibrating_builder.h"

#include <algorithm>
#include <cmath>

#include "graph/zoo/seeded.h"

namespace onnx_split::zoo {
namespace {

// Enough for per-channel statistics, which space contributes to; VGG19 costs 80 GMAC.
constexpr std::int64_t kBatch = 4;
constexpr float kLogitsDeviation = 1.5F;

struct ChannelStatistics {
  std::vector<float> mean;
  std::vector<float> variance;
};

// Of [batch, channels, …], over everything but the channels.
ChannelStatistics channel_statistics(const Tensor& tensor) {
  const Shape& shape = tensor.shape();
  const std::int64_t channels = shape[1];
  const std::int64_t positions = shape.elements(2, shape.rank());
  const auto count = static_cast<double>(shape[0] * positions);
  const std::span<const float> elements = tensor.as<float>();
  ChannelStatistics statistics;
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    double sum = 0.0;
    double squares = 0.0;
    for (std::int64_t image = 0; image < shape[0]; ++image) {
      for (const float element : elements.subspan((image * channels + channel) * positions, positions)) {
        sum += element;
        squares += static_cast<double>(element) * element;
      }
    }
    const double mean = sum / count;
    statistics.mean.push_back(static_cast<float>(mean));
    statistics.variance.push_back(static_cast<float>(std::max(squares / count - mean * mean, 0.0)));
  }
  return statistics;
}

// x[:, c, …]·scale[c] + offset[c]
Tensor affine(const Tensor& x, std::span<const float> scale, std::span<const float> offset) {
  const Shape& shape = x.shape();
  const std::int64_t channels = shape[1];
  const std::int64_t positions = shape.elements(2, shape.rank());
  const std::span<const float> from = x.as<float>();
  TensorBuilder result(x.type());
  const std::span<float> to = result.as<float>();
  for (std::int64_t row = 0; row < shape[0] * channels; ++row) {
    const float factor = scale[row % channels];
    const float addend = offset[row % channels];
    for (std::int64_t i = row * positions; i < (row + 1) * positions; ++i) to[i] = from[i] * factor + addend;
  }
  return std::move(result).build();
}

// A channel that hardly varies in the batch mustn't be blown up: elsewhere it may vary.
float deviation_of(const ChannelStatistics& statistics, std::size_t channel, double mean_variance) {
  constexpr double kSmallest = 1e-2;
  return static_cast<float>(std::sqrt(std::max<double>(statistics.variance[channel], kSmallest * mean_variance)));
}

double average(std::span<const float> values) {
  double sum = 0.0;
  for (const float value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

Tensor vector_of(std::span<const float> values) {
  return Tensor::floats(Shape{static_cast<std::int64_t>(values.size())}, values);
}

Attributes window_attributes(const Kernel& kernel) { return {{"strides", kernel.strides}, {"pads", kernel.pads}}; }

}  // namespace

Kernel square(std::int64_t extent, std::int64_t stride, std::int64_t pad) {
  return {.extents = {extent, extent}, .strides = {stride, stride}, .pads = {pad, pad, pad, pad}};
}

CalibratingBuilder::CalibratingBuilder(const Network& network, std::uint64_t seed, const Evaluate* evaluate)
    : network_(network), seed_(seed), evaluate_(evaluate), builder_(std::string(network.name)) {}

template <class T>
T CalibratingBuilder::checked(Expected<T> result, T otherwise) {
  if (result) return std::move(*result);
  if (!error_) error_ = std::move(result.error());
  return otherwise;
}

std::uint64_t CalibratingBuilder::seed_of(const std::string& tensor) const {
  return tensor_seed(network_.name, tensor, seed_);
}

Tensor CalibratingBuilder::weights(const std::string& name, const Shape& shape,
                                   std::span<const float> channel_scale) const {
  return calibrating() ? uniform_weights(shape, seed_of(name), channel_scale) : untouched_zeros(shape);
}

Tensor CalibratingBuilder::vector(const std::string& name, std::int64_t elements, float low, float high) const {
  return calibrating() ? uniform_vector(elements, seed_of(name), low, high) : untouched_zeros({elements});
}

ValueId CalibratingBuilder::add_node(const std::string& name, OpType op, const Attributes& attributes,
                                     const Activations& inputs, const Constants& constants, const std::string& output) {
  std::vector<ValueId> ids;
  for (const Activation* input : inputs) ids.push_back(input->value);
  for (const auto& [constant_name, data] : constants) {
    ids.push_back(checked(builder_.add_constant(constant_name, data)));
  }
  if (error_) return {};
  auto node = builder_.add_node(name, op, attributes, std::move(ids), {output.empty() ? name : output});
  const NodeId id = checked(std::move(node));
  return id.valid() ? builder_.graph().node(id).outputs.front() : ValueId();
}

Tensor CalibratingBuilder::compute(OpType op, const Attributes& attributes, const Activations& inputs,
                                   const Constants& constants) {
  if (!calibrating()) return {};
  const auto computed = [&]() -> Expected<Tensor> {
    GraphBuilder layer("calibration");
    std::vector<ValueId> ids;
    std::vector<Tensor> batches;
    for (const Activation* input : inputs) {
      TRY_ASSIGN(const ValueId id, layer.add_input(fmt::format("input{}", ids.size()), input->batch.type()));
      ids.push_back(id);
      batches.push_back(input->batch);
    }
    for (const auto& [name, data] : constants) {
      TRY_ASSIGN(const ValueId id, layer.add_constant(name, data));
      ids.push_back(id);
    }
    TRY_ASSIGN(const ValueId output, layer.add("output", op, attributes, std::move(ids)));
    TRY_ASSIGN(const Graph graph, std::move(layer).build({output}));
    TRY_ASSIGN(std::vector<Tensor> outputs, (*evaluate_)(graph, batches));
    CHECK(outputs.size() == 1);
    return std::move(outputs.front());
  };
  return checked(computed());
}

Activation CalibratingBuilder::apply(const std::string& name, OpType op, const Attributes& attributes,
                                     const Activations& inputs, const Constants& constants, const std::string& output) {
  if (error_) return {};
  Tensor batch = compute(op, attributes, inputs, constants);
  return {add_node(name, op, attributes, inputs, constants, output), std::move(batch)};
}

Activation CalibratingBuilder::input() {
  Activation x;
  x.value = checked(builder_.add_input("input", {DataType::kFloat32, network_.input}));
  if (!calibrating()) return x;
  Shape shape = network_.input;
  shape[0] = kBatch;
  x.batch = random_input(shape, seed_of("calibration batch"));
  return x;
}

Activation CalibratingBuilder::conv(const std::string& name, const Activation& x, std::int64_t channels,
                                    const Kernel& kernel, const Target& target) {
  if (error_) return {};
  std::vector<std::int64_t> dims = {channels, this->channels(x)};
  dims.insert(dims.end(), kernel.extents.begin(), kernel.extents.end());
  const Shape shape{dims};
  const Attributes attributes = window_attributes(kernel);
  const std::string weight_name = name + ".weight";
  const std::string bias_name = name + ".bias";

  Tensor weight = weights(weight_name, shape);
  Tensor bias = vector(bias_name, channels, target.mean_low, target.mean_high);
  Tensor batch = compute(OpType::kConv, attributes, {&x}, {{weight_name, weight}});
  if (calibrating()) {
    const ChannelStatistics statistics = channel_statistics(batch);
    const double mean_variance = average(statistics.variance);
    std::vector<float> scale;
    std::vector<float> offset;
    for (std::size_t c = 0; c < statistics.mean.size(); ++c) {
      scale.push_back(target.deviation / deviation_of(statistics, c, mean_variance));
      offset.push_back(bias.as<float>()[c] - statistics.mean[c] * scale.back());
    }
    weight = weights(weight_name, shape, scale);
    bias = vector_of(offset);
    batch = affine(batch, scale, offset);
  }
  const Constants constants = {{weight_name, weight}, {bias_name, bias}};
  return {add_node(name, OpType::kConv, attributes, {&x}, constants, {}), std::move(batch)};
}

Activation CalibratingBuilder::conv_without_bias(const std::string& name, const Activation& x, std::int64_t channels,
                                                 const Kernel& kernel, std::int64_t groups) {
  if (error_) return {};
  std::vector<std::int64_t> dims = {channels, this->channels(x) / groups};
  dims.insert(dims.end(), kernel.extents.begin(), kernel.extents.end());
  Attributes attributes = window_attributes(kernel);
  if (groups > 1) attributes.set("group", groups);
  const std::string weight_name = name + ".weight";
  return apply(name, OpType::kConv, attributes, {&x}, {{weight_name, weights(weight_name, Shape{dims})}});
}

Activation CalibratingBuilder::depthwise(const std::string& name, const Activation& x, const Kernel& kernel) {
  if (error_) return {};
  return conv_without_bias(name, x, channels(x), kernel, channels(x));
}

Activation CalibratingBuilder::batch_norm(const std::string& name, const Activation& x, const Norm& norm) {
  if (error_) return {};
  const std::int64_t count = channels(x);
  Tensor mean = untouched_zeros({count});
  Tensor variance = mean;
  if (calibrating()) {
    const ChannelStatistics statistics = channel_statistics(x.batch);
    mean = vector_of(statistics.mean);
    variance = vector_of(statistics.variance);
  }
  const Constants constants = {
      {name + ".weight", vector(name + ".weight", count, norm.scale_low, norm.scale_high)},
      {name + ".bias", vector(name + ".bias", count, norm.bias_low, norm.bias_high)},
      {name + ".running_mean", mean},
      {name + ".running_var", variance},
  };
  return apply(name, OpType::kBatchNormalization, {{"epsilon", norm.epsilon}}, {&x}, constants);
}

Activation CalibratingBuilder::linear_layer(const std::string& name, const Activation& x, std::int64_t features,
                                            float deviation, const std::string& output) {
  if (error_) return {};
  const Shape shape{features, channels(x)};
  const Attributes attributes{{"transB", std::int64_t{1}}};
  const std::string weight_name = name + ".weight";

  Tensor weight = weights(weight_name, shape);
  Tensor bias = vector(name + ".bias", features, 0.0F, 0.0F);
  Tensor batch = compute(OpType::kGemm, attributes, {&x}, {{weight_name, weight}});
  if (calibrating()) {
    const ChannelStatistics statistics = channel_statistics(batch);
    const double spread = std::sqrt(average(statistics.variance) * kBatch / (kBatch - 1));
    const std::vector<float> scale(statistics.mean.size(), static_cast<float>(deviation / spread));
    std::vector<float> offset;
    for (const float mean : statistics.mean) offset.push_back(-mean * scale.front());
    weight = {};
    weight = weights(weight_name, shape, scale);
    bias = vector_of(offset);
    batch = affine(batch, scale, offset);
  }
  const Constants constants = {{weight_name, weight}, {name + ".bias", bias}};
  return {add_node(name, OpType::kGemm, attributes, {&x}, constants, output), std::move(batch)};
}

Activation CalibratingBuilder::linear(const std::string& name, const Activation& x, std::int64_t features) {
  return linear_layer(name, x, features, 1.0F, {});
}

Activation CalibratingBuilder::linear_logits(const std::string& name, const Activation& x, std::int64_t classes) {
  return linear_layer(name, x, classes, kLogitsDeviation, "logits");
}

Activation CalibratingBuilder::relu(const std::string& name, const Activation& x) {
  return apply(name, OpType::kRelu, {}, {&x});
}

Activation CalibratingBuilder::relu6(const std::string& name, const Activation& x) {
  return apply(name, OpType::kClip, {{"min", 0.0F}, {"max", 6.0F}}, {&x});
}

Activation CalibratingBuilder::max_pool(const std::string& name, const Activation& x, const Kernel& kernel) {
  Attributes attributes = window_attributes(kernel);
  attributes.set("kernel_shape", kernel.extents);
  if (kernel.ceil_mode) attributes.set("ceil_mode", std::int64_t{1});
  return apply(name, OpType::kMaxPool, attributes, {&x});
}

Activation CalibratingBuilder::global_average_pool(const std::string& name, const Activation& x) {
  return apply(name, OpType::kGlobalAveragePool, {}, {&x});
}

Activation CalibratingBuilder::flatten(const std::string& name, const Activation& x) {
  return apply(name, OpType::kFlatten, {{"axis", std::int64_t{1}}}, {&x});
}

Activation CalibratingBuilder::flatten_logits(const std::string& name, const Activation& x) {
  return apply(name, OpType::kFlatten, {{"axis", std::int64_t{1}}}, {&x}, {}, "logits");
}

Activation CalibratingBuilder::add(const std::string& name, const Activation& a, const Activation& b) {
  return apply(name, OpType::kAdd, {}, {&a, &b});
}

Activation CalibratingBuilder::concat(const std::string& name, const Activation& a, const Activation& b) {
  return apply(name, OpType::kConcat, {{"axis", std::int64_t{1}}}, {&a, &b});
}

Expected<Graph> CalibratingBuilder::finish(const Activation& logits) && {
  if (error_) return fail_in(network_.name, std::move(*error_));
  return std::move(builder_).build({logits.value});
}

}  // namespace onnx_split::zoo
