#include "graph/cut_out.h"

#include "graph/ops/copy.h"
#include "graph/ops/walk.h"

namespace onnx_split {
namespace {

// The elements lie behind one another: one range at most is a true part, and in front of it there is only one of each.
bool is_one_run(const Region& region, const Shape& shape) {
  std::size_t axis = region.rank();
  while (axis > 0 && region[axis - 1].size() == shape[axis - 1]) --axis;
  while (axis > 1) {
    if (region[--axis - 1].size() != 1) return false;
  }
  return true;
}

std::int64_t first_element(const Region& region, std::span<const std::int64_t> strides) {
  std::int64_t first = 0;
  for (std::size_t axis = 0; axis < region.rank(); ++axis) first += region[axis].begin * strides[axis];
  return first;
}

}  // namespace

Tensor cut_out(const Tensor& tensor, const Region& region) {
  CHECK(region.inside(tensor.shape()));
  const TensorType type{tensor.type().type, region.shape()};
  const std::vector<std::int64_t> strides = tensor.shape().strides();
  const std::int64_t first = first_element(region, strides);
  if (type.shape.elements() == 0 || is_one_run(region, tensor.shape())) {
    const std::size_t offset =
        type.shape.elements() == 0 ? 0 : static_cast<std::size_t>(first) * element_bytes(type.type);
    return {type, tensor.buffer().sub(offset, type.size_bytes())};
  }
  TensorBuilder builder(type);
  // Row by row along the last axis.
  Shape rows = type.shape;
  const std::int64_t row = rows.back();
  rows[rows.rank() - 1] = 1;
  for_each_index(rows, [&](std::size_t flat, const Index& index) {
    copy_elements(tensor.view(), first + offset_of(index, strides), builder.view(),
                  static_cast<std::int64_t>(flat) * row, row);
  });
  return std::move(builder).build();
}

}  // namespace onnx_split
