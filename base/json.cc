#include "base/json.h"

namespace onnx_split {
namespace {

constexpr int kMaxDepth = 64;

// nlohmann's parser recurses where the document nests; a hostile document must not reach the end of the stack.
bool nests_too_deeply(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace

Expected<Json> parse_json(std::string_view text) {
  if (nests_too_deeply(text)) return fail(ErrorCode::kInvalid, "JSON nested deeper than {} levels", kMaxDepth);
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 1: …": the library's own tag helps nobody.
    const std::string_view what = error.what();
    const std::size_t tag = what.find("] ");
    return fail(ErrorCode::kInvalid, "{}", tag == std::string_view::npos ? what : what.substr(tag + 2));
  }
}

std::string to_text(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

tl::unexpected<Error> JsonReader::expected(std::string_view what) const {
  std::string found = to_text(*value_);
  if (found.size() > 40) found = found.substr(0, 37) + "...";
  return fail(ErrorCode::kInvalid, "{}: expected {}, found {}", path_.empty() ? "document" : path_, what, found);
}

Expected<JsonReader> JsonReader::at(std::string_view name) const {
  if (!value_->is_object()) return expected("an object");
  const auto found = value_->find(name);
  std::string path = path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
  if (found == value_->end()) return fail(ErrorCode::kInvalid, "{}: missing", path);
  return JsonReader(*found, std::move(path));
}

Expected<std::vector<JsonReader>> JsonReader::elements() const {
  if (!value_->is_array()) return expected("a list");
  std::vector<JsonReader> readers;
  readers.reserve(value_->size());
  for (std::size_t i = 0; i < value_->size(); ++i) {
    readers.emplace_back((*value_)[i], fmt::format("{}[{}]", path_, i));
  }
  return readers;
}

Expected<std::vector<std::pair<std::string, JsonReader>>> JsonReader::members() const {
  if (!value_->is_object()) return expected("an object");
  std::vector<std::pair<std::string, JsonReader>> readers;
  for (const auto& [name, value] : value_->items()) {
    readers.emplace_back(name, JsonReader(value, path_.empty() ? name : fmt::format("{}.{}", path_, name)));
  }
  return readers;
}

Expected<std::string> JsonReader::string() const {
  if (!value_->is_string()) return expected("a string");
  return value_->get<std::string>();
}

Expected<std::int64_t> JsonReader::integer(std::int64_t min, std::int64_t max) const {
  const bool too_large = value_->is_number_unsigned() && value_->get<std::uint64_t>() > static_cast<std::uint64_t>(max);
  if (value_->is_number_integer() && !too_large) {
    const auto integer = value_->get<std::int64_t>();
    if (integer >= min && integer <= max) return integer;
  }
  return expected(fmt::format("an integer from {} to {}", min, max));
}

Expected<double> JsonReader::number() const {
  if (!value_->is_number()) return expected("a number");
  return value_->get<double>();
}

Expected<bool> JsonReader::boolean() const {
  if (!value_->is_boolean()) return expected("true or false");
  return value_->get<bool>();
}

Expected<std::vector<std::int64_t>> JsonReader::integers() const {
  TRY_ASSIGN(const std::vector<JsonReader> readers, elements());
  std::vector<std::int64_t> integers;
  integers.reserve(readers.size());
  for (const JsonReader& reader : readers) {
    TRY_ASSIGN(const std::int64_t integer, reader.integer(INT64_MIN, INT64_MAX));
    integers.push_back(integer);
  }
  return integers;
}

Expected<std::string> JsonReader::string(std::string_view name) const {
  TRY_ASSIGN(const JsonReader member, at(name));
  return member.string();
}

Expected<std::vector<std::string>> JsonReader::strings(std::string_view name) const {
  TRY_ASSIGN(const JsonReader member, at(name));
  TRY_ASSIGN(const std::vector<JsonReader> readers, member.elements());
  std::vector<std::string> strings;
  for (const JsonReader& reader : readers) {
    TRY_ASSIGN(std::string text, reader.string());
    strings.push_back(std::move(text));
  }
  return strings;
}

Expected<std::int64_t> JsonReader::integer(std::string_view name, std::int64_t min, std::int64_t max) const {
  TRY_ASSIGN(const JsonReader member, at(name));
  return member.integer(min, max);
}

Expected<double> JsonReader::number(std::string_view name) const {
  TRY_ASSIGN(const JsonReader member, at(name));
  return member.number();
}

}  // namespace onnx_split
