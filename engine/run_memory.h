// Memory that sessions use only while they run: their activations, and their kernels' scratch. Sessions that never run
// at the same time can share it, as a device's do (fleet/cores.h): then it is as much as the largest of them needs, and
// a new one finds it there, where it would have to ask the system for it.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include "engine/page_pool.h"

namespace onnx_split {

// Thread-safe.
class RunMemory {
 public:
  class Block {
   public:
    // Its pages are there when it is made, so that the first run doesn't take longer than others. Throws
    // std::bad_alloc.
    Block(std::size_t arena_bytes, std::size_t workspace_bytes);
    bool fits(std::size_t arena_bytes, std::size_t workspace_bytes) const {
      return arena_bytes <= arena_bytes_ && workspace_bytes <= workspace_bytes_;
    }
    std::byte* arena() const { return arena_; }
    std::byte* workspace() const { return workspace_; }
    std::size_t arena_bytes() const { return arena_bytes_; }
    std::size_t workspace_bytes() const { return workspace_bytes_; }

   private:
    PagePool pages_;
    std::size_t arena_bytes_, workspace_bytes_;
    std::byte *arena_, *workspace_;
  };
  // It goes with the last session that has it.
  using Shared = std::shared_ptr<const Block>;

  // The newest block if it fits; else one that fits, and for which there is place for all that the newest one has: who
  // has that can go over to it. Throws std::bad_alloc.
  Shared reserve(std::size_t arena_bytes, std::size_t workspace_bytes);
  // The newest block that somebody has; null if nobody has it any more.
  Shared newest() const;

 private:
  mutable std::mutex mutex_;
  std::weak_ptr<const Block> newest_;
};

}  // namespace onnx_split
