#include "partition/stages_file.h"

#include "base/file.h"
#include "partition/yaml_reader.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kMaxWays = 1 << 12;

Expected<std::size_t> read_count(const YamlReader& reader, std::string_view name, std::int64_t min) {
  TRY_ASSIGN(const YamlReader field, reader.at(name));
  TRY_ASSIGN(const std::int64_t count, field.integer(min, kMaxWays));
  return static_cast<std::size_t>(count);
}

// until, or each.
Expected<void> read_extent(const YamlReader& reader, bool last, StageRequest& stage) {
  if (reader.has("each")) {
    TRY_ASSIGN(const YamlReader each, reader.at("each"));
    TRY_ASSIGN(const std::string what, each.string());
    if (what != "layer") return each.error(fmt::format("expected layer, found \"{}\"", what));
    if (reader.has("until")) return each.error("\"each\" stands in place of \"until\"");
    if (!last) return each.error("\"each\" divides the rest of the network: only the last stage may have it");
    stage.each_layer = true;
  } else if (reader.has("until")) {
    TRY_ASSIGN(const YamlReader until, reader.at("until"));
    TRY_ASSIGN(stage.until, until.strings());
    if (stage.until.empty()) return until.error("no value named");
  } else if (!last) {
    return reader.error("\"until\" is missing: only the last stage may omit it");
  }
  return {};
}

// split, ways and grid.
Expected<void> read_division(const YamlReader& reader, StageRequest& stage) {
  if (reader.has("split")) {
    TRY_ASSIGN(const YamlReader split, reader.at("split"));
    TRY_ASSIGN(const std::string name, split.string());
    auto parsed = split_from_name(name);
    if (!parsed) return split.error(parsed.error().message);
    stage.split = *parsed;
  }
  if (reader.has("ways")) {
    TRY_ASSIGN(stage.ways, read_count(reader, "ways", 1));
  }
  stage.grid = {stage.ways, 1};
  if (reader.has("grid")) {
    TRY_ASSIGN(const YamlReader grid, reader.at("grid"));
    if (stage.split != Split::kSpatial) return grid.error("only a spatial stage has a grid");
    TRY_ASSIGN(const std::vector<YamlReader> sides, grid.elements());
    if (sides.size() != 2) return grid.error("expected [rows, columns]");
    TRY_ASSIGN(const std::int64_t rows, sides[0].integer(1, kMaxWays));
    TRY_ASSIGN(const std::int64_t columns, sides[1].integer(1, kMaxWays));
    stage.grid = {static_cast<std::size_t>(rows), static_cast<std::size_t>(columns)};
    const std::size_t parts = stage.grid.rows * stage.grid.columns;
    if (reader.has("ways") && parts != stage.ways) {
      return grid.error(
          fmt::format("{} rows of {} columns are {} parts, not {} ways", rows, columns, parts, stage.ways));
    }
    stage.ways = parts;
  }
  if (stage.split == Split::kWhole && stage.ways != 1)
    return reader.error("a whole stage has one part: expected ways 1");
  if (stage.split != Split::kWhole && stage.ways < 2) {
    return reader.error(fmt::format("split {} expects at least 2 ways", split_name(stage.split)));
  }
  if (stage.split != Split::kSpatial) stage.grid = {};
  return {};
}

Expected<void> read_weights(const YamlReader& reader, StageRequest& stage) {
  if (!reader.has("weights")) return {};
  TRY_ASSIGN(const YamlReader weights, reader.at("weights"));
  TRY_ASSIGN(const std::vector<YamlReader> elements, weights.elements());
  if (stage.split == Split::kWhole) return weights.error("a whole stage has one part and no weights");
  if (elements.size() != stage.ways) {
    return weights.error(fmt::format("expected {} weights, one a part, found {}", stage.ways, elements.size()));
  }
  for (const YamlReader& element : elements) {
    TRY_ASSIGN(const std::int64_t weight, element.integer(1, kMaxWeight));
    stage.weights.push_back(weight);
  }
  return {};
}

// parity or standby.
Expected<void> read_spare(const YamlReader& reader, StageRequest& stage) {
  for (const Spare spare : {Spare::kParity, Spare::kStandby}) {
    const std::string_view name = spare_name(spare);
    if (!reader.has(name)) continue;
    TRY_ASSIGN(const YamlReader field, reader.at(name));
    TRY_ASSIGN(const std::int64_t count, field.integer(0, 1));
    if (count == 0) continue;
    if (stage.spare != Spare::kNone) return field.error("a stage has parity or standby, not both");
    if (spare == Spare::kParity && stage.split != Split::kOutputChannel) {
      return field.error(
          fmt::format("parity is for split output_channel of one layer, not for {}", split_name(stage.split)));
    }
    if (spare == Spare::kParity && stage.each_layer) {
      return field.error("parity is for a stage of one layer: name it with \"until\"");
    }
    stage.spare = spare;
  }
  return {};
}

Expected<StageRequest> read_stage(const YamlReader& reader, bool last) {
  TRY(reader.check_keys(
      {"until", "each", "split", "ways", "grid", "weights", "replicas", "parity", "standby", "devices"}));
  StageRequest stage;
  TRY(read_extent(reader, last, stage));
  TRY(read_division(reader, stage));
  TRY(read_weights(reader, stage));
  if (reader.has("replicas")) {
    TRY_ASSIGN(stage.replicas, read_count(reader, "replicas", 1));
  }
  TRY(read_spare(reader, stage));
  if (reader.has("devices")) {
    TRY_ASSIGN(const YamlReader devices, reader.at("devices"));
    TRY_ASSIGN(stage.devices, devices.strings());
    if (stage.devices.size() != stage.device_count()) {
      return devices.error(fmt::format("expected {} devices ({} × replicas), found {}", stage.device_count(),
                                       stage.spare == Spare::kNone ? "ways" : "ways and spare parts",
                                       stage.devices.size()));
    }
  }
  return stage;
}

}  // namespace

std::size_t StageRequest::parts() const {
  switch (spare) {
    case Spare::kNone: break;
    case Spare::kParity: return ways + 1;
    case Spare::kStandby: return 2 * ways;
  }
  return ways;
}

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
