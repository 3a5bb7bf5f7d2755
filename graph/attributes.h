// A node's attributes: named integers, floats, strings and lists, as ONNX has them. Only attributes that the operator
// defines are present; a missing one has the default that the operator's reader passes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"

namespace onnx_split {

using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;
using AttributeValue = std::variant<std::int64_t, float, std::string, Ints, Floats>;

class Attributes {
 public:
  Attributes() = default;
  Attributes(std::initializer_list<std::pair<const std::string, AttributeValue>> values) : values_(values) {}

  bool has(std::string_view name) const { return values_.find(name) != values_.end(); }
  void set(std::string name, AttributeValue value) { values_.insert_or_assign(std::move(name), std::move(value)); }
  void erase(std::string_view name);

  // The attribute, or `fallback` where it is missing. An attribute of another kind is an error that names it.
  Expected<std::int64_t> get_int(std::string_view name, std::int64_t fallback) const;
  Expected<float> get_float(std::string_view name, float fallback) const;
  Expected<std::string> get_string(std::string_view name, std::string fallback) const;
  Expected<Ints> get_ints(std::string_view name, Ints fallback) const;
  Expected<Floats> get_floats(std::string_view name, Floats fallback) const;

  // The same for attributes that infer has already checked: a wrong kind is a broken invariant.
  std::int64_t int_or(std::string_view name, std::int64_t fallback) const;
  float float_or(std::string_view name, float fallback) const;
  std::string string_or(std::string_view name, std::string fallback) const;
  Ints ints_or(std::string_view name, Ints fallback) const;
  Floats floats_or(std::string_view name, Floats fallback) const;

  const std::map<std::string, AttributeValue, std::less<>>& values() const { return values_; }
  std::string to_string() const;  // {group=1, pads=[1,1,1,1]}

  bool operator==(const Attributes&) const = default;

 private:
  std::map<std::string, AttributeValue, std::less<>> values_;
};

}  // namespace onnx_split
