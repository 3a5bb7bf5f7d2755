#include "partition/stages_file.h"

#include "base/file.h"
#include "partition/yaml_reader.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kMaxWays = 1 << 16;

Expected<StageRequest> read_stage(const YamlReader& reader, bool last) {
  TRY(reader.check_keys({"until", "split", "ways", "replicas", "devices"}));
  StageRequest stage;
  if (reader.has("until")) {
    TRY_ASSIGN(const YamlReader until, reader.at("until"));
    TRY_ASSIGN(stage.until, until.strings());
    if (stage.until.empty()) return until.error("no value named");
  } else if (!last) {
    return reader.error("\"until\" is missing: only the last stage may omit it");
  }
  if (reader.has("split")) {
    TRY_ASSIGN(const YamlReader split, reader.at("split"));
    TRY_ASSIGN(const std::string name, split.string());
    auto parsed = split_from_name(name);
    if (!parsed) return split.error(parsed.error().message);
    stage.split = *parsed;
  }
  if (reader.has("ways")) {
    TRY_ASSIGN(const YamlReader ways, reader.at("ways"));
    TRY_ASSIGN(const std::int64_t count, ways.integer(1, kMaxWays));
    stage.ways = static_cast<std::size_t>(count);
  }
  if (stage.split != Split::kWhole) {
    return reader.error(fmt::format("split {} isn't supported: expected whole", split_name(stage.split)));
  }
  if (stage.ways != 1) return reader.error("a whole stage has one part: expected ways 1");
  if (reader.has("replicas")) {
    TRY_ASSIGN(const YamlReader replicas, reader.at("replicas"));
    TRY_ASSIGN(const std::int64_t count, replicas.integer(1, kMaxWays));
    stage.replicas = static_cast<std::size_t>(count);
  }
  if (reader.has("devices")) {
    TRY_ASSIGN(const YamlReader devices, reader.at("devices"));
    TRY_ASSIGN(stage.devices, devices.strings());
    if (stage.devices.size() != stage.ways * stage.replicas) {
      return devices.error(fmt::format("expected {} devices (ways × replicas), found {}", stage.ways * stage.replicas,
                                       stage.devices.size()));
    }
  }
  return stage;
}

}  // namespace

Expected<std::vector<StageRequest>> parse_stages(std::string_view text, const std::string& file_name) {
  TRY_ASSIGN(const YamlReader root, YamlReader::parse(text, file_name));
  TRY(root.check_keys({"stages"}));
  TRY_ASSIGN(const YamlReader list, root.at("stages"));
  TRY_ASSIGN(const std::vector<YamlReader> elements, list.elements());
  if (elements.empty()) return list.error("no stages");
  std::vector<StageRequest> stages;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    TRY_ASSIGN(StageRequest stage, read_stage(elements[i], i + 1 == elements.size()));
    stages.push_back(std::move(stage));
  }
  return stages;
}

Expected<std::vector<StageRequest>> read_stages_file(const std::filesystem::path& path) {
  TRY_ASSIGN(const std::string text, read_file(path, 4 << 20));
  return parse_stages(text, path.string());
}

}  // namespace onnx_split
