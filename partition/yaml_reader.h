// Reading YAML from outside: every access is checked, and an error names the file, the line and the field.
// Only for sources of this folder: it includes yaml-cpp.
#pragma once

#include <yaml-cpp/yaml.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace onnx_split {

class YamlReader {
 public:
  // The document's root. `name` is the file's name in errors.
  static Expected<YamlReader> parse(std::string_view text, std::string name);

  // file:line: field
  std::string place() const;
  // An error at this place: file:line: field: message.
  tl::unexpected<Error> error(std::string_view message) const;

  // Refuses a map with other keys than these, and anything that isn't a map.
  Expected<void> check_keys(std::initializer_list<std::string_view> known) const;
  bool has(std::string_view key) const;
  Expected<YamlReader> at(std::string_view key) const;
  Expected<std::vector<YamlReader>> elements() const;

  Expected<std::string> string() const;
  Expected<std::int64_t> integer(std::int64_t min, std::int64_t max) const;
  Expected<double> number(double min, double max) const;
  Expected<bool> boolean() const;
  // A string, or a list of strings.
  Expected<std::vector<std::string>> strings() const;

 private:
  YamlReader(YAML::Node node, std::string file, std::string field)
      : node_(std::move(node)), file_(std::move(file)), field_(std::move(field)) {}

  YAML::Node node_;
  std::string file_;
  std::string field_;
};

}  // namespace onnx_split
