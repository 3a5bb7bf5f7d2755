#include "graph/tensor.h"

namespace onnx_split {

std::string_view data_type_name(DataType type) {
  switch (type) {
    case DataType::kFloat32: return "float32";
    case DataType::kInt64: return "int64";
    case DataType::kBool: return "bool";
  }
  return "unknown";
}

std::size_t element_bytes(DataType type) {
  switch (type) {
    case DataType::kFloat32: return 4;
    case DataType::kInt64: return 8;
    case DataType::kBool: return 1;
  }
  return 0;
}

std::string TensorType::to_string() const { return fmt::format("{}{}", data_type_name(type), shape.to_string()); }

Tensor::Tensor(TensorType type, Buffer data) : type_(std::move(type)), data_(std::move(data)) {
  CHECK(data_.size() == type_.size_bytes());
  CHECK(reinterpret_cast<std::uintptr_t>(data_.bytes().data()) % element_bytes(type_.type) == 0);
}

}  // namespace onnx_split
