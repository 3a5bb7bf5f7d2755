#include "onnx_import/model_reader.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/wire_format_lite.h>

#include <cerrno>
#include <fstream>
#include <limits>

#include "onnx/onnx.pb.h"

namespace onnx_split {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr std::uint64_t kMaxProtobufBytes = std::numeric_limits<int>::max();
constexpr int kReadBlockBytes = 1 << 20;

constexpr std::uint32_t length_tag(int field) {
  return (static_cast<std::uint32_t>(field) << 3) | WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
}
constexpr std::uint32_t varint_tag(int field) {
  return (static_cast<std::uint32_t>(field) << 3) | WireFormatLite::WIRETYPE_VARINT;
}

// Walks the message by hand down to the initializers; protobuf's own parser takes over below. Functions give false
// where the wire format is broken.
class ModelReader {
 public:
  explicit ModelReader(CodedInputStream& input) : input_(input) { model_.proto = std::make_shared<onnx::ModelProto>(); }

  bool read() {
    onnx::ModelProto& model = *model_.proto;
    return for_each_field([&](std::uint32_t tag) {
      switch (tag) {
        case varint_tag(onnx::ModelProto::kIrVersionFieldNumber): {
          std::uint64_t version = 0;
          if (!input_.ReadVarint64(&version)) return false;
          model.set_ir_version(static_cast<std::int64_t>(version));
          return true;
        }
        case length_tag(onnx::ModelProto::kOpsetImportFieldNumber): return parse(*model.add_opset_import());
        case length_tag(onnx::ModelProto::kGraphFieldNumber):
          return in_submessage([&] { return read_graph(*model.mutable_graph()); });
        default: return WireFormatLite::SkipField(&input_, tag);
      }
    });
  }

  OnnxModel take() { return std::move(model_); }

 private:
  // Until the enclosing message ends.
  template <class OnField>
  bool for_each_field(OnField on_field) {
    while (input_.BytesUntilLimit() > 0) {
      const std::uint32_t tag = input_.ReadTag();
      if (tag == 0 || !on_field(tag)) return false;
    }
    return input_.BytesUntilLimit() == 0;
  }

  // A length that fits into the enclosing message.
  bool read_length(int& length) {
    std::uint32_t value = 0;
    if (!input_.ReadVarint32(&value) || value > static_cast<std::uint32_t>(input_.BytesUntilLimit())) return false;
    length = static_cast<int>(value);
    return true;
  }

  template <class Body>
  bool in_submessage(Body body) {
    int length = 0;
    if (!read_length(length)) return false;
    const CodedInputStream::Limit limit = input_.PushLimit(length);
    const bool good = body();
    input_.PopLimit(limit);
    return good;
  }

  template <class Message>
  bool parse(Message& message) {
    int length = 0;
    std::string bytes;
    return read_length(length) && input_.ReadString(&bytes, length) && message.ParseFromString(bytes);
  }

  bool read_graph(onnx::GraphProto& graph) {
    return for_each_field([&](std::uint32_t tag) {
      switch (tag) {
        case length_tag(onnx::GraphProto::kNodeFieldNumber): return parse(*graph.add_node());
        case length_tag(onnx::GraphProto::kInputFieldNumber): return parse(*graph.add_input());
        case length_tag(onnx::GraphProto::kOutputFieldNumber): return parse(*graph.add_output());
        case length_tag(onnx::GraphProto::kInitializerFieldNumber):
          return in_submessage([&] { return read_initializer(*graph.add_initializer()); });
        case length_tag(onnx::GraphProto::kSparseInitializerFieldNumber): return parse(*graph.add_sparse_initializer());
        case length_tag(onnx::GraphProto::kNameFieldNumber): {
          int length = 0;
          return read_length(length) && input_.ReadString(graph.mutable_name(), length);
        }
        default: return WireFormatLite::SkipField(&input_, tag);
      }
    });
  }

  bool read_initializer(onnx::TensorProto& tensor) {
    TensorBytes& bytes = model_.initializer_bytes.emplace_back();
    std::string rest;
    {
      google::protobuf::io::StringOutputStream stream(&rest);
      google::protobuf::io::CodedOutputStream output(&stream);
      const bool good = for_each_field([&](std::uint32_t tag) {
        switch (tag) {
          case length_tag(onnx::TensorProto::kRawDataFieldNumber): return lift(bytes, TensorBytes::Field::kRawData);
          case length_tag(onnx::TensorProto::kFloatDataFieldNumber): return lift(bytes, TensorBytes::Field::kFloatData);
          default: return WireFormatLite::SkipField(&input_, tag, &output);
        }
      });
      if (!good) return false;
    }
    return tensor.ParseFromString(rest);
  }

  // No writer splits a tensor's data into several pieces: that is refused rather than joined.
  bool lift(TensorBytes& bytes, TensorBytes::Field field) {
    int length = 0;
    if (bytes.field != TensorBytes::Field::kNone || !read_length(length)) return false;
    MutableBuffer buffer(static_cast<std::size_t>(length));
    if (!input_.ReadRaw(buffer.bytes().data(), length)) return false;
    bytes = {field, std::move(buffer).freeze()};
    return true;
  }

  CodedInputStream& input_;
  OnnxModel model_;
};

Expected<OnnxModel> read_model(google::protobuf::io::ZeroCopyInputStream& stream, std::uint64_t size_bytes) {
  if (size_bytes == 0) return fail(ErrorCode::kInvalid, "not an ONNX file: it is empty");
  if (size_bytes > kMaxProtobufBytes) {
    return fail(ErrorCode::kInvalid,
                "{} bytes: an ONNX file has at most 2 GB (larger weights belong into external data)", size_bytes);
  }
  CodedInputStream input(&stream);
  input.PushLimit(static_cast<int>(size_bytes));
  ModelReader reader(input);
  if (!reader.read()) {
    return fail(ErrorCode::kInvalid, "not an ONNX file, or truncated: malformed at byte {} of {}",
                input.CurrentPosition(), size_bytes);
  }
  return reader.take();
}

}  // namespace

Expected<OnnxModel> read_model(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return fail(ErrorCode::kNotFound, "cannot open: {}", error ? error.message() : errno_message(ENOENT));
  }
  // Checked before opening: opening a named pipe would wait for its writer.
  if (!std::filesystem::is_regular_file(status)) return fail(ErrorCode::kInvalid, "not a regular file");
  const std::uint64_t size_bytes = std::filesystem::file_size(path, error);
  if (error) return fail(ErrorCode::kIo, "cannot inspect: {}", error.message());
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::kIo, "cannot open: {}", errno_message(errno));
  google::protobuf::io::IstreamInputStream stream(&file, kReadBlockBytes);
  return read_model(stream, size_bytes);
}

Expected<OnnxModel> read_model(std::span<const std::byte> bytes) {
  if (bytes.size() > kMaxProtobufBytes)
    return fail(ErrorCode::kInvalid, "{} bytes: an ONNX file has at most 2 GB", bytes.size());
  google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
  return read_model(stream, bytes.size());
}

}  // namespace onnx_split
