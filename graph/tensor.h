// Tensors: element types, typed views of memory somebody else owns, and constants that own theirs. All are dense and
// row-major (for pictures: NCHW).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/check.h"
#include "graph/shape.h"

namespace onnx_split {

// kInt64 and kBool exist where shapes and indices need them. ONNX's int32 becomes kInt64 at import.
enum class DataType : std::uint8_t { kFloat32, kInt64, kBool };

std::string_view data_type_name(DataType type);  // "float32", "int64", "bool"
std::size_t element_bytes(DataType type);

template <class T>
inline constexpr DataType kDataTypeOf = DataType::kFloat32;
template <>
inline constexpr DataType kDataTypeOf<std::int64_t> = DataType::kInt64;
template <>
inline constexpr DataType kDataTypeOf<bool> = DataType::kBool;

// What infer computes with.
struct TensorType {
  DataType type = DataType::kFloat32;
  Shape shape;

  std::size_t size_bytes() const { return static_cast<std::size_t>(shape.elements()) * element_bytes(type); }
  std::string to_string() const;  // float32[1,3,224,224]
  bool operator==(const TensorType&) const = default;
};

// Somebody's elements, to read. The viewed memory and type must outlive the view.
class TensorView {
 public:
  TensorView(const TensorType& type, const void* data) : type_(&type), data_(data) {}

  const TensorType& type() const { return *type_; }
  const Shape& shape() const { return type_->shape; }
  const void* data() const { return data_; }

  template <class T>
  std::span<const T> as() const {
    CHECK(type_->type == kDataTypeOf<T>);
    return {static_cast<const T*>(data_), static_cast<std::size_t>(type_->shape.elements())};
  }
  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), type_->size_bytes()}; }

 private:
  const TensorType* type_;
  const void* data_;
};

// Somebody's elements, to write.
class MutableTensorView {
 public:
  MutableTensorView(const TensorType& type, void* data) : type_(&type), data_(data) {}

  const TensorType& type() const { return *type_; }
  const Shape& shape() const { return type_->shape; }
  void* data() const { return data_; }

  template <class T>
  std::span<T> as() const {
    CHECK(type_->type == kDataTypeOf<T>);
    return {static_cast<T*>(data_), static_cast<std::size_t>(type_->shape.elements())};
  }
  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(data_), type_->size_bytes()}; }

  operator TensorView() const { return {*type_, data_}; }  // NOLINT(google-explicit-constructor)

 private:
  const TensorType* type_;
  void* data_;
};

// Immutable elements with shared ownership (a heap block, a part of a mapped file). Cheap to copy.
class Tensor {
 public:
  Tensor() = default;
  // The buffer must hold exactly type.size_bytes(), aligned for its elements.
  Tensor(TensorType type, Buffer data);

  template <class T>
  static Tensor from(Shape shape, std::span<const T> elements) {
    MutableBuffer buffer(elements.size_bytes());
    std::copy(elements.begin(), elements.end(), reinterpret_cast<T*>(buffer.bytes().data()));
    return Tensor({kDataTypeOf<T>, std::move(shape)}, std::move(buffer).freeze());
  }
  static Tensor floats(Shape shape, std::span<const float> elements) { return from<float>(std::move(shape), elements); }
  static Tensor ints(std::span<const std::int64_t> elements) {
    return from<std::int64_t>(Shape{static_cast<std::int64_t>(elements.size())}, elements);
  }
  static Tensor scalar(float value) { return from<float>(Shape{}, std::span(&value, 1)); }

  // A tensor whose data are gone: its view is null.
  static Tensor forgotten(TensorType type) {
    Tensor tensor;
    tensor.type_ = std::move(type);
    return tensor;
  }

  const TensorType& type() const { return type_; }
  const Shape& shape() const { return type_.shape; }
  const Buffer& buffer() const { return data_; }
  TensorView view() const { return {type_, data_.bytes().data()}; }
  template <class T>
  std::span<const T> as() const {
    return view().as<T>();
  }

 private:
  TensorType type_;
  Buffer data_;
};

// A tensor being filled in.
class TensorBuilder {
 public:
  explicit TensorBuilder(TensorType type, bool zeroed = false)
      : type_(std::move(type)), buffer_(type_.size_bytes(), zeroed) {}

  MutableTensorView view() { return {type_, buffer_.bytes().data()}; }
  template <class T>
  std::span<T> as() {
    return view().as<T>();
  }
  Tensor build() && { return Tensor(std::move(type_), std::move(buffer_).freeze()); }

 private:
  TensorType type_;
  MutableBuffer buffer_;
};

}  // namespace onnx_split
