// An elementwise operation's loops: neighbouring axes that every operand walks alike are merged, and the last one left
// is the row, along which each operand advances by one element or stands still.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "graph/operators.h"
#include "graph/ops/broadcast.h"

namespace onnx_split {

struct StridedRows {
  // By operand, by axis of `shape`, in elements. `shape` has elements.
  StridedRows(const std::vector<std::vector<std::int64_t>>& full_strides, const Shape& shape);
  // Operand i has shape inputs[i], broadcast to `output`.
  static StridedRows broadcast(std::span<const Shape> inputs, const Shape& output);

  std::vector<std::int64_t> extents;               // of the merged axes, the row's last; at least one
  std::vector<std::vector<std::int64_t>> strides;  // by operand, by merged axis

  std::int64_t row_elements() const { return extents.back(); }
  std::int64_t rows() const;
  // Where operand `i` begins for row number `row`.
  std::int64_t offset(std::size_t i, std::int64_t row) const;
};

// Elements that one task handles: some microseconds of work.
inline constexpr std::int64_t kTaskElements = 16384;

// A kernel's tables and padded rows have at most so many elements; what needs larger ones is left to the reference. A
// padding or an extent in a small model can be of any size.
inline constexpr std::int64_t kMaxTableElements = std::int64_t{1} << 24;

// Divides rows · row_elements into tasks of whole rows, or, where rows are long, of pieces of rows.
struct RowTasks {
  RowTasks(std::int64_t rows, std::int64_t row_elements)
      : rows_(rows),
        row_elements_(row_elements),
        piece_(std::min(row_elements, kTaskElements)),
        pieces_((row_elements + piece_ - 1) / piece_),
        group_(std::max<std::int64_t>(1, kTaskElements / row_elements)) {}

  std::size_t count() const { return static_cast<std::size_t>((rows_ + group_ - 1) / group_ * pieces_); }

  // Calls body(row, begin, end) for each piece of a row that belongs to the task.
  template <class Body>
  void each(std::size_t task, const Body& body) const {
    const std::int64_t first = static_cast<std::int64_t>(task) / pieces_ * group_;
    const std::int64_t begin = static_cast<std::int64_t>(task) % pieces_ * piece_;
    const std::int64_t end = std::min(row_elements_, begin + piece_);
    for (std::int64_t row = first; row < std::min(rows_, first + group_); ++row) body(row, begin, end);
  }

 private:
  std::int64_t rows_;
  std::int64_t row_elements_;
  std::int64_t piece_;
  std::int64_t pieces_;  // of a row
  std::int64_t group_;   // rows of a task; 1 where a row has several pieces
};

}  // namespace onnx_split
