#include "engine/run_memory.h"

#include <gtest/gtest.h>

#include <cstring>

namespace onnx_split {
namespace {

TEST(RunMemory, WhoeverItFitsGetsTheSame) {
  RunMemory memory;
  const RunMemory::Shared block = memory.reserve(5000, 100);
  ASSERT_TRUE(block->fits(5000, 100));
  EXPECT_FALSE(block->fits(5001, 100));
  EXPECT_FALSE(block->fits(5000, 101));
  std::memset(block->arena(), 1, 5000);
  std::memset(block->workspace(), 2, 100);
  EXPECT_EQ(memory.reserve(1, 1), block);
  EXPECT_EQ(memory.reserve(5000, 100), block);
  EXPECT_EQ(memory.newest(), block);
}

TEST(RunMemory, ALargerBlockHasPlaceForThoseOfTheOldOne) {
  RunMemory memory;
  const RunMemory::Shared old = memory.reserve(5000, 100);
  std::memset(old->arena(), 1, 5000);
  const RunMemory::Shared block = memory.reserve(100, 5000);
  EXPECT_NE(block, old);
  EXPECT_TRUE(block->fits(5000, 5000));
  EXPECT_EQ(memory.newest(), block);
  EXPECT_EQ(old->arena()[4999], std::byte{1});  // whoever has it, has it
}

TEST(RunMemory, GoesWithTheLastWhoHasIt) {
  RunMemory memory;
  EXPECT_EQ(memory.newest(), nullptr);
  RunMemory::Shared one = memory.reserve(5000, 100), other = memory.reserve(10, 10);
  one.reset();
  EXPECT_EQ(memory.newest(), other);
  other.reset();
  EXPECT_EQ(memory.newest(), nullptr);
  EXPECT_TRUE(memory.reserve(10, 10)->fits(10, 10));
}

}  // namespace
}  // namespace onnx_split
