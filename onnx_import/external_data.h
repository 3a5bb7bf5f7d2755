// ONNX external data: files beside the model that hold tensors' bytes.
//
// A model may come from anybody, so it may only name regular files inside its own folder: the location is relative, and
// its canonical path, with all symbolic links resolved, lies below the canonical folder. Each file is mapped once,
// read-only; the mapping lives as long as a tensor in it does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/buffer.h"
#include "base/error.h"

namespace onnx_split {

class ExternalData {
 public:
  // An empty folder allows no external data at all.
  explicit ExternalData(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // `offset` and `length` are the decimal texts of the model; nothing is offset 0 and a length of `size_bytes`, which
  // the length must be.
  Expected<Buffer> bytes(const std::string& location, std::optional<std::string_view> offset,
                         std::optional<std::string_view> length, std::uint64_t size_bytes);

 private:
  Expected<Buffer> file(const std::string& location);

  std::filesystem::path folder_;
  std::map<std::string, Buffer> files_;  // by location
};

}  // namespace onnx_split
