#include "base/buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <utility>

namespace onnx_split {
namespace {

// Where the whole pages in a block begin and end; there are none if it doesn't begin before it ends.
std::pair<std::uintptr_t, std::uintptr_t> whole_pages(std::span<const std::byte> block, std::uintptr_t page) {
  const auto begin = reinterpret_cast<std::uintptr_t>(block.data());
  return {(begin + page - 1) / page * page, (begin + block.size()) / page * page};
}

}  // namespace

void Buffer::give_back_pages() const {
  if (!mapped_ || bytes_.empty()) return;
  const auto [begin, end] = whole_pages(bytes_, static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE)));
  // A hint: nothing depends on it.
  if (begin < end) (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

MutableBuffer::MutableBuffer(std::size_t size, bool zeroed) : size_(size) {
  constexpr auto kAlign = std::align_val_t{kBufferAlignment};
  data_ = std::shared_ptr<std::byte>(static_cast<std::byte*>(::operator new(size + 1, kAlign)),
                                     [](std::byte* p) { ::operator delete(p, kAlign); });
  // A hint. Whole huge pages only, so that it takes no more memory than is asked for.
  const auto [begin, end] = whole_pages({data_.get(), size}, kHugePageBytes);
  if (begin < end) (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
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
