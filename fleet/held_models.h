// Models that lie in a runner's folder, put there by whoever set the device up: parts that can be cut out of them
// needn't be sent. No model is named on the wire: what has the hash that the coordinator announced is the part,
// wherever it comes from. Pure functions, but for the store.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <vector>

#include "fleet/part_store.h"
#include "partition/plan.h"

namespace onnx_split {

// The ONNX files in a folder, not in folders below it, by name; none if it can't be read.
std::vector<std::filesystem::path> models_in(const std::filesystem::path& folder);

struct CutOptions {
  std::int64_t batch = 1;  // what a model's symbolic batch dimension becomes
  // The most that may be in memory of a model and its parts: a file's own weights (others are mapped), copies where
  // something is folded, copies of slices. 0: no limit.
  std::uint64_t max_memory_bytes = 0;
  std::stop_token stop;  // gives up with kCancelled
};

// Cuts what the store still awaits, stage by stage, and gives it to the store. The plan names its stages' nodes. Parts
// that can't be cut stay missing, whatever the reason, with a line in the log: a model that can't be read, that the
// plan doesn't fit, that has other weights or changes meanwhile, a full disk, too little memory. The only error is
// kCancelled.
Expected<void> cut_from_models(const std::vector<std::filesystem::path>& models, const Plan& plan,
                               const CutOptions& options, PartStore& store);

}  // namespace onnx_split
