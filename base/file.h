// Files: reading whole ones, mapping large ones, and writing so that a failure leaves nothing half-written behind;
// folders that have one owner.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/buffer.h"
#include "base/error.h"

namespace onnx_split {

// The whole of a regular file. Errors name the path; a file over `max_bytes` is refused unread.
Expected<std::string> read_file(const std::filesystem::path& path, std::uint64_t max_bytes = 64ULL << 20);

// A regular file mapped read-only and shared; pages are read when touched. An empty file is an empty buffer.
// The mapping lives as long as the Buffer (or a part of it) does.
Expected<Buffer> map_file(const std::filesystem::path& path);

// A file that appears under its name only when commit() succeeds; until then it is a temporary file beside it, removed
// by the destructor. Not thread-safe.
class AtomicFile {
 public:
  enum class Access : std::uint8_t { kAsUsual, kOwnerOnly };  // what open() gives; 0600
  static Expected<AtomicFile> create(const std::filesystem::path& path, Access access = Access::kAsUsual);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  // Appends. After an error the file can only be dropped.
  Expected<void> write(std::span<const std::byte> bytes);
  Expected<void> write(std::string_view text);
  // Puts `count` zero bytes.
  Expected<void> pad(std::size_t count);
  // Flushes and renames over `path`.
  Expected<void> commit();

 private:
  AtomicFile(std::filesystem::path path, std::filesystem::path temporary, int descriptor)
      : path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor) {}

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

// create + write + commit.
Expected<void> write_file(const std::filesystem::path& path, std::string_view text);
// The same for a secret: at no time can anybody but its owner read it (0600).
Expected<void> write_private_file(const std::filesystem::path& path, std::string_view text);

// A fresh private folder (0700) under the system's temporary folder, removed with all it holds by the destructor.
class TemporaryDirectory {
 public:
  static Expected<TemporaryDirectory> create(std::string_view prefix);
  TemporaryDirectory(TemporaryDirectory&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  TemporaryDirectory& operator=(TemporaryDirectory&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~TemporaryDirectory();

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit TemporaryDirectory(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

// A folder that is in use, until the object or its process ends, however that ends. It keeps out only who asks.
class FolderLock {
 public:
  // Nothing if somebody has it, if there is no folder of that name (a link isn't one), or if its file system has no
  // locks.
  static std::optional<FolderLock> try_take(const std::filesystem::path& folder);
  FolderLock(FolderLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace onnx_split
