// Operators that only move elements, of any type: Concat, Split, Slice, Transpose, Expand, Gather; and Pad of floats.
#include <algorithm>
#include <cstring>

#include "engine/kernels/factories.h"
#include "engine/kernels/strided_rows.h"
#include "graph/ops/concat.h"
#include "graph/ops/gather.h"
#include "graph/ops/pad.h"
#include "graph/ops/slice.h"
#include "graph/ops/transpose.h"

namespace onnx_split {
namespace {

const std::byte* bytes_of(const TensorView& view) { return static_cast<const std::byte*>(view.data()); }
std::byte* bytes_of(const MutableTensorView& view) { return static_cast<std::byte*>(view.data()); }

// Concat copies the pieces into the whole, but for those that lie there; Split the other way.
class PiecesKernel final : public Kernel {
 public:
  PiecesKernel(const PiecesGeometry& geometry, std::size_t element, bool concat) : concat_(concat) {
    const std::int64_t unit = geometry.inner * static_cast<std::int64_t>(element);
    whole_bytes_ = geometry.extent * unit;
    for (const std::int64_t extent : geometry.extents) {
      piece_bytes_.push_back(extent * unit);
      tasks_.emplace_back(geometry.outer, std::max<std::int64_t>(1, extent * unit));
    }
  }

  Expected<void> run(const RunContext& context) override {
    std::int64_t start = 0;
    for (std::size_t i = 0; i < piece_bytes_.size(); ++i) {
      copy_piece(context, i, start);
      start += piece_bytes_[i];
    }
    return {};
  }

 private:
  void copy_piece(const RunContext& context, std::size_t i, std::int64_t start) const {
    const std::int64_t run = piece_bytes_[i];
    if (concat_ && context.inputs[i].data() == bytes_of(context.outputs[0]) + start) return;
    context.pool.parallel_for(tasks_[i].count(), [&](std::size_t task, unsigned) {
      tasks_[i].each(task, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
        const std::int64_t whole = row * whole_bytes_ + start + begin;
        const std::int64_t piece = row * run + begin;
        const auto count = static_cast<std::size_t>(end - begin);
        if (concat_) {
          std::memcpy(bytes_of(context.outputs[0]) + whole, bytes_of(context.inputs[i]) + piece, count);
        } else {
          std::memcpy(bytes_of(context.outputs[i]) + piece, bytes_of(context.inputs[0]) + whole, count);
        }
      });
    });
  }

  bool concat_;
  std::int64_t whole_bytes_;
  std::vector<std::int64_t> piece_bytes_;
  std::vector<RowTasks> tasks_;
};

// y = a view of x with any strides. T has the elements' size.
template <class T>
class StridedCopyKernel final : public Kernel {
 public:
  StridedCopyKernel(const StridedRows& rows, std::int64_t base)
      : rows_(rows), base_(base), tasks_(rows.rows(), rows.row_elements()) {}

  Expected<void> run(const RunContext& context) override {
    const T* x = static_cast<const T*>(context.inputs[0].data()) + base_;
    T* y = static_cast<T*>(context.outputs[0].data());
    const std::int64_t step = rows_.strides[0].back();
    context.pool.parallel_for(tasks_.count(), [&](std::size_t task, unsigned) {
      tasks_.each(task, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
        const T* from = x + rows_.offset(0, row) + begin * step;
        T* to = y + row * rows_.row_elements() + begin;
        const std::int64_t count = end - begin;
        if (step == 1) {
          std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
        } else if (step == 0) {
          std::fill_n(to, count, *from);
        } else {
          for (std::int64_t i = 0; i < count; ++i) to[i] = from[i * step];
        }
      });
    });
    return {};
  }

 private:
  StridedRows rows_;
  std::int64_t base_;
  RowTasks tasks_;
};

class GatherKernel final : public Kernel {
 public:
  GatherKernel(const GatherGeometry& geometry, std::size_t element)
      : g_(geometry),
        run_bytes_(geometry.inner * static_cast<std::int64_t>(element)),
        tasks_(geometry.outer * geometry.count, run_bytes_) {}

  Expected<void> run(const RunContext& context) override {
    const std::span<const std::int64_t> indices = context.inputs[1].as<std::int64_t>();
    for (const std::int64_t index : indices) TRY(gather_index(index, g_.extent));
    context.pool.parallel_for(tasks_.count(), [&](std::size_t task, unsigned) {
      tasks_.each(task, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
        const std::int64_t index = indices[static_cast<std::size_t>(row % g_.count)];
        const std::int64_t source = row / g_.count * g_.extent + (index < 0 ? index + g_.extent : index);
        std::memcpy(bytes_of(context.outputs[0]) + row * run_bytes_ + begin,
                    bytes_of(context.inputs[0]) + source * run_bytes_ + begin, static_cast<std::size_t>(end - begin));
      });
    });
    return {};
  }

 private:
  GatherGeometry g_;
  std::int64_t run_bytes_;
  RowTasks tasks_;
};

class PadKernel final : public Kernel {
 public:
  explicit PadKernel(const PadGeometry& geometry) : value_(geometry.value), tasks_(1, 1) {
    std::int64_t rows = 1;
    std::int64_t stride = 1;
    sources_.resize(geometry.axes.size());
    strides_.resize(geometry.axes.size());
    for (std::size_t axis = geometry.axes.size(); axis-- > 0;) {
      for (std::int64_t p = 0; p < geometry.axes[axis].output(); ++p)
        sources_[axis].push_back(geometry.source(axis, p));
      strides_[axis] = stride;
      stride *= geometry.axes[axis].input;
      if (axis + 1 < geometry.axes.size()) rows *= geometry.axes[axis].output();
    }
    const PadAxis& last = geometry.axes.back();
    width_ = last.output();
    copied_begin_ = std::clamp<std::int64_t>(last.begin, 0, width_);
    copied_end_ = std::clamp<std::int64_t>(last.begin + last.input, copied_begin_, width_);
    tasks_ = RowTasks(rows, width_);
  }

  Expected<void> run(const RunContext& context) override {
    context.pool.parallel_for(tasks_.count(), [&](std::size_t task, unsigned) {
      tasks_.each(task, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
        float* y = context.output() + row * width_;
        const std::int64_t offset = source_row(row);
        if (offset < 0) {
          std::fill(y + begin, y + end, value_);
        } else {
          fill_row(context.input(0) + offset, y, begin, end);
        }
      });
    });
    return {};
  }

 private:
  // Where the input row that output row `row` shows begins; -1 if it is padding.
  std::int64_t source_row(std::int64_t row) const {
    std::int64_t offset = 0;
    for (std::size_t axis = sources_.size() - 1; axis-- > 0;) {
      const auto extent = static_cast<std::int64_t>(sources_[axis].size());
      const std::int64_t source = sources_[axis][static_cast<std::size_t>(row % extent)];
      if (source < 0) return -1;
      offset += source * strides_[axis];
      row /= extent;
    }
    return offset;
  }

  void fill_row(const float* x, float* y, std::int64_t begin, std::int64_t end) const {
    const std::vector<std::int64_t>& sources = sources_.back();
    const std::int64_t first = std::clamp(copied_begin_, begin, end);
    const std::int64_t last = std::clamp(copied_end_, first, end);
    const auto edge = [&](std::int64_t p) {
      const std::int64_t source = sources[static_cast<std::size_t>(p)];
      y[p] = source < 0 ? value_ : x[source];
    };
    for (std::int64_t p = begin; p < first; ++p) edge(p);
    if (last > first) {
      std::memcpy(y + first, x + sources[static_cast<std::size_t>(first)],
                  static_cast<std::size_t>(last - first) * sizeof(float));
    }
    for (std::int64_t p = last; p < end; ++p) edge(p);
  }

  float value_;
  std::vector<std::vector<std::int64_t>> sources_;  // by axis, by output position
  std::vector<std::int64_t> strides_;               // of the input
  std::int64_t width_;                              // of an output row
  std::int64_t copied_begin_;                       // the part of a row that is the input's
  std::int64_t copied_end_;
  RowTasks tasks_;
};

// The strides with which the input is walked in the output's coordinates, and where it begins.
struct InputWalk {
  std::vector<std::int64_t> strides;
  std::int64_t base = 0;
};

InputWalk walk_of(const std::vector<SliceAxis>& axes, const Shape& input) {
  InputWalk walk{input.strides(), 0};
  for (std::size_t axis = 0; axis < walk.strides.size(); ++axis) {
    walk.base += axes[axis].begin * walk.strides[axis];
    walk.strides[axis] *= axes[axis].step;
  }
  return walk;
}

// As which a value in the blocked layout is a plain one.
Shape blocked_shape(const Shape& shape) {
  std::vector<std::int64_t> dims(shape.begin(), shape.end());
  dims[1] = channel_blocks(dims[1]);
  dims.push_back(kChannelBlock);
  return Shape(std::move(dims));
}

std::unique_ptr<Kernel> strided_copy(const KernelSpec& spec, const InputWalk& walk, const Shape& output) {
  const StridedRows rows({walk.strides}, output);
  switch (element_bytes(spec.inputs.front().type)) {
    case 1: return std::make_unique<StridedCopyKernel<std::uint8_t>>(rows, walk.base);
    case 4: return std::make_unique<StridedCopyKernel<std::uint32_t>>(rows, walk.base);
    default: return std::make_unique<StridedCopyKernel<std::uint64_t>>(rows, walk.base);
  }
}

}  // namespace

std::vector<Layout> blocked_concat_inputs(const KernelSpec& spec) {
  const auto geometry = concat_geometry(spec.call());
  CHECK(geometry.has_value());
  const auto ends_a_block = [](std::int64_t channels) { return channels % kChannelBlock == 0; };
  const bool possible = geometry->axis == 1 && can_be_blocked(spec.outputs.front()) &&
                        std::all_of(geometry->extents.begin(), geometry->extents.end() - 1, ends_a_block);
  return possible ? std::vector<Layout>(spec.inputs.size(), Layout::kBlocked) : std::vector<Layout>{};
}

std::unique_ptr<Kernel> make_concat(const KernelSpec& spec) {
  auto geometry = concat_geometry(spec.call());
  CHECK(geometry.has_value());
  if (spec.blocked) {  // whole blocks of channels
    geometry->inner *= kChannelBlock;
    geometry->extent = channel_blocks(geometry->extent);
    for (std::int64_t& extent : geometry->extents) extent = channel_blocks(extent);
  }
  return std::make_unique<PiecesKernel>(*geometry, element_bytes(spec.inputs.front().type), true);
}

std::unique_ptr<Kernel> make_split(const KernelSpec& spec) {
  const auto geometry = split_geometry(spec.call());
  CHECK(geometry.has_value());
  return std::make_unique<PiecesKernel>(*geometry, element_bytes(spec.inputs.front().type), false);
}

std::unique_ptr<Kernel> make_strided_copy(const KernelSpec& spec) {
  const Shape& input = spec.inputs.front().shape;
  const Shape& output = spec.outputs.front().shape;
  if (spec.op == OpType::kExpand) return strided_copy(spec, {broadcast_strides(input, output), 0}, output);
  if (spec.op == OpType::kTranspose) {
    const auto geometry = transpose_geometry(spec.call());
    CHECK(geometry.has_value());
    return strided_copy(spec, {geometry->input_strides, 0}, output);
  }
  const auto geometry = slice_geometry(spec.call());
  CHECK(geometry.has_value());
  if (!spec.blocked) return strided_copy(spec, walk_of(geometry->axes, input), output);
  std::vector<SliceAxis> axes = geometry->axes;
  axes[1].begin /= kChannelBlock;
  axes.push_back({});
  return strided_copy(spec, walk_of(axes, blocked_shape(input)), blocked_shape(output));
}

std::vector<Layout> blocked_slice_inputs(const KernelSpec& spec) {
  if (!can_be_blocked(spec.inputs.front()) || !can_be_blocked(spec.outputs.front())) return {};
  const auto geometry = slice_geometry(spec.call());
  CHECK(geometry.has_value());
  const SliceAxis& channels = geometry->axes[1];
  // What is left of its last block may end anywhere.
  const bool possible = channels.begin % kChannelBlock == 0 && channels.step == 1;
  return possible ? std::vector<Layout>{Layout::kBlocked} : std::vector<Layout>{};
}

std::unique_ptr<Kernel> make_gather(const KernelSpec& spec) {
  const auto geometry = gather_geometry(spec.call());
  CHECK(geometry.has_value());
  return std::make_unique<GatherKernel>(*geometry, element_bytes(spec.inputs.front().type));
}

std::unique_ptr<Kernel> make_pad(const KernelSpec& spec) {
  const auto geometry = pad_geometry(spec.call());
  CHECK(geometry.has_value());
  if (geometry->axes.empty()) return nullptr;
  for (const PadAxis& axis : geometry->axes) {
    if (axis.output() > kMaxTableElements) return nullptr;
  }
  return std::make_unique<PadKernel>(*geometry);
}

}  // namespace onnx_split
