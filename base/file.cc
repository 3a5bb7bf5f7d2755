#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <utility>

namespace onnx_split {
namespace {

tl::unexpected<Error> io_error(const std::filesystem::path& path, std::string_view what, int error) {
  ErrorCode code = ErrorCode::kIo;
  if (error == ENOENT || error == ENOTDIR) code = ErrorCode::kNotFound;
  if (error == ENOSPC || error == EDQUOT || error == ENOMEM || error == EMFILE) code = ErrorCode::kExhausted;
  return fail(code, "{}: cannot {}: {}", path.string(), what, errno_message(error));
}

struct Descriptor {
  int fd = -1;
  explicit Descriptor(int descriptor) : fd(descriptor) {}
  Descriptor(Descriptor&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

struct OpenedFile {
  Descriptor descriptor;
  std::uint64_t size_bytes;
};

// O_NONBLOCK: a named pipe must not hang us before fstat can refuse it.
Expected<OpenedFile> open_regular(const std::filesystem::path& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0) return io_error(path, "open", errno);
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) return io_error(path, "inspect", errno);
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::kInvalid, "{}: not a regular file", path.string());
  return OpenedFile{std::move(file), static_cast<std::uint64_t>(status.st_size)};
}

}  // namespace

Expected<std::string> read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  TRY_ASSIGN(OpenedFile file, open_regular(path));
  if (file.size_bytes > max_bytes) {
    return fail(ErrorCode::kExhausted, "{}: {} bytes, at most {} are read", path.string(), file.size_bytes, max_bytes);
  }
  std::string text(file.size_bytes, '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::read(file.descriptor.fd, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return io_error(path, "read", errno);
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  text.resize(done);
  return text;
}

Expected<Buffer> map_file(const std::filesystem::path& path) {
  TRY_ASSIGN(OpenedFile file, open_regular(path));
  if (file.size_bytes == 0) return Buffer{};
  const std::size_t size = file.size_bytes;
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.descriptor.fd, 0);
  if (address == MAP_FAILED) return io_error(path, "map", errno);
  std::shared_ptr<const void> owner(address, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  return Buffer({static_cast<const std::byte*>(address), size}, std::move(owner), true);
}

Expected<AtomicFile> AtomicFile::create(const std::filesystem::path& path, Access access) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::string temporary = (folder / (".tmp-" + path.filename().string() + "-XXXXXX")).string();
  const int descriptor = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (descriptor < 0) return io_error(path, "create", errno);
  // mkostemp makes 0600.
  if (access == Access::kAsUsual) {
    const mode_t mask = ::umask(0);
    ::umask(mask);
    ::fchmod(descriptor, 0666 & ~mask);
  }
  return AtomicFile(path, temporary, descriptor);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

Expected<void> AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return io_error(path_, "write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Expected<void> AtomicFile::write(std::string_view text) {
  return write(std::as_bytes(std::span(text.data(), text.size())));
}

Expected<void> AtomicFile::pad(std::size_t count) {
  static constexpr std::array<std::byte, 4096> kZeros{};
  while (count > 0) {
    const std::size_t now = std::min(count, kZeros.size());
    TRY(write(std::span(kZeros).first(now)));
    count -= now;
  }
  return {};
}

Expected<void> AtomicFile::commit() {
  // Some file systems report a full disk only at close.
  if (::close(std::exchange(descriptor_, -1)) != 0) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    return io_error(path_, "write", error);
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    return io_error(path_, "create", error);
  }
  return {};
}

namespace {

Expected<void> write_whole(const std::filesystem::path& path, std::string_view text, AtomicFile::Access access) {
  TRY_ASSIGN(AtomicFile file, AtomicFile::create(path, access));
  TRY(file.write(text));
  return file.commit();
}

}  // namespace

Expected<void> write_file(const std::filesystem::path& path, std::string_view text) {
  return write_whole(path, text, AtomicFile::Access::kAsUsual);
}

Expected<void> write_private_file(const std::filesystem::path& path, std::string_view text) {
  return write_whole(path, text, AtomicFile::Access::kOwnerOnly);
}

Expected<TemporaryDirectory> TemporaryDirectory::create(std::string_view prefix) {
  std::error_code error;
  const std::filesystem::path base = std::filesystem::temp_directory_path(error);
  if (error) return fail(ErrorCode::kIo, "no temporary folder: {}", error.message());
  std::string path = (base / (std::string(prefix) + "-XXXXXX")).string();
  if (::mkdtemp(path.data()) == nullptr) return io_error(path, "create folder", errno);
  return TemporaryDirectory(path);
}

TemporaryDirectory::~TemporaryDirectory() {
  if (path_.empty()) return;
  std::error_code ignored;  // a destructor has nobody to tell
  std::filesystem::remove_all(path_, ignored);
}

std::optional<FolderLock> FolderLock::try_take(const std::filesystem::path& folder) {
  FolderLock lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (lock.descriptor_ < 0 || ::flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0) return std::nullopt;
  return lock;
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace onnx_split
