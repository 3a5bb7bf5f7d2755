#include "graph/attributes.h"

#include <fmt/ranges.h>

#include <array>

#include "base/check.h"

namespace onnx_split {
namespace {

constexpr std::array kKindNames = {"an integer", "a float", "a string", "a list of integers", "a list of floats"};

template <class T>
Expected<T> get(const Attributes& attributes, std::string_view name, T fallback) {
  const auto found = attributes.values().find(name);
  if (found == attributes.values().end()) return fallback;
  if (const T* value = std::get_if<T>(&found->second)) return *value;
  return fail(ErrorCode::kInvalid, "attribute \"{}\": expected {}, found {}", name,
              kKindNames[AttributeValue(T{}).index()], kKindNames[found->second.index()]);
}

template <class T>
T value_of(Expected<T> result) {
  CHECK(result.has_value());
  return std::move(*result);
}

}  // namespace

void Attributes::erase(std::string_view name) {
  const auto found = values_.find(name);
  if (found != values_.end()) values_.erase(found);
}

Expected<std::int64_t> Attributes::get_int(std::string_view name, std::int64_t fallback) const {
  return get<std::int64_t>(*this, name, fallback);
}
Expected<float> Attributes::get_float(std::string_view name, float fallback) const {
  return get<float>(*this, name, fallback);
}
Expected<std::string> Attributes::get_string(std::string_view name, std::string fallback) const {
  return get<std::string>(*this, name, std::move(fallback));
}
Expected<Ints> Attributes::get_ints(std::string_view name, Ints fallback) const {
  return get<Ints>(*this, name, std::move(fallback));
}
Expected<Floats> Attributes::get_floats(std::string_view name, Floats fallback) const {
  return get<Floats>(*this, name, std::move(fallback));
}

std::int64_t Attributes::int_or(std::string_view name, std::int64_t fallback) const {
  return value_of(get_int(name, fallback));
}
float Attributes::float_or(std::string_view name, float fallback) const { return value_of(get_float(name, fallback)); }
std::string Attributes::string_or(std::string_view name, std::string fallback) const {
  return value_of(get_string(name, std::move(fallback)));
}
Ints Attributes::ints_or(std::string_view name, Ints fallback) const {
  return value_of(get_ints(name, std::move(fallback)));
}
Floats Attributes::floats_or(std::string_view name, Floats fallback) const {
  return value_of(get_floats(name, std::move(fallback)));
}

std::string Attributes::to_string() const {
  std::string text = "{";
  for (const auto& [name, value] : values_) {
    if (text.size() > 1) text += ", ";
    text += name + "=";
    text += std::visit(
        [](const auto& v) {
          if constexpr (requires {
                          v.size();
                          v.data();
                        } &&
                        !std::is_same_v<std::decay_t<decltype(v)>, std::string>) {
            return fmt::format("[{}]", fmt::join(v, ","));
          } else {
            return fmt::format("{}", v);
          }
        },
        value);
  }
  return text + "}";
}

}  // namespace onnx_split
