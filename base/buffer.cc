#include "base/buffer.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

namespace onnx_split {

MutableBuffer::MutableBuffer(std::size_t size, bool zeroed) : size_(size) {
  constexpr auto kAlign = std::align_val_t{kBufferAlignment};
  data_ = std::shared_ptr<std::byte>(static_cast<std::byte*>(::operator new(size + 1, kAlign)),
                                     [](std::byte* p) { ::operator delete(p, kAlign); });
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
