// The stages file: cuts by hand, as YAML (docs/cli.md, "stages file").
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "partition/plan.h"

namespace onnx_split {

struct StageRequest {
  std::vector<std::string> until;  // empty: the rest of the network
  // Every layer with weights of the rest is a stage of its own (of channel_pair: every two), whole where the split
  // doesn't apply.
  bool each_layer = false;
  Split split = Split::kWhole;
  std::size_t ways = 1;
  Grid grid;                          // spatial: rows · columns == ways
  std::vector<std::int64_t> weights;  // of each part's share; empty: by the devices' speeds
  std::size_t replicas = 1;
  Spare spare = Spare::kNone;
  std::vector<std::string> devices;  // empty: the planner chooses

  // With the spare ones, each of all the replicas.
  std::size_t parts() const;
  std::size_t device_count() const { return parts() * replicas; }
};

// Errors name the file, the line and the field. Unknown fields are refused.
Expected<std::vector<StageRequest>> read_stages_file(const std::filesystem::path& path);
Expected<std::vector<StageRequest>> parse_stages(std::string_view text, const std::string& file_name);

}  // namespace onnx_split
