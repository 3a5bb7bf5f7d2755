#include "fleet/held_models.h"

#include <algorithm>
#include <set>
#include <system_error>

#include "base/log.h"
#include "fleet/part_pieces.h"
#include "onnx_import/export.h"
#include "onnx_import/import.h"
#include "partition/extract.h"
#include "partition/shares.h"

namespace onnx_split {
namespace {

namespace fs = std::filesystem;

// Bytes that the stage's parts together may take while they are cut: slices that aren't one run of the model's memory
// are copies, and parity is a sum. A bound: not each of its splits copies every weight.
std::uint64_t copied_bytes(const Graph& graph, const Stage& stage) {
  if (stage.split == Split::kWhole || stage.split == Split::kSpatial) return 0;
  std::set<ValueId> constants;
  std::uint64_t bytes = 0;
  for (const std::string& name : stage.nodes) {
    for (const ValueId input : graph.node(*graph.find_node(name)).inputs) {
      const Value& value = graph.value(input);
      if (value.constant && constants.insert(input).second) bytes += value.type.size_bytes();
    }
  }
  return stage.spare == Spare::kParity ? 2 * bytes : bytes;
}

class Cutter {
 public:
  Cutter(const Plan& plan, const CutOptions& options, PartStore& store)
      : plan_(plan), options_(options), store_(store) {}

  // Gives false, having said why, where the model isn't of use.
  Expected<bool> cut_from(const fs::path& path) {
    std::error_code error;
    held_bytes_ = fs::file_size(path, error);  // weights in the file are held in memory, others mapped
    if (error) return not_of_use(path, error.message());
    if (!fits(0)) return not_of_use(path, "reading it takes more than the memory limit");
    ImportOptions import_options;
    import_options.batch = options_.batch;
    const auto graph = import_onnx(path, import_options);
    if (!graph) return not_of_use(path, graph.error().message);
    const auto fitting = check_plan(plan_, *graph);
    if (!fitting) return not_of_use(path, fitting.error().message);
    const std::vector<std::int64_t> units = channel_units(*graph);
    std::set<std::size_t> stages;
    for (const PartId id : store_.missing()) stages.insert(id.stage);
    for (const std::size_t stage : stages) {
      TRY(check_goes_on());
      if (!fits(copied_bytes(*graph, plan_.stages[stage]))) {
        spdlog::info("{}: cutting stage {} takes more than the memory limit; its parts must be sent", path.string(),
                     stage);
        continue;
      }
      const auto parts = extract_stage(*graph, plan_, stage, units);
      if (!parts) return not_of_use(path, parts.error().message);
      for (const PartGraph& part : *parts) TRY(keep(part, path));
    }
    return true;
  }

 private:
  Expected<void> check_goes_on() const {
    if (!options_.stop.stop_requested()) return {};
    return fail(ErrorCode::kCancelled, "the deployment has ended while its parts were cut");
  }
  static bool not_of_use(const fs::path& path, const std::string& why) {
    spdlog::info("{}: no part is cut from it: {}", path.string(), why);
    return false;
  }
  bool fits(std::uint64_t more) const {
    return options_.max_memory_bytes == 0 ||
           (held_bytes_ <= options_.max_memory_bytes && more <= options_.max_memory_bytes - held_bytes_);
  }
  Expected<void> keep(const PartGraph& part, const fs::path& path) {
    const std::string* awaited = store_.awaited_hash(part.id);
    if (awaited == nullptr) return {};
    TRY_ASSIGN(const ExportedModel model, export_onnx(part.graph, std::string(kStoredWeightsName)));
    if (*awaited != part_hash_of(model)) {
      spdlog::info("{}: its {} isn't what was announced: other weights, or another version", path.string(),
                   to_string(part.id));
      return {};
    }
    const auto take = [&](PartFile file, std::uint64_t offset, std::uint64_t total,
                          std::span<const std::byte> piece) -> Expected<void> {
      TRY(check_goes_on());
      return store_.append(part.id, file, offset, total, piece);
    };
    TRY(for_each_piece(model, take));
    spdlog::debug("{}: {} cut", path.string(), to_string(part.id));
    return {};
  }

  const Plan& plan_;
  const CutOptions& options_;
  PartStore& store_;
  std::uint64_t held_bytes_ = 0;
};

}  // namespace

std::vector<fs::path> models_in(const fs::path& folder) {
  std::vector<fs::path> models;
  std::error_code ignored;  // there is none, then
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    std::error_code unreadable;
    if (entry->path().extension() == ".onnx" && entry->is_regular_file(unreadable)) models.push_back(entry->path());
  }
  std::sort(models.begin(), models.end());
  return models;
}

Expected<void> cut_from_models(const std::vector<fs::path>& models, const Plan& plan, const CutOptions& options,
                               PartStore& store) {
  Cutter cutter(plan, options, store);
  for (const fs::path& path : models) {
    if (store.missing().empty()) break;
    TRY(cutter.cut_from(path));
  }
  return {};
}

}  // namespace onnx_split
