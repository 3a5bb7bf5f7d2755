// Where a runner keeps the parts that a coordinator sends: in a folder of its own, under names of its own choosing (no
// path is ever taken from the wire). A part is known by the hash of its files, so one that is here already needn't be
// sent again: in the next epoch after a loss, or the next time that somebody runs the same plan.
//
// The destructor removes what came only in part, and of the rest, the longest unused first, what is more than may be
// kept; weights that are mapped stay usable. One runner a folder, which may have several stores there: one that ends
// leaves what another one has. A store isn't thread-safe; two of them are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "partition/plan.h"

namespace onnx_split {

enum class PartFile : std::uint8_t { kModel, kWeights };
std::string_view part_file_name(PartFile file);  // "model", "weights": on the wire
Expected<PartFile> part_file_from_name(std::string_view name);

// The name that a part's ONNX file must use for its external data.
inline constexpr std::string_view kStoredWeightsName = "model.weights";

// A part's name: the hashes of its model and of its weights, 64 hexadecimal digits.
std::string part_hash(const ContentHash& model, const ContentHash& weights);

class PartStore {
 public:
  // `max_bytes`: the most that the files of one deployment may have (0: no limit); `keep_bytes`: the most that is kept
  // when it ends.
  static Expected<PartStore> create(const std::filesystem::path& model_dir, std::uint64_t epoch,
                                    std::uint64_t max_bytes, std::uint64_t keep_bytes = 0);
  // Removes what processes that were killed have left there of parts that came only in part; nothing of one that lives,
  // and no file or folder of another name than a store's own.
  static void remove_leftovers(const std::filesystem::path& model_dir);
  PartStore(PartStore&& other) noexcept = default;
  PartStore& operator=(PartStore&&) = delete;

  // Announces a part of this deployment. True: it is here, and takes no pieces. kInvalid if that isn't a hash, or the
  // part was announced already.
  Expected<bool> expect(PartId part, const std::string& hash);

  // Those that were announced and aren't here, in order.
  std::vector<PartId> missing() const;
  // The hash that a part which was announced and isn't here must have; null for any other.
  const std::string* awaited_hash(PartId part) const;

  // Appends a piece of a part that was announced and isn't here. Pieces of a file come in order; the file is there when
  // `total` bytes have come, and the part when both are and have the hash that was announced; after an error it takes
  // no more. A full disk is kExhausted, and names the file.
  Expected<void> append(PartId part, PartFile file, std::uint64_t offset, std::uint64_t total,
                        std::span<const std::byte> piece);

  // Forgets what has come of parts that aren't here: they may come anew.
  void discard_incomplete();

  // The part's ONNX file. kInvalid if it or its weights haven't come whole. What was kept is compared with its hash,
  // and removed if a disk has changed it.
  Expected<std::filesystem::path> model_path(PartId part) const;

 private:
  struct Incoming {
    std::optional<AtomicFile> file;  // while pieces may come
    ContentHash hash;
    std::uint64_t received = 0;
    std::uint64_t total = 0;
    bool complete = false;
  };
  struct Announced {
    std::string hash;
    bool here = false;
    bool kept = false;  // from an earlier deployment
    std::map<PartFile, Incoming> files;
    std::shared_ptr<const void> use;  // while it is here: no other store of this process removes it
  };
  struct Folders {  // movable owner: a moved-from store removes nothing
    Folders(std::filesystem::path i, std::filesystem::path p, std::uint64_t k)
        : incoming(std::move(i)), parts(std::move(p)), keep_bytes(k), in_use(FolderLock::try_take(incoming)) {}
    Folders(Folders&& other) noexcept
        : incoming(std::exchange(other.incoming, {})),
          parts(std::move(other.parts)),
          keep_bytes(other.keep_bytes),
          in_use(std::move(other.in_use)) {}
    ~Folders();
    std::filesystem::path incoming;
    std::filesystem::path parts;
    std::uint64_t keep_bytes;
    std::optional<FolderLock> in_use;  // of `incoming`, for remove_leftovers()
  };

  PartStore(Folders folders, std::uint64_t max_bytes) : folders_(std::move(folders)), max_bytes_(max_bytes) {}
  std::filesystem::path incoming_path(PartId part) const;
  Expected<void> begin(PartId part, PartFile file, std::uint64_t total);
  Expected<void> complete(PartId part);
  Expected<void> count(PartId part, std::uint64_t bytes);

  Folders folders_;
  std::uint64_t max_bytes_;
  std::uint64_t promised_bytes_ = 0;
  std::map<PartId, Announced> parts_;
};

}  // namespace onnx_split
