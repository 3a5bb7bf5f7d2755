#include "engine/run_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "base/random.h"

namespace onnx_split {
namespace {

constexpr std::size_t kMebibyte = std::size_t{1} << 20;

std::size_t resident_bytes(const std::byte* begin, std::size_t size) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t before = reinterpret_cast<std::uintptr_t>(begin) % page;
  std::vector<unsigned char> resident((before + size + page - 1) / page);
  EXPECT_EQ(::mincore(const_cast<std::byte*>(begin) - before, before + size, resident.data()), 0);
  return page *
         static_cast<std::size_t>(std::ranges::count_if(resident, [](unsigned char c) { return (c & 1U) != 0; }));
}

TEST(RunMemory, WhoeverItFitsGetsTheSame) {
  RunMemory memory;
  const auto one = memory.reserve(5000), other = memory.reserve(1), third = memory.reserve(5000);
  EXPECT_EQ(memory.bytes(), 5000U);
  std::byte* const begin = one->begin_run();
  std::memset(begin, 1, 5000);
  EXPECT_EQ(other->begin_run(), begin);
  EXPECT_EQ(third->begin_run(), begin);
}

TEST(RunMemory, ItsPagesAreThereBeforeTheFirstRunAndGoWithWhoNeededThem) {
  RunMemory memory;
  auto large = memory.reserve(40 * kMebibyte);
  const auto small = memory.reserve(2 * kMebibyte);
  std::byte* const begin = large->begin_run();
  EXPECT_GE(resident_bytes(begin, 40 * kMebibyte), 40 * kMebibyte);
  std::memset(small->begin_run(), 1, 2 * kMebibyte);
  large.reset();
  EXPECT_EQ(memory.bytes(), 2 * kMebibyte);
  EXPECT_LT(resident_bytes(begin, 40 * kMebibyte), 3 * kMebibyte);
  ASSERT_EQ(small->begin_run(), begin);
  EXPECT_TRUE(std::all_of(begin, begin + 2 * kMebibyte, [](std::byte b) { return b == std::byte{1}; }));
}

TEST(RunMemory, UsersOfASmallBlockGoOverToTheLargestAsTheyRun) {
  RunMemory memory;
  const auto small = memory.reserve(1000), idle = memory.reserve(900);
  auto large = memory.reserve(9000);
  EXPECT_EQ(memory.bytes(), 10'000U);
  std::byte* const begin = large->begin_run();
  EXPECT_EQ(small->begin_run(), begin);
  EXPECT_EQ(memory.bytes(), 9900U);
  large.reset();
  EXPECT_EQ(memory.bytes(), 1900U);
  EXPECT_EQ(idle->begin_run(), begin);
  EXPECT_EQ(memory.bytes(), 1000U);
}

TEST(RunMemory, IsNeverMoreThanWhatItsUsersNeedInSum) {
  struct One {
    std::unique_ptr<RunMemory::User> user;
    std::size_t bytes;
  };
  Random random(1);
  RunMemory memory;
  std::vector<One> users;
  for (int step = 0; step < 3000; ++step) {
    const auto i = static_cast<std::size_t>(random.integer(0, 5));
    if (i >= users.size()) {
      const auto bytes = static_cast<std::size_t>(random.integer(0, 1) == 0 ? random.integer(0, 10'000)
                                                                            : random.integer(0, 1'000'000));
      users.push_back({memory.reserve(bytes), bytes});
    } else if (random.integer(0, 2) == 0) {
      users.erase(users.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      std::memset(users[i].user->begin_run(), step, users[i].bytes);
    }
    std::size_t needed = 0, most = 0;
    for (const One& one : users) {
      needed += one.bytes;
      most = std::max(most, one.bytes);
    }
    ASSERT_LE(memory.bytes(), needed) << step;
    ASSERT_GE(memory.bytes(), most) << step;
    if (step % 50 != 0) continue;
    for (const One& one : users) one.user->begin_run();
    ASSERT_EQ(memory.bytes(), most) << step;
  }
}

TEST(RunMemory, OthersComeAndGoWhileOneRuns) {
  RunMemory memory;
  const auto one = memory.reserve(100'000);
  std::thread other([&memory] {
    Random random(1);
    for (int i = 0; i < 500; ++i) {
      const auto user = memory.reserve(static_cast<std::size_t>(random.integer(0, 300'000)));
    }
  });
  for (int i = 0; i < 500; ++i) {
    std::byte* const begin = one->begin_run();
    std::memset(begin, i, 100'000);
    ASSERT_TRUE(std::all_of(begin, begin + 100'000, [i](std::byte b) { return b == static_cast<std::byte>(i); }));
  }
  other.join();
  EXPECT_EQ(memory.bytes(), 100'000U);
}

}  // namespace
}  // namespace onnx_split
