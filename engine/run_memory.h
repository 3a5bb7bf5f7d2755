// Memory that sessions use only while they run: their activations, and their kernels' scratch. Sessions that never run
// at the same time can share it, as a device's do (fleet/cores.h): a new one finds it there, where it would have to ask
// the system for it.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <set>

#include "engine/page_pool.h"

namespace onnx_split {

// It consists of blocks, each as large as the most that one of its users needs: together they are never more than what
// the users need in sum. Users of smaller ones go over to the largest as they run, so in the end there is one.
//
// Thread-safe, but for what User says.
class RunMemory {
  struct Block;
  using Blocks = std::list<Block>;
  using Needs = std::multiset<std::size_t>;  // of a block's users, in bytes

 public:
  // One who needs it: a session. The memory has to outlive its users.
  class User {
   public:
    ~User();
    User(const User&) = delete;
    User& operator=(const User&) = delete;

    // At least as many bytes as it asked for, aligned to kBufferAlignment, with anything in them. They are its own
    // until another user's run begins, or its next one. One user at a time may call this, and use what it got.
    std::byte* begin_run();

   private:
    friend RunMemory;
    User(RunMemory& memory, std::size_t bytes, Blocks::iterator block)
        : memory_(memory), bytes_(bytes), block_(block) {}

    RunMemory& memory_;
    const std::size_t bytes_;
    Blocks::iterator block_;
  };

  // From the largest block if it's large enough, else from a new one, whose pages are brought in now, so that the first
  // run doesn't take longer than others. Throws std::bad_alloc.
  std::unique_ptr<User> reserve(std::size_t bytes);

  // Of all blocks.
  std::size_t bytes() const;

 private:
  Blocks::iterator largest();
  // A block that is left without users is put into `unused`, to be given back without the lock.
  Needs::node_type leave(Blocks::iterator block, std::size_t bytes, Blocks& unused);

  mutable std::mutex mutex_;
  Blocks blocks_;
};

struct RunMemory::Block {
  explicit Block(std::size_t size);
  void shrink(std::size_t size);

  PagePool pages;
  std::size_t bytes;
  std::byte* begin;
  Needs needs;
};

}  // namespace onnx_split
