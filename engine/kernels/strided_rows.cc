#include "engine/kernels/strided_rows.h"

namespace onnx_split {

StridedRows StridedRows::broadcast(std::span<const Shape> inputs, const Shape& output) {
  std::vector<std::vector<std::int64_t>> full;
  for (const Shape& input : inputs) full.push_back(broadcast_strides(input, output));
  return StridedRows(full, output);
}

StridedRows::StridedRows(const std::vector<std::vector<std::int64_t>>& full, const Shape& shape)
    : strides(full.size()) {
  // From the last axis outwards; an axis joins the one behind it if every operand steps over that one as a whole.
  for (std::size_t axis = shape.rank(); axis-- > 0;) {
    if (shape[axis] == 1) continue;
    bool joins = !extents.empty();
    for (std::size_t i = 0; i < full.size() && joins; ++i) {
      joins = full[i][axis] == strides[i].back() * extents.back();
    }
    if (joins) {
      extents.back() *= shape[axis];
      continue;
    }
    extents.push_back(shape[axis]);
    for (std::size_t i = 0; i < full.size(); ++i) strides[i].push_back(full[i][axis]);
  }
  if (extents.empty()) {
    extents.push_back(1);
    for (auto& operand : strides) operand.push_back(1);
  }
  std::reverse(extents.begin(), extents.end());
  for (auto& operand : strides) std::reverse(operand.begin(), operand.end());
}

std::int64_t StridedRows::rows() const {
  std::int64_t rows = 1;
  for (std::size_t axis = 0; axis + 1 < extents.size(); ++axis) rows *= extents[axis];
  return rows;
}

std::int64_t StridedRows::offset(std::size_t i, std::int64_t row) const {
  std::int64_t offset = 0;
  for (std::size_t axis = extents.size() - 1; axis-- > 0;) {
    offset += row % extents[axis] * strides[i][axis];
    row /= extents[axis];
  }
  return offset;
}

}  // namespace onnx_split
