// Bytes → ModelProto, in one pass, with every initializer's raw bytes read straight from the file into a buffer of
// their own: the message never holds the weights, so they are in memory once. Only what the importer needs is kept (no
// value_info, docs, functions or training graphs).
//
// Hostile input: a length is believed only when as many bytes are left in the enclosing message, so nothing is
// allocated beyond the size of the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/error.h"

namespace onnx {
class ModelProto;
}

namespace onnx_split {

// The little-endian bytes of a tensor, taken out of its message.
struct TensorBytes {
  enum class Field : std::uint8_t { kNone, kRawData, kFloatData };
  Field field = Field::kNone;  // where they stood; kNone: there were none
  Buffer data;
};

struct OnnxModel {
  std::shared_ptr<onnx::ModelProto> proto;
  std::vector<TensorBytes> initializer_bytes;  // as proto's graph().initializer()
};

// Refuses what isn't a regular file, is empty, over 2 GB (protobuf's limit) or malformed. Errors don't name the file.
Expected<OnnxModel> read_model(const std::filesystem::path& path);
Expected<OnnxModel> read_model(std::span<const std::byte> bytes);

}  // namespace onnx_split
