// Where a runner keeps the part files that a coordinator sends: a private folder below the model folder, one folder a
// part, with names of its own choosing (no path is ever taken from the wire). Removed with all it holds by the
// destructor; weights that are mapped stay usable. Not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "base/file.h"
#include "partition/plan.h"

namespace onnx_split {

enum class PartFile : std::uint8_t { kModel, kWeights };
std::string_view part_file_name(PartFile file);  // "model", "weights": on the wire
Expected<PartFile> part_file_from_name(std::string_view name);

// The name that a part's ONNX file must use for its external data.
inline constexpr std::string_view kStoredWeightsName = "model.weights";

class PartStore {
 public:
  // `max_bytes`: the most that all files together may have (0: no limit).
  static Expected<PartStore> create(const std::filesystem::path& model_dir, std::uint64_t epoch,
                                    std::uint64_t max_bytes);
  PartStore(PartStore&& other) noexcept = default;
  PartStore& operator=(PartStore&&) = delete;

  // Appends a piece. Pieces of a file come in order; the file is there when `total` bytes have come; after an error it
  // takes no more. A full disk is kExhausted, and names the file.
  Expected<void> append(PartId part, PartFile file, std::uint64_t offset, std::uint64_t total,
                        std::span<const std::byte> piece);

  // The part's ONNX file. kInvalid if it or its weights haven't come whole.
  Expected<std::filesystem::path> model_path(PartId part) const;

 private:
  struct Incoming {
    std::optional<AtomicFile> file;  // while pieces may come
    std::uint64_t received = 0;
    std::uint64_t total = 0;
    bool complete = false;
  };

  PartStore(std::filesystem::path folder, std::uint64_t max_bytes)
      : folder_(std::move(folder)), max_bytes_(max_bytes) {}
  std::filesystem::path path_of(PartId part, PartFile file) const;
  Expected<void> begin(PartId part, PartFile file, std::uint64_t total);

  struct Folder {  // movable owner: a moved-from store removes nothing
    explicit Folder(std::filesystem::path p) : path(std::move(p)) {}
    Folder(Folder&& other) noexcept : path(std::move(other.path)) { other.path.clear(); }
    ~Folder();
    std::filesystem::path path;
  };

  Folder folder_;
  std::uint64_t max_bytes_;
  std::uint64_t promised_bytes_ = 0;
  std::map<std::pair<PartId, PartFile>, Incoming> incoming_;
};

}  // namespace onnx_split
