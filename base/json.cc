#include "base/json.h"

#include <algorithm>

namespace onnx_split {
namespace {

constexpr std::size_t kMaxDepth = 64;

// Builds the document as the parser reads it. nlohmann's own builder looks through an object's members for each new
// one: a control message of 16 MiB, all of it one object, would keep it busy for half an hour.
class Builder : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return add(nullptr) != nullptr; }
  bool boolean(bool value) override { return add(value) != nullptr; }
  bool number_integer(std::int64_t value) override { return add(value) != nullptr; }
  bool number_unsigned(std::uint64_t value) override { return add(value) != nullptr; }
  bool number_float(double value, const std::string&) override { return add(value) != nullptr; }
  bool string(std::string& value) override { return add(std::move(value)) != nullptr; }
  bool binary(Json::binary_t&) override { return false; }  // JSON has none

  bool start_object(std::size_t) override { return open(Json::object()); }
  bool key(std::string& name) override {
    key_ = std::move(name);
    return true;
  }
  bool end_object() override {
    std::vector<std::string_view> names;
    for (const auto& member : open_.back()->get_ref<const Json::object_t&>()) names.push_back(member.first);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) return refuse(fmt::format("member \"{}\" is given twice", *twice));
    open_.pop_back();
    return true;
  }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_array() override {
    open_.pop_back();
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 1: …": the library's own tag helps nobody.
    const std::string_view what = error.what();
    const std::size_t tag = what.find("] ");
    return refuse(std::string(tag == std::string_view::npos ? what : what.substr(tag + 2)));
  }

  Json take() { return std::move(root_); }
  const std::string& error() const { return error_; }

 private:
  // Where it is now. What is open doesn't move: only the innermost list or object grows.
  Json* add(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) return &open_.back()->get_ref<Json::array_t&>().emplace_back(std::move(value));
    return &open_.back()->get_ref<Json::object_t&>().emplace_back(std::move(key_), std::move(value)).second;
  }

  // Whoever goes through a document recurses where it nests: a hostile one must not reach the end of the stack.
  bool open(Json value) {
    if (open_.size() == kMaxDepth) return refuse(fmt::format("JSON nested deeper than {} levels", kMaxDepth));
    open_.push_back(add(std::move(value)));
    return true;
  }

  bool refuse(std::string error) {
    error_ = std::move(error);
    return false;
  }

  Json root_;
  std::vector<Json*> open_;  // the lists and objects around what comes next, the innermost last
  std::string key_;
  std::string error_;
};

}  // namespace

Expected<Json> parse_json(std::string_view text) {
  Builder builder;
  if (!Json::sax_parse(text, &builder)) return fail(ErrorCode::kInvalid, "{}", builder.error());
  return builder.take();
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

Expected<double> JsonReader::number(double min, double max) const {
  if (value_->is_number()) {
    const auto number = value_->get<double>();
    if (number >= min && number <= max) return number;
  }
  return expected(fmt::format("a number from {} to {}", min, max));
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

Expected<double> JsonReader::number(std::string_view name, double min, double max) const {
  TRY_ASSIGN(const JsonReader member, at(name));
  return member.number(min, max);
}

}  // namespace onnx_split
