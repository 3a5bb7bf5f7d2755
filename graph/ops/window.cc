#include "graph/ops/window.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "graph/ops/checks.h"

namespace onnx_split {
namespace {

// Small enough that kernel·dilation can't overflow.
constexpr std::int64_t kMaxParameter = std::numeric_limits<std::int32_t>::max();

// Kernel elements times positions. A network of ours has millions; a hostile one could keep a device busy for years
// with a kernel that lies in its padding.
constexpr std::int64_t kMaxTaps = std::int64_t{1} << 32;

Expected<Ints> read_ints(const Attributes& attributes, std::string_view name, std::size_t count,
                         std::int64_t smallest) {
  TRY_ASSIGN(Ints values, attributes.get_ints(name, Ints(count, smallest)));
  bool good = values.size() == count;
  for (const std::int64_t value : values) good = good && value >= smallest && value <= kMaxParameter;
  if (good) return values;
  return fail(ErrorCode::kInvalid, "{} expects {} integers of at least {}, found [{}]", name, count, smallest,
              fmt::join(values, ","));
}

// `padded` is the extent with its padding, `reach` the extent of the dilated kernel.
std::int64_t position_count(const WindowAxis& axis, std::int64_t padded, std::int64_t reach, bool ceil_mode) {
  const std::int64_t free = padded - reach;
  if (!ceil_mode) return free / axis.stride + 1;
  const std::int64_t count = (free + axis.stride - 1) / axis.stride + 1;
  const bool last_in_right_padding = (count - 1) * axis.stride >= axis.input + axis.pad_begin;
  return last_in_right_padding ? count - 1 : count;
}

// The positions that one share gives: those wanted, and some beside them where none of those meets the input.
Range possible_positions(const WindowAxis& axis, Range wanted, bool counts_pads) {
  const std::int64_t reach = (axis.kernel - 1) * axis.dilation + 1;
  if (axis.pad_begin >= reach) {
    wanted.end = std::max(wanted.end, std::min(axis.output, (axis.pad_begin - reach) / axis.stride + 2));
  }
  wanted.begin = std::min(wanted.begin, (axis.input + axis.pad_begin - 1) / axis.stride);
  // The last window of ceil_mode, which runs over the padding, can't stand alone where that isn't padding too.
  const bool overruns = counts_pads && axis.begin(wanted.end - 1) + reach > axis.input + axis.pad_end;
  if (overruns) wanted.begin = std::min(wanted.begin, std::max<std::int64_t>(wanted.end - 2, 0));
  return wanted;
}

}  // namespace

void WindowSlice::apply(NodeSlice& slice, Region& input) const {
  slice.attributes.set("pads", pads);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    input[i + 2] = inputs[i];
    slice.produced[i + 2] = outputs[i];
  }
}

WindowSlice slice_window(const Window& window, const Region& region, bool counts_pads) {
  WindowSlice slice;
  Ints pads_end;
  for (std::size_t i = 0; i < window.axes.size(); ++i) {
    const WindowAxis& axis = window.axes[i];
    Range positions = possible_positions(axis, region[i + 2], counts_pads);
    const std::int64_t begin = axis.begin(positions.begin);
    const std::int64_t end = axis.begin(positions.end - 1) + (axis.kernel - 1) * axis.dilation + 1;
    Range input{std::max<std::int64_t>(begin, 0), std::min(end, axis.input)};
    std::int64_t pad_begin = input.begin - begin;
    std::int64_t pad_end = end - input.end;
    if (counts_pads) pad_end = std::min(pad_end, axis.pad_end);
    if (positions.size() == axis.output || input.size() <= 0) {
      positions = {0, axis.output};
      input = {0, axis.input};
      pad_begin = axis.pad_begin;
      pad_end = axis.pad_end;
    }
    slice.inputs.push_back(input);
    slice.outputs.push_back(positions);
    slice.pads.push_back(pad_begin);
    pads_end.push_back(pad_end);
  }
  slice.pads.insert(slice.pads.end(), pads_end.begin(), pads_end.end());
  return slice;
}

std::int64_t Window::input_elements() const {
  std::int64_t product = 1;
  for (const WindowAxis& axis : axes) product *= axis.input;
  return product;
}

std::int64_t Window::output_elements() const {
  std::int64_t product = 1;
  for (const WindowAxis& axis : axes) product *= axis.output;
  return product;
}

std::int64_t Window::kernel_elements() const {
  std::int64_t product = 1;
  for (const WindowAxis& axis : axes) product *= axis.kernel;
  return product;
}

Expected<Window> window_of(const Attributes& attributes, const Shape& input, std::span<const std::int64_t> kernel,
                           bool ceil_mode) {
  if (input.rank() < 3 || input.rank() > 5) {
    return fail(ErrorCode::kUnsupported, "input expects 1 to 3 spatial axes ([N,C,spatial]), found shape {}",
                input.to_string());
  }
  const std::size_t count = input.rank() - 2;
  const Shape kernel_shape{Ints(kernel.begin(), kernel.end())};
  bool good = kernel.size() == count;
  for (const std::int64_t extent : kernel) good = good && extent >= 1 && extent <= kMaxParameter;
  if (!good) {
    return fail(ErrorCode::kInvalid, "kernel expects {} extents of at least 1, found {}", count,
                kernel_shape.to_string());
  }
  if (auto checked = Shape::checked(kernel_shape.vector()); !checked) return fail_in("kernel", checked.error());
  TRY_ASSIGN(const Ints strides, read_ints(attributes, "strides", count, 1));
  TRY_ASSIGN(const Ints dilations, read_ints(attributes, "dilations", count, 1));
  TRY_ASSIGN(const Ints pads, read_ints(attributes, "pads", 2 * count, 0));

  Window window;
  std::vector<std::int64_t> outputs;
  for (std::size_t i = 0; i < count; ++i) {
    WindowAxis axis{input[i + 2], 0, kernel[i], strides[i], dilations[i], pads[i], pads[count + i]};
    const std::int64_t padded = axis.input + axis.pad_begin + axis.pad_end;
    const std::int64_t reach = (axis.kernel - 1) * axis.dilation + 1;
    if (axis.input == 0 || reach > padded) {
      return fail(ErrorCode::kInvalid,
                  "spatial axis {}: a kernel that spans {} doesn't fit input {} with padding {}+{}", i, reach,
                  axis.input, axis.pad_begin, axis.pad_end);
    }
    axis.output = position_count(axis, padded, reach, ceil_mode);
    outputs.push_back(axis.output);
    window.axes.push_back(axis);
  }
  TRY(Shape::checked(std::move(outputs)));
  if (window.kernel_elements() > kMaxTaps / std::max<std::int64_t>(window.output_elements(), 1)) {
    return fail(ErrorCode::kUnsupported,
                "a kernel of {} elements at {} positions: at most {} taps a channel are supported",
                window.kernel_elements(), window.output_elements(), kMaxTaps);
  }
  return window;
}

}  // namespace onnx_split
