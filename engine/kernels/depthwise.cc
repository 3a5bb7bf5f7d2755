// Depthwise convolution, 1-D and 2-D: every output channel sees one input channel.
//
// The input plane is copied once into scratch memory, with its padding, taken apart by the stride: plane (py, px) holds
// the elements whose coordinates are py, px modulo the strides. Then, for any stride and dilation, each kernel element
// meets the whole output as one shifted run over such a plane, and the convolution is one long loop without edges.
#include <algorithm>
#include <cstring>

#include "engine/kernels/activation.h"
#include "engine/kernels/factories.h"
#include "engine/kernels/simd.h"
#include "graph/ops/conv.h"

namespace onnx_split {
namespace {

// A kernel element: its weight and where its run begins in the scratch plane.
template <std::int64_t kTaps>
ONNX_SPLIT_INLINE void fixed_taps(const float* __restrict plane, const std::int64_t* __restrict offsets,
                                  const float* __restrict weights, float* __restrict y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    float sum = weights[0] * plane[offsets[0] + i];
    for (std::int64_t t = 1; t < kTaps; ++t) sum += weights[t] * plane[offsets[t] + i];
    y[i] = sum;
  }
}

// y[i] = Σ_t weights[t] · plane[offsets[t] + i]; y and plane don't overlap.
ONNX_SPLIT_CLONES void correlate(const float* __restrict plane, const std::int64_t* __restrict offsets,
                                 const float* __restrict weights, std::int64_t taps, float* __restrict y,
                                 std::int64_t count) {
  if (taps == 9) return fixed_taps<9>(plane, offsets, weights, y, count);
  if (taps == 25) return fixed_taps<25>(plane, offsets, weights, y, count);
  for (std::int64_t i = 0; i < count; ++i) y[i] = weights[0] * plane[offsets[0] + i];
  for (std::int64_t t = 1; t < taps; ++t) {
    const float weight = weights[t];
    const float* run = plane + offsets[t];
    for (std::int64_t i = 0; i < count; ++i) y[i] += weight * run[i];
  }
}

class DepthwiseKernel final : public Kernel {
 public:
  DepthwiseKernel(const KernelSpec& spec, const ConvGeometry& geometry)
      : epilogue_(spec.epilogue), channels_(geometry.output_channels), planes_(geometry.batch * channels_) {
    has_bias_ = geometry.has_bias;
    multiplier_ = geometry.output_channels / geometry.input_channels;
    const std::vector<WindowAxis>& axes = geometry.window.axes;
    x_ = axes.back();
    y_ = axes.size() == 2 ? axes.front() : WindowAxis{.input = 1, .output = 1};
    pitch_ = x_.output + (x_.kernel - 1) * x_.dilation / x_.stride;
    height_ = y_.output + (y_.kernel - 1) * y_.dilation / y_.stride;
    for (std::int64_t ky = 0; ky < y_.kernel; ++ky) {
      for (std::int64_t kx = 0; kx < x_.kernel; ++kx) {
        const std::int64_t dy = ky * y_.dilation;
        const std::int64_t dx = kx * x_.dilation;
        const std::int64_t phase = dy % y_.stride * x_.stride + dx % x_.stride;
        offsets_.push_back((phase * height_ + dy / y_.stride) * pitch_ + dx / x_.stride);
      }
    }
    planes_per_task_ = std::max<std::int64_t>(1, 8192 / (y_.output * x_.output));
  }

  std::size_t workspace_bytes() const override {
    return static_cast<std::size_t>(plane_elements() + y_.output * pitch_) * sizeof(float);
  }

  Expected<void> run(const RunContext& context) override {
    const std::int64_t tasks = (planes_ + planes_per_task_ - 1) / planes_per_task_;
    context.pool.parallel_for(static_cast<std::size_t>(tasks), [&](std::size_t task, unsigned worker) {
      const std::int64_t begin = static_cast<std::int64_t>(task) * planes_per_task_;
      const std::int64_t end = std::min(planes_, begin + planes_per_task_);
      for (std::int64_t plane = begin; plane < end; ++plane) compute(context, plane, context.scratch(worker));
    });
    return {};
  }

 private:
  std::int64_t plane_elements() const { return y_.stride * x_.stride * height_ * pitch_; }

  void compute(const RunContext& context, std::int64_t plane, float* scratch) const {
    const std::int64_t channel = plane % channels_;
    const std::int64_t taps = y_.kernel * x_.kernel;
    const std::int64_t positions = y_.output * x_.output;
    // Output channel m reads input channel m / multiplier, and so do the planes of all samples together.
    take_apart(context.input(0) + plane / multiplier_ * (y_.input * x_.input), scratch);
    float* sums = scratch + plane_elements();
    const std::int64_t count = (y_.output - 1) * pitch_ + x_.output;
    correlate(scratch, offsets_.data(), context.input(1) + channel * taps, taps, sums, count);

    float* y = context.output() + plane * positions;
    for (std::int64_t row = 0; row < y_.output; ++row) {
      std::memcpy(y + row * x_.output, sums + row * pitch_, static_cast<std::size_t>(x_.output) * sizeof(float));
    }
    const float* bias = has_bias_ ? context.input(2) + channel : nullptr;
    const float* addend = epilogue_.add ? context.input(context.inputs.size() - 1) + plane * positions : nullptr;
    finish_row(y, static_cast<std::size_t>(positions), bias, addend, epilogue_.activation);
  }

  void take_apart(const float* x, float* target) const {
    for (std::int64_t phase_y = 0; phase_y < y_.stride; ++phase_y) {
      for (std::int64_t phase_x = 0; phase_x < x_.stride; ++phase_x) {
        for (std::int64_t row = 0; row < height_; ++row, target += pitch_) {
          const std::int64_t input_y = row * y_.stride + phase_y - y_.pad_begin;
          if (input_y < 0 || input_y >= y_.input) {
            std::fill_n(target, pitch_, 0.0F);
          } else {
            take_row(x + input_y * x_.input, phase_x - x_.pad_begin, target);
          }
        }
      }
    }
  }

  // target[i] = row[i·stride + shift], 0 outside the row.
  void take_row(const float* row, std::int64_t shift, float* target) const {
    const std::int64_t stride = x_.stride;
    const std::int64_t begin = std::min(pitch_, shift >= 0 ? 0 : (-shift + stride - 1) / stride);
    const std::int64_t reach = x_.input > shift ? (x_.input - shift + stride - 1) / stride : 0;
    const std::int64_t end = std::clamp(reach, begin, pitch_);
    std::fill(target, target + begin, 0.0F);
    if (stride == 1) {
      std::copy(row + begin + shift, row + end + shift, target + begin);
    } else if (stride == 2) {
      for (std::int64_t i = begin; i < end; ++i) target[i] = row[2 * i + shift];
    } else {
      for (std::int64_t i = begin; i < end; ++i) target[i] = row[i * stride + shift];
    }
    std::fill(target + end, target + pitch_, 0.0F);
  }

  Epilogue epilogue_;
  std::int64_t channels_;
  std::int64_t planes_;  // output planes, all samples together
  bool has_bias_;
  std::int64_t multiplier_;
  WindowAxis x_;
  WindowAxis y_;
  std::int64_t pitch_;   // elements of a row of a scratch plane; also of the sums
  std::int64_t height_;  // rows of a scratch plane
  std::vector<std::int64_t> offsets_;
  std::int64_t planes_per_task_;
};

}  // namespace

std::unique_ptr<Kernel> make_depthwise(const KernelSpec& spec) {
  const auto geometry = conv_geometry(spec.call());
  CHECK(geometry.has_value());
  return std::make_unique<DepthwiseKernel>(spec, *geometry);
}

}  // namespace onnx_split
