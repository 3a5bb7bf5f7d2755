#include "onnx_import/external_data.h"

#include <algorithm>
#include <charconv>

#include "base/file.h"

namespace onnx_split {
namespace {

Expected<std::uint64_t> parse_size(std::string_view what, std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorCode::kInvalid, "external data: {} \"{}\" isn't a number of bytes", what, text);
  }
  return value;
}

}  // namespace

Expected<Buffer> ExternalData::file(const std::string& location) {
  if (const auto known = files_.find(location); known != files_.end()) return known->second;
  if (folder_.empty()) return fail(ErrorCode::kInvalid, "external data \"{}\": not allowed here", location);
  const std::filesystem::path relative(location);
  if (location.empty() || location.find('\0') != std::string::npos || !relative.is_relative()) {
    return fail(ErrorCode::kInvalid, "external data \"{}\": expected a path relative to the model's folder", location);
  }
  std::error_code error;
  const std::filesystem::path root = std::filesystem::canonical(folder_, error);
  if (error) return fail(ErrorCode::kIo, "{}: {}", folder_.string(), error.message());
  const std::filesystem::path path = std::filesystem::canonical(root / relative, error);
  if (error) return fail(ErrorCode::kNotFound, "external data \"{}\": {}", location, error.message());
  const auto [root_end, rest] = std::mismatch(root.begin(), root.end(), path.begin(), path.end());
  if (root_end != root.end() || rest == path.end()) {
    return fail(ErrorCode::kInvalid, "external data \"{}\": lies outside the model's folder", location);
  }
  TRY_ASSIGN(Buffer mapped, map_file(path));
  files_.emplace(location, mapped);
  return mapped;
}

Expected<Buffer> ExternalData::bytes(const std::string& location, std::optional<std::string_view> offset,
                                     std::optional<std::string_view> length, std::uint64_t size_bytes) {
  std::uint64_t begin = 0;
  if (offset) {
    TRY_ASSIGN(begin, parse_size("offset", *offset));
  }
  if (length) {
    TRY_ASSIGN(const std::uint64_t given, parse_size("length", *length));
    if (given != size_bytes) {
      return fail(ErrorCode::kInvalid, "external data \"{}\": its length is {} bytes, the shape needs {}", location,
                  given, size_bytes);
    }
  }
  TRY_ASSIGN(const Buffer whole, file(location));
  if (begin > whole.size() || size_bytes > whole.size() - begin) {
    return fail(ErrorCode::kInvalid, "external data \"{}\": {} bytes at offset {} are beyond its end ({} bytes)",
                location, size_bytes, begin, whole.size());
  }
  return whole.sub(begin, size_bytes);
}

}  // namespace onnx_split
