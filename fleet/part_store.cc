#include "fleet/part_store.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

namespace onnx_split {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kHashDigits = 64;
constexpr std::string_view kIncomingPrefix = ".onnx-split-incoming-";  // no name that anybody else would think of
constexpr std::array kBothFiles = {PartFile::kModel, PartFile::kWeights};

fs::path file_in(const fs::path& folder, PartFile file) {
  return folder / (file == PartFile::kModel ? "model.onnx" : std::string(kStoredWeightsName));
}

bool is_hash(std::string_view text) {
  return text.size() == kHashDigits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Expected<void> make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error) return {};
  return fail(error == std::errc::no_space_on_device ? ErrorCode::kExhausted : ErrorCode::kIo,
              "{}: cannot create folder: {}", path.string(), error.message());
}

std::uint64_t bytes_in(const fs::path& folder) {
  std::uint64_t bytes = 0;
  for (const PartFile file : kBothFiles) {
    std::error_code ignored;  // a file that has gone has no bytes
    const std::uintmax_t size = fs::file_size(file_in(folder, file), ignored);
    if (!ignored) bytes += size;
  }
  return bytes;
}

Expected<ContentHash> hash_of(const fs::path& path) {
  TRY_ASSIGN(const Buffer bytes, map_file(path));
  ContentHash hash;
  hash.update(bytes.bytes());
  return hash;
}

Expected<std::string> hash_in(const fs::path& folder) {
  TRY_ASSIGN(const ContentHash model, hash_of(file_in(folder, PartFile::kModel)));
  TRY_ASSIGN(const ContentHash weights, hash_of(file_in(folder, PartFile::kWeights)));
  return part_hash(model, weights);
}

// The parts that stores of this process have. One of an ended deployment may be left in the background, with parts that
// it mustn't take away from the next one's.
class PartsInUse {
 public:
  // Held while what is there is looked at and changed.
  std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }

  // With the lock.
  std::shared_ptr<const void> add(const fs::path& folder) {
    auto use = std::make_shared<Use>(*this);
    use->place = folders_.insert(folder);
    return use;
  }
  bool has(const fs::path& folder) const { return folders_.contains(folder); }

 private:
  struct Use {
    explicit Use(PartsInUse& parts) : all(parts) {}
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use() {
      if (!place) return;
      const std::scoped_lock lock(all.mutex_);
      all.folders_.erase(*place);
    }
    PartsInUse& all;
    std::optional<std::multiset<fs::path>::iterator> place;
  };

  std::mutex mutex_;
  std::multiset<fs::path> folders_;
};

PartsInUse& parts_in_use() {
  static PartsInUse parts;
  return parts;
}

}  // namespace

std::string_view part_file_name(PartFile file) { return file == PartFile::kModel ? "model" : "weights"; }

Expected<PartFile> part_file_from_name(std::string_view name) {
  for (const PartFile file : kBothFiles) {
    if (name == part_file_name(file)) return file;
  }
  return fail(ErrorCode::kInvalid, "part file \"{}\": expected model or weights", name);
}

std::string part_hash(const ContentHash& model, const ContentHash& weights) { return model.hex() + weights.hex(); }

Expected<PartStore> PartStore::create(const fs::path& model_dir, std::uint64_t epoch, std::uint64_t max_bytes,
                                      std::uint64_t keep_bytes) {
  const fs::path parts = model_dir / "parts";
  TRY(make_folder(parts));
  const fs::path incoming = model_dir / fmt::format("{}{:x}-{}", kIncomingPrefix, epoch, ::getpid());
  std::error_code error;
  if (!fs::create_directory(incoming, error)) {
    return fail(error == std::errc::no_space_on_device ? ErrorCode::kExhausted : ErrorCode::kIo,
                "{}: cannot create folder: {}", incoming.string(), error ? error.message() : "it exists");
  }
  for (const fs::path& folder : {incoming, parts}) fs::permissions(folder, fs::perms::owner_all, error);
  return PartStore(Folders(incoming, parts, keep_bytes), max_bytes);
}

void PartStore::remove_leftovers(const fs::path& model_dir) {
  std::error_code ignored;  // there is no folder yet, or what can't be removed stays
  for (fs::directory_iterator entry(model_dir, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    if (!entry->path().filename().string().starts_with(kIncomingPrefix)) continue;
    const auto nobody_uses_it = FolderLock::try_take(entry->path());
    std::error_code unremovable;
    if (nobody_uses_it) fs::remove_all(entry->path(), unremovable);
  }
}

PartStore::Folders::~Folders() {
  if (incoming.empty()) return;
  std::error_code ignored;  // a destructor has nobody to tell
  {
    const auto lock = parts_in_use().lock();
    std::vector<std::pair<fs::file_time_type, fs::path>> kept;
    for (fs::directory_iterator entry(parts, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
      std::error_code untold;
      if (is_hash(entry->path().filename().string())) kept.emplace_back(entry->last_write_time(untold), entry->path());
    }
    std::sort(kept.rbegin(), kept.rend());  // the newest first
    std::uint64_t bytes = 0;
    for (const auto& [time, path] : kept) {
      bytes += bytes_in(path);
      if (parts_in_use().has(path)) continue;
      // Only moved as yet: removing takes a disk its time, and others wait for the lock.
      if (bytes > keep_bytes || keep_bytes == 0) fs::rename(path, incoming / path.filename(), ignored);
    }
    if (keep_bytes == 0) fs::remove(parts, ignored);
  }
  fs::remove_all(incoming, ignored);
}

fs::path PartStore::incoming_path(PartId part) const {
  return folders_.incoming / fmt::format("stage{}_part{}", part.stage, part.part);
}

Expected<void> PartStore::count(PartId part, std::uint64_t bytes) {
  if (max_bytes_ > 0 && (bytes > max_bytes_ || promised_bytes_ > max_bytes_ - bytes)) {
    return fail(ErrorCode::kExhausted, "{}: the part files have over {} bytes, the memory limit", to_string(part),
                max_bytes_);
  }
  promised_bytes_ += bytes;
  return {};
}

Expected<bool> PartStore::expect(PartId part, const std::string& hash) {
  if (!is_hash(hash)) return fail(ErrorCode::kInvalid, "{}: \"{}\" isn't a hash", to_string(part), hash.substr(0, 80));
  const auto [place, is_new] = parts_.try_emplace(part);
  if (!is_new) return fail(ErrorCode::kInvalid, "{} is announced twice", to_string(part));
  Announced& announced = place->second;
  announced.hash = hash;
  const fs::path folder = folders_.parts / hash;
  const auto lock = parts_in_use().lock();
  if (!fs::exists(file_in(folder, PartFile::kModel))) return false;
  TRY(count(part, bytes_in(folder)));
  std::error_code ignored;  // then it is thrown away a little earlier
  fs::last_write_time(folder, fs::file_time_type::clock::now(), ignored);
  announced.use = parts_in_use().add(folder);
  announced.here = announced.kept = true;
  return true;
}

std::vector<PartId> PartStore::missing() const {
  std::vector<PartId> missing;
  for (const auto& [id, announced] : parts_) {
    if (!announced.here) missing.push_back(id);
  }
  return missing;
}

const std::string* PartStore::awaited_hash(PartId part) const {
  const auto announced = parts_.find(part);
  return announced == parts_.end() || announced->second.here ? nullptr : &announced->second.hash;
}

void PartStore::discard_incomplete() {
  for (auto& [id, announced] : parts_) {
    if (announced.here || announced.files.empty()) continue;
    for (const auto& [file, incoming] : announced.files) promised_bytes_ -= incoming.total;
    announced.files.clear();
    std::error_code ignored;  // what stays goes with the store
    fs::remove_all(incoming_path(id), ignored);
  }
}

Expected<void> PartStore::begin(PartId part, PartFile file, std::uint64_t total) {
  const fs::path folder = incoming_path(part);
  TRY(make_folder(folder));
  TRY_ASSIGN(AtomicFile created, AtomicFile::create(file_in(folder, file)));
  TRY(count(part, total));
  Incoming& incoming = parts_.at(part).files[file];
  incoming.file.emplace(std::move(created));
  incoming.total = total;
  return {};
}

Expected<void> PartStore::append(PartId part, PartFile file, std::uint64_t offset, std::uint64_t total,
                                 std::span<const std::byte> piece) {
  const auto announced = parts_.find(part);
  if (announced == parts_.end() || announced->second.here) {
    return fail(ErrorCode::kInvalid, "{}: {}", to_string(part),
                announced == parts_.end() ? "it wasn't announced" : "it is here already");
  }
  std::map<PartFile, Incoming>& files = announced->second.files;
  if (!files.contains(file)) TRY(begin(part, file, total));
  Incoming& incoming = files.at(file);
  if (!incoming.file || total != incoming.total || offset != incoming.received ||
      piece.size() > incoming.total - incoming.received) {
    return fail(ErrorCode::kInvalid, "{}: {} piece at {} of {}: {} of {} bytes have come", to_string(part),
                part_file_name(file), offset, total, incoming.received, incoming.total);
  }
  auto written = incoming.file->write(piece);
  if (written) {
    incoming.hash.update(piece);
    incoming.received += piece.size();
  }
  if (written && incoming.received == incoming.total) {
    written = incoming.file->commit();
    incoming.complete = written.has_value();
    incoming.file.reset();
  }
  if (!written) {
    incoming.file.reset();  // it takes no more pieces
    return written;
  }
  const bool both = std::all_of(kBothFiles.begin(), kBothFiles.end(), [&](PartFile each) {
    const auto found = files.find(each);
    return found != files.end() && found->second.complete;
  });
  return both ? complete(part) : Expected<void>();
}

Expected<void> PartStore::complete(PartId part) {
  Announced& announced = parts_.at(part);
  const std::string hash =
      part_hash(announced.files.at(PartFile::kModel).hash, announced.files.at(PartFile::kWeights).hash);
  if (hash != announced.hash) {
    return fail(ErrorCode::kInvalid, "{}: its hash is {}, {} was announced", to_string(part), hash, announced.hash);
  }
  const fs::path folder = folders_.parts / hash;
  const auto lock = parts_in_use().lock();
  TRY(make_folder(folders_.parts));  // a store that ended may have been the last
  std::error_code error;
  fs::remove_all(folder, error);  // of the same part, announced twice in one deployment; or what is left of one
  fs::rename(incoming_path(part), folder, error);
  if (error) return fail(ErrorCode::kIo, "{}: {}", folder.string(), error.message());
  announced.use = parts_in_use().add(folder);
  announced.here = true;
  return {};
}

Expected<fs::path> PartStore::model_path(PartId part) const {
  const auto found = parts_.find(part);
  if (found == parts_.end() || !found->second.here) {
    for (const PartFile file : kBothFiles) {
      const bool is_here =
          found != parts_.end() && found->second.files.contains(file) && found->second.files.at(file).complete;
      if (is_here) continue;
      return fail(ErrorCode::kInvalid, "{}: its {} file hasn't come whole", to_string(part), part_file_name(file));
    }
    return fail(ErrorCode::kInvalid, "{}: it isn't what was announced", to_string(part));
  }
  const fs::path folder = folders_.parts / found->second.hash;
  if (found->second.kept) {
    const auto hash = hash_in(folder);
    if (!hash || *hash != found->second.hash) {
      std::error_code ignored;  // the error that follows says enough
      fs::remove_all(folder, ignored);
      return fail(ErrorCode::kIo, "{}: {} was changed on the disk", to_string(part), folder.string());
    }
  }
  return file_in(folder, PartFile::kModel);
}

}  // namespace onnx_split
