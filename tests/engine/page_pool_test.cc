#include "engine/page_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <new>
#include <string>

#include "base/buffer.h"
#include "base/random.h"

namespace onnx_split {
namespace {

constexpr std::size_t kMega = std::size_t{1} << 20;

std::size_t resident_bytes() {
  std::size_t size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(PagePool, PiecesAreZeroedAlignedAndApart) {
  Random random(1);
  PagePool pool;
  struct Piece {
    std::byte* begin;
    std::size_t size;
    std::byte mark;
  };
  std::vector<Piece> pieces;
  for (int i = 0; i < 200; ++i) {
    const bool large = random.integer(0, 30) == 0;
    const auto size = static_cast<std::size_t>(random.integer(0, large ? 40'000'000 : 100'000));
    std::byte* const begin = pool.allocate(size);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(begin) % kBufferAlignment, 0U);
    ASSERT_TRUE(std::all_of(begin, begin + size, [](std::byte b) { return b == std::byte{0}; }));
    pieces.push_back({begin, size, static_cast<std::byte>(i % 255 + 1)});
    std::fill_n(begin, size, pieces.back().mark);
    if (i == 150) pool.trim();
  }
  pool.trim();
  for (const Piece& piece : pieces) {
    ASSERT_TRUE(std::all_of(piece.begin, piece.begin + piece.size, [&](std::byte b) { return b == piece.mark; }));
  }
}

TEST(PagePool, WhatIsNotUsedIsNotThere) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own memory counts too";
#endif
  std::string huge_pages;
  std::getline(std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled"), huge_pages);
  if (huge_pages.empty() || huge_pages.find("[never]") != std::string::npos) {
    GTEST_SKIP() << "without huge pages only what is used is ever there";
  }
  const std::size_t before = resident_bytes();
  PagePool pool;
  std::fill_n(pool.allocate(3 * kMega + 1), 3 * kMega + 1, std::byte{1});
  pool.trim();
  EXPECT_LT(resident_bytes(), before + 4 * kMega);
}

TEST(PagePool, TooMuchIsBadAlloc) {
  PagePool pool;
  EXPECT_THROW((void)pool.allocate(SIZE_MAX), std::bad_alloc);
  EXPECT_THROW((void)pool.allocate(std::size_t{1} << 50), std::bad_alloc);
  std::fill_n(pool.allocate(10), 10, std::byte{1});  // it still works
}

}  // namespace
}  // namespace onnx_split
