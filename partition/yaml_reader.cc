#include "partition/yaml_reader.h"

#include <algorithm>
#include <set>

namespace onnx_split {
namespace {

// Anchors let a short document stand for an exponentially long one; nothing of ours needs them. An anchor or alias
// begins a word outside quotes and comments.
bool has_aliases(std::string_view text) {
  char quote = 0;
  char before = ' ';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool begins_word = std::string_view(" \t\n\r[{,").find(before) != std::string_view::npos;
    before = c;
    if (quote != 0) {
      if (quote == '"' && c == '\\') ++i;
      if (c == quote) quote = 0;
    } else if (begins_word && (c == '"' || c == '\'')) {
      quote = c;
    } else if (begins_word && c == '#') {
      while (i < text.size() && text[i] != '\n') ++i;
      before = '\n';
    } else if (begins_word && (c == '&' || c == '*')) {
      return true;
    }
  }
  return false;
}

constexpr std::size_t kMaxDepth = 64;

// yaml-cpp's parser recurses where the document nests.
bool nests_too_deeply(std::string_view text) {
  std::size_t flow = 0;
  for (const char c : text) {
    if (c == '[' || c == '{') ++flow;
    if (flow > kMaxDepth * 64) return true;
  }
  std::size_t line_begin = 0;
  while (line_begin < text.size()) {
    std::size_t content = line_begin;
    while (content < text.size() && (text[content] == ' ' || text[content] == '-')) ++content;
    if (content - line_begin > 4 * kMaxDepth) return true;
    const std::size_t newline = text.find('\n', content);
    if (newline == std::string_view::npos) break;
    line_begin = newline + 1;
  }
  return false;
}

}  // namespace

Expected<YamlReader> YamlReader::parse(std::string_view text, std::string name) {
  if (has_aliases(text)) return fail(ErrorCode::kInvalid, "{}: YAML anchors and aliases are not supported", name);
  if (nests_too_deeply(text)) return fail(ErrorCode::kInvalid, "{}: nested too deeply", name);
  try {
    YAML::Node root = YAML::Load(std::string(text));
    return YamlReader(std::move(root), std::move(name), "");
  } catch (const YAML::Exception& exception) {
    return fail(ErrorCode::kInvalid, "{}:{}: {}", name, exception.mark.line + 1, exception.msg);
  }
}

std::string YamlReader::place() const {
  const int line = node_.Mark().line + 1;
  const std::string file = line > 0 ? fmt::format("{}:{}", file_, line) : file_;
  return field_.empty() ? file : fmt::format("{}: {}", file, field_);
}

tl::unexpected<Error> YamlReader::error(std::string_view message) const {
  return fail(ErrorCode::kInvalid, "{}: {}", place(), message);
}

Expected<void> YamlReader::check_keys(std::initializer_list<std::string_view> known) const {
  if (!node_.IsMap()) return error("expected a map");
  std::set<std::string> seen;
  for (const auto& entry : node_) {
    if (!entry.first.IsScalar()) return error("expected names as keys");
    const std::string& key = entry.first.Scalar();
    const YamlReader at_key(entry.first, file_, field_.empty() ? key : fmt::format("{}.{}", field_, key));
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      std::string names;
      for (const std::string_view name : known) names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
      return at_key.error(fmt::format("unknown field: expected one of {}", names));
    }
    if (!seen.insert(key).second) return at_key.error("given twice");
  }
  return {};
}

bool YamlReader::has(std::string_view key) const { return node_.IsMap() && node_[std::string(key)].IsDefined(); }

Expected<YamlReader> YamlReader::at(std::string_view key) const {
  if (!has(key)) return error(fmt::format("\"{}\" is missing", key));
  return YamlReader(node_[std::string(key)], file_,
                    field_.empty() ? std::string(key) : fmt::format("{}.{}", field_, key));
}

Expected<std::vector<YamlReader>> YamlReader::elements() const {
  if (!node_.IsSequence()) return error("expected a list");
  std::vector<YamlReader> readers;
  for (std::size_t i = 0; i < node_.size(); ++i) {
    readers.push_back(YamlReader(node_[i], file_, fmt::format("{}[{}]", field_, i)));
  }
  return readers;
}

Expected<std::string> YamlReader::string() const {
  if (!node_.IsScalar()) return error("expected a text");
  return node_.Scalar();
}

Expected<std::int64_t> YamlReader::integer(std::int64_t min, std::int64_t max) const {
  std::int64_t value = 0;
  if (!node_.IsScalar() || !YAML::convert<std::int64_t>::decode(node_, value) || value < min || value > max) {
    return error(fmt::format("expected an integer from {} to {}, found \"{}\"", min, max,
                             node_.IsScalar() ? node_.Scalar() : "a list or map"));
  }
  return value;
}

Expected<double> YamlReader::number(double min, double max) const {
  double value = 0;
  if (!node_.IsScalar() || !YAML::convert<double>::decode(node_, value) || !(value >= min && value <= max)) {
    return error(fmt::format("expected a number from {} to {}, found \"{}\"", min, max,
                             node_.IsScalar() ? node_.Scalar() : "a list or map"));
  }
  return value;
}

Expected<bool> YamlReader::boolean() const {
  bool value = false;
  if (!node_.IsScalar() || !YAML::convert<bool>::decode(node_, value)) return error("expected true or false");
  return value;
}

Expected<std::vector<std::string>> YamlReader::strings() const {
  if (node_.IsScalar()) return std::vector<std::string>{node_.Scalar()};
  TRY_ASSIGN(const std::vector<YamlReader> readers, elements());
  std::vector<std::string> strings;
  for (const YamlReader& reader : readers) {
    TRY_ASSIGN(std::string text, reader.string());
    strings.push_back(std::move(text));
  }
  return strings;
}

}  // namespace onnx_split
