// Depthwise convolution, 1-D and 2-D: every output channel sees one input channel.
//
// The input plane is copied once into scratch memory, with its padding, taken apart by the stride: plane (py, px) holds
// the elements whose coordinates are py, px modulo the strides. Then, for any stride and dilation, each kernel element
// meets the whole output as one shifted run over such a plane, and the convolution is one long loop without edges.
#include <algorithm>

#include "engine/kernels/activation.h"
#include "engine/kernels/factories.h"
#include "engine/kernels/simd.h"
#include "graph/ops/conv.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kLanes = 16;

// y[i] = Σ_t weights[t] · plane[offsets[t] + i] for i in [0, count), a multiple of kLanes; y and plane don't overlap.
ONNX_SPLIT_CLONES void correlate(const float* plane, const std::int64_t* offsets, const float* weights,
                                 std::int64_t taps, float* y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    Float16 sum = *reinterpret_cast<const Float16*>(plane + offsets[0] + i) * weights[0];
    for (std::int64_t t = 1; t < taps; ++t) {
      sum += *reinterpret_cast<const Float16*>(plane + offsets[t] + i) * weights[t];
    }
    *reinterpret_cast<Float16*>(y + i) = sum;
  }
}

// The same for a fixed number of taps, whose weights and runs stay in registers: the compiler can't know that writing y
// doesn't change them.
template <std::int64_t kTaps>
ONNX_SPLIT_INLINE void correlate_fixed(const float* plane, const std::int64_t* offsets, const float* weights, float* y,
                                       std::int64_t count) {
  float w[kTaps];
  const float* runs[kTaps];
  for (std::int64_t t = 0; t < kTaps; ++t) {
    w[t] = weights[t];
    runs[t] = plane + offsets[t];
  }
  for (std::int64_t i = 0; i < count; i += kLanes) {
    Float16 sum = *reinterpret_cast<const Float16*>(runs[0] + i) * w[0];
    for (std::int64_t t = 1; t < kTaps; ++t) sum += *reinterpret_cast<const Float16*>(runs[t] + i) * w[t];
    *reinterpret_cast<Float16*>(y + i) = sum;
  }
}
ONNX_SPLIT_CLONES void correlate_3x3(const float* plane, const std::int64_t* offsets, const float* weights, float* y,
                                     std::int64_t count) {
  correlate_fixed<9>(plane, offsets, weights, y, count);
}
ONNX_SPLIT_CLONES void correlate_5x5(const float* plane, const std::int64_t* offsets, const float* weights, float* y,
                                     std::int64_t count) {
  correlate_fixed<25>(plane, offsets, weights, y, count);
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
    return static_cast<std::size_t>(plane_elements() + rounded_sums()) * sizeof(float);
  }

  Expected<void> run(const RunContext& context) override {
    const std::int64_t tasks = (planes_ + planes_per_task_ - 1) / planes_per_task_;
    context.pool.parallel_for(static_cast<std::size_t>(tasks), [&](std::size_t task, unsigned worker) {
      const std::int64_t begin = static_cast<std::int64_t>(task) * planes_per_task_;
      const std::int64_t end = std::min(planes_, begin + planes_per_task_);
      float* scratch = context.scratch(worker);
      std::fill_n(scratch, plane_elements(), 0.0F);
      for (std::int64_t plane = begin; plane < end; ++plane) compute(context, plane, scratch);
    });
    return {};
  }

 private:
  // The sums are computed in whole groups of lanes: the last group may read and write a little too far, but into
  // scratch.
  std::int64_t plane_elements() const { return y_.stride * x_.stride * height_ * pitch_ + kLanes; }
  std::int64_t rounded_sums() const {
    const std::int64_t count = (y_.output - 1) * pitch_ + x_.output;
    return (count + kLanes - 1) / kLanes * kLanes;
  }

  void compute(const RunContext& context, std::int64_t plane, float* scratch) const {
    const std::int64_t channel = plane % channels_;
    const std::int64_t taps = y_.kernel * x_.kernel;
    const std::int64_t positions = y_.output * x_.output;
    // Output channel m reads input channel m / multiplier, and so do the planes of all samples together.
    take_apart(context.input(0) + plane / multiplier_ * (y_.input * x_.input), scratch);
    float* sums = scratch + plane_elements();
    const float* weights = context.input(1) + channel * taps;
    if (taps == 9) {
      correlate_3x3(scratch, offsets_.data(), weights, sums, rounded_sums());
    } else if (taps == 25) {
      correlate_5x5(scratch, offsets_.data(), weights, sums, rounded_sums());
    } else {
      correlate(scratch, offsets_.data(), weights, taps, sums, rounded_sums());
    }

    float* y = context.output() + plane * positions;
    for (std::int64_t row = 0; row < y_.output; ++row) {
      copy_run(y + row * x_.output, sums + row * pitch_, x_.output);
    }
    const float* bias = has_bias_ ? context.input(2) + channel : nullptr;
    const float* addend = epilogue_.add ? context.input(context.inputs.size() - 1) + plane * positions : nullptr;
    finish_row(y, static_cast<std::size_t>(positions), bias, addend, epilogue_.activation);
  }

  // Writes the elements that the input has; those of the padding are 0 already.
  void take_apart(const float* x, float* target) const {
    for (std::int64_t phase_y = 0; phase_y < y_.stride; ++phase_y) {
      for (std::int64_t phase_x = 0; phase_x < x_.stride; ++phase_x) {
        for (std::int64_t row = 0; row < height_; ++row, target += pitch_) {
          const std::int64_t input_y = row * y_.stride + phase_y - y_.pad_begin;
          if (input_y >= 0 && input_y < y_.input) take_row(x + input_y * x_.input, phase_x - x_.pad_begin, target);
        }
      }
    }
  }

  // target[i] = row[i·stride + shift] where that lies in the row.
  void take_row(const float* row, std::int64_t shift, float* target) const {
    const std::int64_t stride = x_.stride;
    const std::int64_t begin = std::min(pitch_, shift >= 0 ? 0 : (-shift + stride - 1) / stride);
    const std::int64_t reach = x_.input > shift ? (x_.input - shift + stride - 1) / stride : 0;
    const std::int64_t end = std::clamp(reach, begin, pitch_);
    if (stride == 1) {
      copy_run(target + begin, row + begin + shift, end - begin);
    } else if (stride == 2) {
      for (std::int64_t i = begin; i < end; ++i) target[i] = row[2 * i + shift];
    } else {
      for (std::int64_t i = begin; i < end; ++i) target[i] = row[i * stride + shift];
    }
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
