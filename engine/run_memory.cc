#include "engine/run_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

namespace onnx_split {
namespace {

std::size_t page_bytes() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

std::byte* round_up(std::byte* address, std::size_t step) {
  return address + (step - reinterpret_cast<std::uintptr_t>(address) % step) % step;
}

// Brings the pages in: with them a run takes several times as long where each has to be asked for of a virtual
// machine's host.
void touch(std::byte* begin, std::size_t size) {
  for (std::byte* at = begin; at < begin + size; at = round_up(at + 1, page_bytes())) {
    *static_cast<volatile std::byte*>(at) = std::byte{0};
  }
}

}  // namespace

RunMemory::Block::Block(std::size_t size) : bytes(size), begin(pages.allocate(size)) {
  pages.trim();
  touch(begin, size);
}

// Its users, who may be using it now, need no more than that.
void RunMemory::Block::shrink(std::size_t size) {
  std::byte* const from = round_up(begin + size, page_bytes());
  std::byte* const to = round_up(begin + bytes, page_bytes());
  if (from < to) ::madvise(from, static_cast<std::size_t>(to - from), MADV_DONTNEED);
  bytes = size;
}

RunMemory::Blocks::iterator RunMemory::largest() {
  return std::ranges::max_element(blocks_, {}, [](const Block& block) { return block.bytes; });
}

std::unique_ptr<RunMemory::User> RunMemory::reserve(std::size_t bytes) {
  const auto add_user = [&](Blocks::iterator block) {
    block->needs.insert(bytes);
    return std::unique_ptr<User>(new User(*this, bytes, block));
  };
  {
    const std::scoped_lock lock(mutex_);
    const auto block = largest();
    if (block != blocks_.end() && block->bytes >= bytes) return add_user(block);
  }
  // Without the lock: it takes a while, and others run meanwhile.
  Blocks made;
  made.emplace_back(bytes);
  const std::scoped_lock lock(mutex_);
  auto user = add_user(made.begin());
  blocks_.splice(blocks_.end(), made);
  return user;
}

std::size_t RunMemory::bytes() const {
  const std::scoped_lock lock(mutex_);
  return std::transform_reduce(blocks_.begin(), blocks_.end(), std::size_t{0}, std::plus<>(),
                               [](const Block& block) { return block.bytes; });
}

RunMemory::Needs::node_type RunMemory::leave(Blocks::iterator block, std::size_t bytes, Blocks& unused) {
  Needs::node_type need = block->needs.extract(block->needs.find(bytes));
  if (block->needs.empty()) {
    unused.splice(unused.end(), blocks_, block);
  } else if (const std::size_t most = *block->needs.rbegin(); most < block->bytes) {
    block->shrink(most);
  }
  return need;
}

std::byte* RunMemory::User::begin_run() {
  Blocks unused;
  const std::scoped_lock lock(memory_.mutex_);
  const auto largest = memory_.largest();
  if (largest != block_) {
    largest->needs.insert(memory_.leave(block_, bytes_, unused));
    block_ = largest;
  }
  return block_->begin;
}

RunMemory::User::~User() {
  Blocks unused;
  const std::scoped_lock lock(memory_.mutex_);
  memory_.leave(block_, bytes_, unused);
}

}  // namespace onnx_split
