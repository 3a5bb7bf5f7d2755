// Bytes that nobody changes, with shared ownership of whatever keeps them alive: a heap block, a mapped file, a
// received message. Copying a Buffer copies a pointer. Thread-safe as a shared_ptr is.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace onnx_split {

inline constexpr std::size_t kBufferAlignment = 64;
inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

class Buffer {
 public:
  Buffer() = default;
  // `owner` keeps `bytes` alive. `mapped`: they are of a file, mapped and never written.
  Buffer(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, bool mapped = false)
      : bytes_(bytes), owner_(std::move(owner)), mapped_(mapped) {}

  std::span<const std::byte> bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool mapped() const { return mapped_; }
  Buffer sub(std::size_t offset, std::size_t size) const { return {bytes_.subspan(offset, size), owner_, mapped_}; }

  // Gives back the memory of a mapped file's whole pages, which come back from the file when they are read again.
  void give_back_pages() const;

 private:
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
  bool mapped_ = false;
};

// A block that is filled once and then frozen into a Buffer. Aligned to kBufferAlignment; the bytes are uninitialised
// unless `zeroed`. For the whole huge pages in it the kernel is asked for them, as for a session's weights
// (engine/page_pool.h): large weights that are measured in such a block are as fast there as in a session.
class MutableBuffer {
 public:
  explicit MutableBuffer(std::size_t size, bool zeroed = false);
  std::span<std::byte> bytes() { return {data_.get(), size_}; }
  Buffer freeze() && { return {{data_.get(), size_}, std::move(data_)}; }

 private:
  std::shared_ptr<std::byte> data_;
  std::size_t size_;
};

// Zeros that occupy no memory until somebody reads them.
Buffer untouched_zeros(std::size_t size);

}  // namespace onnx_split
