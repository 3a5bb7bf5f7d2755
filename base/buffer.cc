#include "base/buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>

namespace onnx_split {

void Buffer::give_back_pages() const {
  if (!mapped_ || bytes_.empty()) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(bytes_.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(bytes_.data() + bytes_.size()) / page * page;
  // A hint: nothing depends on it.
  if (begin < end) (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

MutableBuffer::MutableBuffer(std::size_t size, bool zeroed) : size_(size) {
  const bool large = size >= 2 * kHugePageBytes;
  const auto alignment = std::align_val_t{large ? kHugePageBytes : kBufferAlignment};
  data_ = std::shared_ptr<std::byte>(static_cast<std::byte*>(::operator new(size + 1, alignment)),
                                     [alignment](std::byte* p) { ::operator delete(p, alignment); });
  // A hint. Whole huge pages only, so that no more memory is taken than is asked for.
  if (large) (void)::madvise(data_.get(), size / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
  if (zeroed) std::memset(data_.get(), 0, size);
}

Buffer untouched_zeros(std::size_t size) {
  if (size == 0) return {};
  void* const pages = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  const std::shared_ptr<void> block(pages, [size](void* address) { ::munmap(address, size); });
  return {{static_cast<const std::byte*>(block.get()), size}, block};
}

}  // namespace onnx_split
