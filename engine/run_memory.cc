#include "engine/run_memory.h"

#include <algorithm>

namespace onnx_split {
namespace {

// Now, in the thread that prepares: with them a run takes several times as long where each has to be asked for of a
// virtual machine's host.
void touch(std::byte* begin, std::size_t size) {
  constexpr std::size_t kLeastPage = 4096;
  for (std::size_t i = 0; i < size; i += kLeastPage) *static_cast<volatile std::byte*>(begin + i) = std::byte{0};
}

}  // namespace

RunMemory::Block::Block(std::size_t arena_bytes, std::size_t workspace_bytes)
    : arena_bytes_(arena_bytes),
      workspace_bytes_(workspace_bytes),
      arena_(pages_.allocate(arena_bytes)),
      workspace_(pages_.allocate(workspace_bytes)) {
  pages_.trim();
  touch(arena_, arena_bytes);
  touch(workspace_, workspace_bytes);
}

RunMemory::Shared RunMemory::reserve(std::size_t arena_bytes, std::size_t workspace_bytes) {
  const Shared old = newest();
  if (old && old->fits(arena_bytes, workspace_bytes)) return old;
  if (old) {
    arena_bytes = std::max(arena_bytes, old->arena_bytes());
    workspace_bytes = std::max(workspace_bytes, old->workspace_bytes());
  }
  // Without the lock: it takes a while, and others run meanwhile.
  const Shared block = std::make_shared<const Block>(arena_bytes, workspace_bytes);
  const std::scoped_lock lock(mutex_);
  newest_ = block;
  return block;
}

RunMemory::Shared RunMemory::newest() const {
  const std::scoped_lock lock(mutex_);
  return newest_.lock();
}

}  // namespace onnx_split
