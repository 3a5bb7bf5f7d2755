#include "onnx_import/tensor_proto.h"

#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "onnx/onnx.pb.h"

namespace onnx_split {
namespace {

static_assert(std::endian::native == std::endian::little, "ONNX's raw data is little-endian and is used in place");

constexpr std::array<std::string_view, 24> kOnnxTypeNames = {
    "undefined", "float32",      "uint8",          "int8",       "uint16",         "int16",  "int32",     "int64",
    "string",    "bool",         "float16",        "double",     "uint32",         "uint64", "complex64", "complex128",
    "bfloat16",  "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "uint4",  "int4",      "float4e2m1"};

std::size_t onnx_element_bytes(std::int32_t onnx_type) {
  switch (onnx_type) {
    case onnx::TensorProto::FLOAT:
    case onnx::TensorProto::INT32: return 4;
    case onnx::TensorProto::INT64: return 8;
    default: return 1;
  }
}

tl::unexpected<Error> wrong_size(const Shape& shape, std::uint64_t expected, std::uint64_t found,
                                 std::string_view unit) {
  return fail(ErrorCode::kInvalid, "shape {} needs {} {}, found {}", shape.to_string(), expected, unit, found);
}

// Raw little-endian elements → the graph's elements; in place where they are aligned and of the same type.
Expected<Tensor> from_bytes(const TensorType& type, std::int32_t onnx_type, Buffer data) {
  const auto address = reinterpret_cast<std::uintptr_t>(data.bytes().data());
  if (onnx_type == onnx::TensorProto::INT32) {
    TensorBuilder builder(type);
    const std::span<std::int64_t> elements = builder.as<std::int64_t>();
    for (std::size_t i = 0; i < elements.size(); ++i) {
      std::int32_t element = 0;
      std::memcpy(&element, data.bytes().data() + i * sizeof element, sizeof element);
      elements[i] = element;
    }
    return std::move(builder).build();
  }
  if (type.type == DataType::kBool) {
    for (const std::byte byte : data.bytes()) {
      if (byte > std::byte{1}) return fail(ErrorCode::kInvalid, "a bool is neither 0 nor 1");
    }
  }
  if (data.bytes().data() != nullptr && address % element_bytes(type.type) == 0) return Tensor(type, std::move(data));
  MutableBuffer aligned(data.size());
  if (data.size() > 0) std::memcpy(aligned.bytes().data(), data.bytes().data(), data.size());
  return Tensor(type, std::move(aligned).freeze());
}

template <class T, class Field>
Expected<Tensor> from_field(const TensorType& type, const Field& field) {
  const auto count = static_cast<std::uint64_t>(type.shape.elements());
  if (static_cast<std::uint64_t>(field.size()) != count) return wrong_size(type.shape, count, field.size(), "elements");
  TensorBuilder builder(type);
  const std::span<T> elements = builder.as<T>();
  for (std::size_t i = 0; i < elements.size(); ++i) elements[i] = static_cast<T>(field[static_cast<int>(i)]);
  return std::move(builder).build();
}

Expected<Tensor> from_fields(const TensorType& type, const onnx::TensorProto& proto) {
  switch (proto.data_type()) {
    case onnx::TensorProto::FLOAT: return from_field<float>(type, proto.float_data());
    case onnx::TensorProto::INT64: return from_field<std::int64_t>(type, proto.int64_data());
    case onnx::TensorProto::INT32: return from_field<std::int64_t>(type, proto.int32_data());
    default: return from_field<bool>(type, proto.int32_data());
  }
}

Expected<Buffer> external_bytes(const onnx::TensorProto& proto, ExternalData& external, std::uint64_t size_bytes) {
  std::string location;
  std::optional<std::string_view> offset;
  std::optional<std::string_view> length;
  for (const onnx::StringStringEntryProto& entry : proto.external_data()) {
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset") offset = entry.value();
    if (entry.key() == "length") length = entry.value();
  }
  return external.bytes(location, offset, length, size_bytes);
}

}  // namespace

std::string onnx_type_name(std::int64_t onnx_type) {
  if (onnx_type < 0 || onnx_type >= static_cast<std::int64_t>(kOnnxTypeNames.size())) {
    return fmt::format("type {}", onnx_type);
  }
  return std::string(kOnnxTypeNames[static_cast<std::size_t>(onnx_type)]);
}

Expected<DataType> import_type(std::int64_t onnx_type) {
  switch (onnx_type) {
    case onnx::TensorProto::FLOAT: return DataType::kFloat32;
    case onnx::TensorProto::INT32:
    case onnx::TensorProto::INT64: return DataType::kInt64;
    case onnx::TensorProto::BOOL: return DataType::kBool;
    default:
      return fail(ErrorCode::kUnsupported, "element type {} isn't supported: expected float32, int64, int32 or bool",
                  onnx_type_name(onnx_type));
  }
}

std::int32_t export_type(DataType type) {
  switch (type) {
    case DataType::kFloat32: return onnx::TensorProto::FLOAT;
    case DataType::kInt64: return onnx::TensorProto::INT64;
    case DataType::kBool: return onnx::TensorProto::BOOL;
  }
  return onnx::TensorProto::UNDEFINED;
}

Expected<DataType> data_type_from_name(std::string_view name) {
  for (const DataType type : {DataType::kFloat32, DataType::kInt64, DataType::kBool}) {
    if (data_type_name(type) == name) return type;
  }
  return fail(ErrorCode::kInvalid, "type \"{}\": expected float32, int64 or bool", name);
}

Expected<Tensor> take_tensor(onnx::TensorProto& proto, TensorBytes bytes, ExternalData& external) {
  const std::int32_t onnx_type = proto.data_type();
  TRY_ASSIGN(const DataType data_type, import_type(onnx_type));
  TRY_ASSIGN(Shape shape, Shape::checked({proto.dims().begin(), proto.dims().end()}));
  if (proto.has_segment()) return fail(ErrorCode::kUnsupported, "tensors in segments aren't supported");
  const TensorType type{data_type, std::move(shape)};
  const std::uint64_t size_bytes = static_cast<std::uint64_t>(type.shape.elements()) * onnx_element_bytes(onnx_type);

  if (proto.data_location() == onnx::TensorProto::EXTERNAL) {
    TRY_ASSIGN(Buffer data, external_bytes(proto, external, size_bytes));
    return from_bytes(type, onnx_type, std::move(data));
  }
  if (bytes.field == TensorBytes::Field::kNone && proto.has_raw_data()) {
    const std::shared_ptr<const std::string> owner(proto.release_raw_data());
    bytes = {TensorBytes::Field::kRawData, Buffer(std::as_bytes(std::span(owner->data(), owner->size())), owner)};
  }
  if (bytes.field != TensorBytes::Field::kNone) {
    if (bytes.field == TensorBytes::Field::kFloatData && onnx_type != onnx::TensorProto::FLOAT) {
      return fail(ErrorCode::kInvalid, "type {} with the data of a float32", onnx_type_name(onnx_type));
    }
    if (bytes.data.size() != size_bytes) return wrong_size(type.shape, size_bytes, bytes.data.size(), "bytes");
    return from_bytes(type, onnx_type, std::move(bytes.data));
  }
  onnx::TensorProto spent;
  spent.Swap(&proto);  // so that the message's copy is freed here, not with the model
  return from_fields(type, spent);
}

void describe_tensor(const TensorType& type, const std::string& name, onnx::TensorProto& proto) {
  proto.set_name(name);
  proto.set_data_type(export_type(type.type));
  for (const std::int64_t extent : type.shape) proto.add_dims(extent);
}

}  // namespace onnx_split
