// Memory for what sessions keep: weights as kernels have laid them out, values, scratch memory.
//
// All lies in a few large regions, for which the kernel is asked for huge pages of 2 MB (madvise; it gives them where
// pages are of 4 kB and /sys/kernel/mm/transparent_hugepage/enabled says so, as Debian's kernels do). Weights are read
// once a run, and a page of 4 kB ends the processor's own prefetching: with huge ones ResNet50 takes a twentieth less
// time (Sapphire Rapids, in a virtual machine), and a stream over 200 MB three tenths (Zen 5, likewise).
// But a virtual machine may have to ask its host for each, which takes 4 ms.
#pragma once

#include <cstddef>
#include <vector>

namespace onnx_split {

class PagePool {
 public:
  PagePool() = default;
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;
  ~PagePool();

  // Zeroed, aligned to kBufferAlignment, until the pool ends. Throws std::bad_alloc. Not thread-safe.
  std::byte* allocate(std::size_t bytes);

  // Gives back what the regions have left: to be called when nothing more will be allocated. (A huge page is there as a
  // whole as soon as one byte of it is written.)
  void trim();

 private:
  struct Region {
    std::byte* begin = nullptr;
    std::size_t used = 0, size = 0;
  };
  std::vector<Region> regions_;
};

}  // namespace onnx_split
