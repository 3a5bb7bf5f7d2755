// Reading JSON from outside: every access is checked, and an error says where: `stages[1].split: expected a string,
// found 3`.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace onnx_split {

using Json = nlohmann::ordered_json;

// Refuses documents nested deeper than 64 levels, members given twice, and trailing text. Takes time in proportion to
// the text (but for sorting names).
Expected<Json> parse_json(std::string_view text);

// The document as text; indent -1: on one line. Bytes that aren't UTF-8 become U+FFFD: whoever must have a name back
// unchanged checks it before.
std::string to_text(const Json& json, int indent = -1);

// A place in a document, remembered with its path for the error message. Refers to the document.
class JsonReader {
 public:
  explicit JsonReader(const Json& value, std::string path = "") : value_(&value), path_(std::move(path)) {}

  // The member `name` of an object; missing is an error.
  Expected<JsonReader> at(std::string_view name) const;
  bool has(std::string_view name) const { return value_->is_object() && value_->contains(name); }
  // The elements of an array; the members of an object with their names.
  Expected<std::vector<JsonReader>> elements() const;
  Expected<std::vector<std::pair<std::string, JsonReader>>> members() const;

  Expected<std::string> string() const;
  Expected<std::int64_t> integer(std::int64_t min, std::int64_t max) const;
  Expected<double> number() const;
  Expected<double> number(double min, double max) const;
  Expected<bool> boolean() const;
  Expected<std::vector<std::int64_t>> integers() const;

  Expected<std::string> string(std::string_view name) const;
  Expected<std::vector<std::string>> strings(std::string_view name) const;
  Expected<std::int64_t> integer(std::string_view name, std::int64_t min, std::int64_t max) const;
  Expected<double> number(std::string_view name, double min, double max) const;

  const Json& value() const { return *value_; }
  const std::string& path() const { return path_; }
  // An error at this place.
  tl::unexpected<Error> expected(std::string_view what) const;

 private:
  const Json* value_;
  std::string path_;
};

}  // namespace onnx_split
