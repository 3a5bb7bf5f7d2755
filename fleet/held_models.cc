#include "fleet/held_models.h"

#include <algorithm>
#include <new>
#include <set>
#include <system_error>

#include "base/log.h"
#include "fleet/part_pieces.h"
#include "graph/passes/passes.h"
#include "onnx_import/export.h"
#include "onnx_import/import.h"
#include "partition/extract.h"
#include "partition/shares.h"

namespace onnx_split {
namespace {

namespace fs = std::filesystem;

// Bytes of the copies that simplify() may make: nodes of constants are folded, and BatchNormalization goes into the
// weights before it. But not what a constant grows by.
std::uint64_t folded_bytes(const Graph& graph) {
  const auto is_constant = [&](ValueId id) { return graph.value(id).constant.has_value(); };
  const bool folds = std::any_of(graph.nodes().begin(), graph.nodes().end(), [&](const Node& node) {
    return node.op == OpType::kBatchNormalization || std::all_of(node.inputs.begin(), node.inputs.end(), is_constant);
  });
  std::uint64_t bytes = 0;
  for (const Value& value : graph.values()) {
    if (folds && value.constant) bytes += value.type.size_bytes();
  }
  return bytes;
}

class Cutter {
 public:
  Cutter(const Plan& plan, const CutOptions& options, PartStore& store)
      : plan_(plan), options_(options), store_(store) {}

  Expected<void> check_goes_on() const {
    if (!options_.stop.stop_requested()) return {};
    return fail(ErrorCode::kCancelled, "the deployment has ended while its parts were cut");
  }

  // An error says why no part, or no further one, can be cut from it.
  Expected<void> cut_from(const fs::path& path) {
    TRY_ASSIGN(const Graph graph, read(path));
    TRY(check_plan(plan_, graph));
    const std::vector<std::int64_t> units = channel_units(graph);
    std::set<std::size_t> stages;
    for (const PartId id : store_.missing()) stages.insert(id.stage);
    for (const std::size_t stage : stages) {
      TRY(check_goes_on());
      TRY_ASSIGN(const std::uint64_t copied, copied_weight_bytes(graph, plan_, stage, units));
      if (const auto room = check_fits(copied); !room) {
        log_info("{}: stage {} isn't cut from it: {}", path.string(), stage, room.error().message);
        continue;
      }
      TRY_ASSIGN(const std::vector<PartGraph> parts, extract_stage(graph, plan_, stage, units));
      for (const PartGraph& part : parts) TRY(keep(part, path));
    }
    return {};
  }

 private:
  Expected<Graph> read(const fs::path& path) {
    std::error_code error;
    held_bytes_ = fs::file_size(path, error);
    if (error) return fail(ErrorCode::kIo, "{}", error.message());
    TRY(check_fits(0));
    ImportOptions import_options;
    import_options.batch = options_.batch;
    import_options.simplify = false;
    TRY_ASSIGN(const Graph graph, import_onnx(path, import_options));
    held_bytes_ += folded_bytes(graph);
    TRY(check_fits(0));
    TRY(check_goes_on());
    return simplify(graph);
  }
  Expected<void> check_fits(std::uint64_t more) const {
    const std::uint64_t most = options_.max_memory_bytes;
    if (most == 0 || (held_bytes_ <= most && more <= most - held_bytes_)) return {};
    return fail(ErrorCode::kExhausted, "that takes {} bytes, more than the memory limit leaves, {}", held_bytes_ + more,
                most);
  }
  Expected<void> keep(const PartGraph& part, const fs::path& path) {
    const std::string* awaited = store_.awaited_hash(part.id);
    if (awaited == nullptr) return {};
    TRY_ASSIGN(const ExportedModel model, export_onnx(part.graph, std::string(kStoredWeightsName)));
    if (*awaited != part_hash_of(model)) {
      log_info("{}: its {} isn't what was announced: other weights, or another version", path.string(),
               to_string(part.id));
      return {};
    }
    const auto take = [&](PartFile file, std::uint64_t offset, std::uint64_t total,
                          std::span<const std::byte> piece) -> Expected<void> {
      TRY(check_goes_on());
      return store_.append(part.id, file, offset, total, piece);
    };
    TRY(for_each_piece(model, take));
    log_debug("{}: {} cut", path.string(), to_string(part.id));
    return {};
  }

  const Plan& plan_;
  const CutOptions& options_;
  PartStore& store_;
  std::uint64_t held_bytes_ = 0;  // of the model that is read
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
    Expected<void> cut;
    try {
      cut = cutter.cut_from(path);
    } catch (const std::bad_alloc&) {
      cut = fail(ErrorCode::kExhausted, "out of memory");
    }
    store.discard_incomplete();
    TRY(cutter.check_goes_on());
    if (!cut) log_info("{}: nothing (more) is cut from it: {}", path.string(), cut.error().message);
  }
  return {};
}

}  // namespace onnx_split
