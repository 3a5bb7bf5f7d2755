#include <algorithm>
#include <numeric>

#include "onnx_import/converters.h"

namespace onnx_split {
namespace {

// What a convolution or pool says about its window, one entry a spatial axis.
struct WindowForm {
  Ints kernel;
  Ints strides;
  Ints dilations;
  Ints pads;  // begins, then ends
  bool same = false;
};

// ONNX's SAME_UPPER and SAME_LOWER: output = ceil(input / stride); the odd cell of padding at the end, or at the
// beginning.
Ints same_pads(const Shape& input, const WindowForm& form, bool upper) {
  const std::size_t axes = form.kernel.size();
  Ints pads(2 * axes, 0);
  for (std::size_t i = 0; i < axes; ++i) {
    const std::int64_t extent = input[i + 2];
    const std::int64_t reach = (form.kernel[i] - 1) * form.dilations[i] + 1;
    const std::int64_t output = (extent + form.strides[i] - 1) / form.strides[i];
    const std::int64_t total = std::max<std::int64_t>(0, (output - 1) * form.strides[i] + reach - extent);
    const std::int64_t less = total / 2;
    pads[i] = upper ? less : total - less;
    pads[i + axes] = total - pads[i];
  }
  return pads;
}

// Numbers small enough that same_pads can't overflow; graph/ops/window.cc checks what they mean.
bool are_counts(const Ints& numbers, std::size_t count) {
  constexpr std::int64_t kMax = std::int64_t{1} << 30;
  return numbers.size() == count &&
         std::all_of(numbers.begin(), numbers.end(), [](std::int64_t n) { return n >= 1 && n <= kMax; });
}

Expected<WindowForm> window_form(const OnnxNode& node, const Shape& input, Ints kernel) {
  if (input.rank() < 3 || kernel.size() != input.rank() - 2) {
    return fail(ErrorCode::kInvalid, "kernel of {} axes on an input of shape {}", kernel.size(), input.to_string());
  }
  const std::size_t axes = kernel.size();
  WindowForm form{.kernel = std::move(kernel), .strides = {}, .dilations = {}, .pads = {}};
  TRY_ASSIGN(form.strides, node.attributes.get_ints("strides", Ints(axes, 1)));
  TRY_ASSIGN(form.dilations, node.attributes.get_ints("dilations", Ints(axes, 1)));
  TRY_ASSIGN(form.pads, node.attributes.get_ints("pads", Ints(2 * axes, 0)));
  TRY_ASSIGN(const std::string auto_pad, node.attributes.get_string("auto_pad", "NOTSET"));
  if (auto_pad == "NOTSET" || auto_pad.empty()) return form;
  if (auto_pad == "VALID") {
    form.pads.assign(2 * axes, 0);
  } else if (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER") {
    if (!are_counts(form.kernel, axes) || !are_counts(form.strides, axes) || !are_counts(form.dilations, axes)) {
      return fail(ErrorCode::kInvalid, "kernel_shape, strides and dilations expect {} positive numbers each", axes);
    }
    form.pads = same_pads(input, form, auto_pad == "SAME_UPPER");
    form.same = true;
  } else {
    return fail(ErrorCode::kInvalid, "auto_pad: expected NOTSET, VALID, SAME_UPPER or SAME_LOWER, found {}", auto_pad);
  }
  return form;
}

// Resize's numbers for the axes that are named, as numbers for all of them.
template <class T>
Expected<std::vector<T>> for_all_axes(const std::vector<T>& given, const Ints& axes, std::vector<T> all,
                                      std::string_view what) {
  if (given.size() != axes.size()) {
    return fail(ErrorCode::kInvalid, "{} expects {} numbers, found {}", what, axes.size(), given.size());
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    TRY_ASSIGN(const std::size_t axis, normalize_axis(axes[i], all.size()));
    all[axis] = given[i];
  }
  return all;
}

// tf_half_pixel_for_nn is half_pixel half a cell further on; later opsets have it no more. ceil(x) = prefer_floor(x +
// ½), …
Expected<void> replace_tf_half_pixel(const std::string& mode, std::string& coordinates, std::string& nearest_mode) {
  if (coordinates != "tf_half_pixel_for_nn") return {};
  if (mode == "nearest" && nearest_mode == "round_prefer_floor") {
    nearest_mode = "ceil";
  } else if (mode == "nearest" && nearest_mode == "floor") {
    nearest_mode = "round_prefer_ceil";
  } else {
    return fail(ErrorCode::kUnsupported,
                "coordinate_transformation_mode=tf_half_pixel_for_nn with mode={}, nearest_mode={}", mode,
                nearest_mode);
  }
  coordinates = "half_pixel";
  return {};
}

}  // namespace

Expected<void> convert_conv(OnnxNode node, GraphWriter& writer) {
  if (node.inputs.size() < 2) return fail(ErrorCode::kInvalid, "expected 2 to 3 inputs, found {}", node.inputs.size());
  const Shape& weight = writer.shape(node.inputs[1]);
  if (weight.rank() < 3) return fail(ErrorCode::kInvalid, "weight expects 3 to 5 axes, found {}", weight.to_string());
  const Ints kernel(weight.begin() + 2, weight.end());
  TRY_ASSIGN(const Ints named, node.attributes.get_ints("kernel_shape", kernel));
  if (named != kernel) {
    return fail(ErrorCode::kInvalid, "kernel_shape is {}, the weight's shape {}", Shape(named).to_string(),
                weight.to_string());
  }
  TRY_ASSIGN(const std::int64_t group, node.attributes.get_int("group", 1));
  TRY_ASSIGN(WindowForm form, window_form(node, writer.shape(node.inputs[0]), kernel));
  node.attributes = {{"group", group},
                     {"strides", std::move(form.strides)},
                     {"dilations", std::move(form.dilations)},
                     {"pads", std::move(form.pads)}};
  return writer.emit(std::move(node));
}

Expected<void> convert_pool(OnnxNode node, GraphWriter& writer) {
  if (node.inputs.size() != 1) return fail(ErrorCode::kInvalid, "expected 1 input, found {}", node.inputs.size());
  if (!node.attributes.has("kernel_shape")) return fail(ErrorCode::kInvalid, "kernel_shape is missing");
  TRY_ASSIGN(Ints kernel, node.attributes.get_ints("kernel_shape", {}));
  TRY_ASSIGN(WindowForm form, window_form(node, writer.shape(node.inputs[0]), std::move(kernel)));
  TRY_ASSIGN(const std::int64_t ceil_mode, node.attributes.get_int("ceil_mode", 0));
  TRY_ASSIGN(const std::int64_t count_include_pad, node.attributes.get_int("count_include_pad", 0));
  const bool dilated = std::any_of(form.dilations.begin(), form.dilations.end(), [](std::int64_t d) { return d != 1; });
  node.attributes = {{"kernel_shape", std::move(form.kernel)},
                     {"strides", std::move(form.strides)},
                     {"pads", std::move(form.pads)},
                     // SAME already rounds up.
                     {"ceil_mode", form.same ? std::int64_t{0} : ceil_mode}};
  if (node.op == OpType::kAveragePool) node.attributes.set("count_include_pad", count_include_pad);
  // AveragePool has dilations only since opset 19.
  if (dilated || node.op == OpType::kMaxPool) node.attributes.set("dilations", std::move(form.dilations));
  return writer.emit(std::move(node));
}

Expected<void> convert_resize(OnnxNode node, GraphWriter& writer) {
  if (node.inputs.size() != 1) return fail(ErrorCode::kInvalid, "expected 1 operand, found {}", node.inputs.size());
  const Shape& shape = writer.shape(node.inputs[0]);
  TRY_ASSIGN(const std::string mode, node.attributes.get_string("mode", "nearest"));
  TRY_ASSIGN(std::string coordinates, node.attributes.get_string("coordinate_transformation_mode", "half_pixel"));
  TRY_ASSIGN(std::string nearest_mode, node.attributes.get_string("nearest_mode", "round_prefer_floor"));
  TRY(replace_tf_half_pixel(mode, coordinates, nearest_mode));
  Ints every_axis(shape.rank());
  std::iota(every_axis.begin(), every_axis.end(), 0);
  TRY_ASSIGN(const Ints axes, node.attributes.get_ints("axes", every_axis));
  TRY_ASSIGN(const Floats scales, node.attributes.get_floats("scales", {}));
  TRY_ASSIGN(const Ints sizes, node.attributes.get_ints("sizes", {}));
  if (scales.empty() == sizes.empty()) {
    return fail(ErrorCode::kInvalid, "expected either scales or sizes, found {}", scales.empty() ? "neither" : "both");
  }
  node.attributes = {{"mode", mode}, {"coordinate_transformation_mode", coordinates}};
  if (mode == "nearest") node.attributes.set("nearest_mode", nearest_mode);
  if (scales.empty()) {
    TRY_ASSIGN(Ints all, for_all_axes(sizes, axes, shape.vector(), "sizes"));
    node.attributes.set("sizes", std::move(all));
  } else {
    TRY_ASSIGN(Floats all, for_all_axes(scales, axes, Floats(shape.rank(), 1.0F), "scales"));
    node.attributes.set("scales", std::move(all));
  }
  return writer.emit(std::move(node));
}

// Upsample and Resize-10 have no other coordinates than x / scale, and round down.
Expected<void> convert_upsample(OnnxNode node, GraphWriter& writer) {
  node.attributes.set("coordinate_transformation_mode", "asymmetric");
  node.attributes.set("nearest_mode", "floor");
  return convert_resize(std::move(node), writer);
}

}  // namespace onnx_split
