#include "tests/fuzz/mutate_json.h"

#include <iterator>

namespace onnx_split::fuzz {
namespace {

void collect(Json& at, std::vector<Json*>& all) {
  all.push_back(&at);
  if (!at.is_structured()) return;
  for (Json& child : at) collect(child, all);
}

std::size_t index(Random& random, std::size_t count) {
  return static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(count) - 1));
}

Json number(Random& random, const Json& old) {
  const std::int64_t now = old.is_number_integer() ? old.get<std::int64_t>() : 0;
  const Json candidates[] = {now + random.integer(-2, 2) * (now < INT32_MAX && now > INT32_MIN ? 1 : 0),
                             0,
                             1,
                             random.integer(0, 8),
                             -1,
                             std::int64_t{1} << random.integer(0, 62),
                             INT64_MAX,
                             INT64_MIN,
                             UINT64_MAX,
                             0.5,
                             -0.0,
                             1e308,
                             5e-324,
                             random.integer(INT64_MIN, INT64_MAX)};
  return candidates[index(random, std::size(candidates))];
}

Json text(Random& random, const std::string& old) {
  constexpr const char* kWords[] = {"",
                                    "x",
                                    "whole",
                                    "spatial",
                                    "output_channel",
                                    "input_channel",
                                    "channel_pair",
                                    "place",
                                    "add",
                                    "float32",
                                    "int64",
                                    "bool",
                                    "y",
                                    "pi0",
                                    ".",
                                    "../../a",
                                    "\xc3\xa4",
                                    "relu1",
                                    "sum",
                                    "conv1",
                                    "nobody"};
  if (random.integer(0, 2) > 0) return kWords[index(random, std::size(kWords))];
  return random.integer(0, 1) == 0 ? old + old : old.substr(0, old.size() / 2);
}

void change_list(Json& list, Random& random, const Json& other) {
  if (list.empty() || random.integer(0, 4) == 0) {
    list.push_back(other);
    return;
  }
  const std::size_t at = index(random, list.size());
  switch (random.integer(0, 3)) {
    case 0: list.erase(at); break;
    case 1: list.push_back(Json(list[at])); break;
    case 2: std::swap(list[at], list[index(random, list.size())]); break;
    default: list[at] = other; break;
  }
}

void change_object(Json& object, Random& random, const Json& other) {
  if (object.empty()) {
    object["x"] = other;
    return;
  }
  const auto at = std::next(object.begin(), static_cast<std::ptrdiff_t>(index(random, object.size())));
  if (random.integer(0, 3) == 0) {
    object.erase(at);
  } else {
    at.value() = other;
  }
}

}  // namespace

void mutate_json(Json& document, Random& random) {
  for (std::int64_t changes = random.integer(1, 3); changes > 0; --changes) {
    std::vector<Json*> all;
    collect(document, all);
    const Json other = *all[index(random, all.size())];
    Json& at = *all[index(random, all.size())];
    if (random.integer(0, 15) == 0) {
      at = random.integer(0, 2) == 0 ? Json(nullptr) : other;
    } else if (at.is_number()) {
      at = number(random, at);
    } else if (at.is_string()) {
      at = text(random, at.get<std::string>());
    } else if (at.is_array()) {
      change_list(at, random, other);
    } else if (at.is_object()) {
      change_object(at, random, other);
    } else if (at.is_boolean()) {
      at = !at.get<bool>();
    }
  }
}

std::string mutated_json(std::string_view text, Random& random) {
  if (random.integer(0, 5) == 0) return {};
  auto document = parse_json(text);
  if (!document) return {};
  mutate_json(*document, random);
  return to_text(*document);
}

}  // namespace onnx_split::fuzz
