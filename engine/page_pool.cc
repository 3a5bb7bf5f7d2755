#include "engine/page_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "base/buffer.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace onnx_split {
namespace {

constexpr std::size_t kRegion = std::size_t{32} << 20;
constexpr std::size_t kGap = kBufferAlignment;  // that nobody may touch: the address sanitizer sees who does

std::size_t round_up(std::size_t size, std::size_t step) { return (size + step - 1) / step * step; }

void unmap(std::byte* begin, std::size_t size) {
  if (size == 0) return;
  ASAN_UNPOISON_MEMORY_REGION(begin, size);
  ::munmap(begin, size);
}

// From a huge page's beginning on.
std::byte* map_pages(std::size_t size) {
  void* const pages =
      ::mmap(nullptr, size + kHugePageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  auto* const first = static_cast<std::byte*>(pages);
  const std::size_t before =
      round_up(reinterpret_cast<std::uintptr_t>(first), kHugePageBytes) - reinterpret_cast<std::uintptr_t>(first);
  unmap(first, before);
  unmap(first + before + size, kHugePageBytes - before);
  // A hint: there are kernels without them.
  (void)::madvise(first + before, size, MADV_HUGEPAGE);
  ASAN_POISON_MEMORY_REGION(first + before, size);
  return first + before;
}

}  // namespace

PagePool::~PagePool() {
  for (const Region& region : regions_) unmap(region.begin, region.size);
}

std::byte* PagePool::allocate(std::size_t bytes) {
  if (bytes > PTRDIFF_MAX - 2 * kHugePageBytes) throw std::bad_alloc();
  const std::size_t size = round_up(bytes, kBufferAlignment) + kGap;
  auto found = std::find_if(regions_.begin(), regions_.end(),
                            [&](const Region& region) { return region.size - region.used >= size; });
  if (found == regions_.end()) {
    regions_.reserve(regions_.size() + 1);
    const std::size_t region = std::max(kRegion, round_up(size, kHugePageBytes));
    regions_.push_back({map_pages(region), 0, region});
    found = std::prev(regions_.end());
  }
  Region& region = *found;
  std::byte* const piece = region.begin + region.used;
  region.used += size;
  ASAN_UNPOISON_MEMORY_REGION(piece, bytes);
  return piece;
}

void PagePool::trim() {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  for (Region& region : regions_) {
    const std::size_t kept = round_up(region.used, page);
    unmap(region.begin + kept, region.size - kept);
    region.size = kept;
  }
}

}  // namespace onnx_split
