#include "engine/kernels/reorder.h"

#include <algorithm>

#include "engine/kernels/simd.h"
#include "engine/kernels/strided_rows.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kBlock = kChannelBlock;

// Sixteen rows of `positions` floats, `plane` apart, and [positions][16]. The compiler turns the inner loops into
// shuffles. Channels that aren't there are 0.
ONNX_SPLIT_CLONES void block_planes(const float* planes, std::int64_t plane, std::int64_t channels, float* blocked,
                                    std::int64_t positions) {
  for (std::int64_t p = 0; p < positions; ++p) {
    for (std::int64_t c = 0; c < channels; ++c) blocked[p * kBlock + c] = planes[c * plane + p];
    for (std::int64_t c = channels; c < kBlock; ++c) blocked[p * kBlock + c] = 0.0F;
  }
}
ONNX_SPLIT_CLONES void unblock_planes(const float* blocked, float* planes, std::int64_t plane, std::int64_t channels,
                                      std::int64_t positions) {
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t p = 0; p < positions; ++p) planes[c * plane + p] = blocked[p * kBlock + c];
  }
}

class ReorderKernel final : public Kernel {
 public:
  ReorderKernel(const TensorType& type, Layout to)
      : to_(to),
        channels_(type.shape[1]),
        blocks_(channel_blocks(channels_)),
        positions_(type.shape.elements(2, type.shape.rank())),
        tasks_(type.shape[0] * blocks_, positions_) {}

  Expected<void> run(const RunContext& context) override {
    context.pool.parallel_for(tasks_.count(), [&](std::size_t task, unsigned) {
      tasks_.each(task, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
        const std::int64_t first = row % blocks_ * kBlock;
        const std::int64_t channels = std::min(kBlock, channels_ - first);
        const std::int64_t plain = (row / blocks_ * channels_ + first) * positions_ + begin;
        const std::int64_t blocked = (row * positions_ + begin) * kBlock;
        if (to_ == Layout::kBlocked) {
          block_planes(context.input(0) + plain, positions_, channels, context.output() + blocked, end - begin);
        } else {
          unblock_planes(context.input(0) + blocked, context.output() + plain, positions_, channels, end - begin);
        }
      });
    });
    return {};
  }

 private:
  Layout to_;
  std::int64_t channels_;
  std::int64_t blocks_;
  std::int64_t positions_;
  RowTasks tasks_;
};

}  // namespace

std::unique_ptr<Kernel> make_reorder(const TensorType& type, Layout to) {
  return std::make_unique<ReorderKernel>(type, to);
}

}  // namespace onnx_split
