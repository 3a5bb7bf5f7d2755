// NumPy's .npy files: one array each. Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
//
// Read: versions 1.0 and 2.0, little-endian, C order, elements of
//   '<f4' as float32, '<f8' as float32 (rounded; beyond float's range: infinity), '<i8' and '<i4' as int64, '|b1' as
//   bool.
// Written: version 1.0, the data aligned to 64 bytes, '<f4', '<i8' or '|b1'.
//
// Files may be hostile: every length is checked against the file's size before it is used. Errors begin with the path.
#pragma once

#include <cstdint>
#include <filesystem>

#include "graph/tensor.h"

namespace onnx_split {

// An open array file. Only its header has been read: that costs nothing, however large the array. Holds a mapping of
// the file, which nobody may cut short meanwhile. Safe to use from any number of threads.
class NpyFile {
 public:
  // Checks the header, and that exactly its data follows.
  static Expected<NpyFile> open(const std::filesystem::path& path);

  // What read() gives: element types as converted.
  const TensorType& type() const { return type_; }

  // The whole array, in memory of its own.
  Expected<Tensor> read() const { return read(0, type_.shape); }
  // The elements from `first_element` on (in C order) as a tensor of `shape`. They must lie inside the array.
  Expected<Tensor> read(std::int64_t first_element, const Shape& shape) const;

 private:
  enum class Stored : std::uint8_t { kFloat32, kFloat64, kInt64, kInt32, kBool };
  struct Element {
    Stored stored;
    std::string_view descr;
    std::size_t size_bytes;
    DataType type;
  };
  static const Element kElements[];

  NpyFile(std::filesystem::path path, const Element& element, TensorType type, Buffer data)
      : path_(std::move(path)), element_(&element), type_(std::move(type)), data_(std::move(data)) {}
  static Expected<NpyFile> parse(const std::filesystem::path& path, const Buffer& file);

  std::filesystem::path path_;
  const Element* element_;
  TensorType type_;
  Buffer data_;
};

// NpyFile::open and read.
Expected<Tensor> read_npy(const std::filesystem::path& path);

// Replaces `path`; after an error what was there still is.
Expected<void> write_npy(const std::filesystem::path& path, TensorView tensor);

}  // namespace onnx_split
