#include "fleet/cores.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/random.h"

namespace onnx_split {
namespace {

TEST(Cores, OneJobAtATime) {
  Cores cores(1);
  int inside = 0;  // guarded by the turn, which is what is tested
  int done = 0;
  std::vector<std::thread> executors;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    executors.emplace_back([&, seed, number = cores.next_number()] {
      Random random(seed);
      std::optional<Cores::Place> place;
      for (int job = 0; job < 300; ++job) {
        if (!place) place.emplace(cores, number);
        {
          const Cores::Turn turn = place->wait_for_turn();
          EXPECT_EQ(++inside, 1);
          ++done;
          --inside;
        }
        if (random.integer(0, 3) == 0) place.reset();
      }
    });
  }
  for (std::thread& executor : executors) executor.join();
  EXPECT_EQ(done, 4 * 300);
}

TEST(Cores, TheOlderOneFirstAlsoBetweenTwoOfItsJobs) {
  Cores cores(1);
  const std::uint64_t older = cores.next_number(), newer = cores.next_number();
  ASSERT_LT(older, newer);
  std::atomic<bool> newer_had_a_turn{false};
  std::thread other;
  {
    Cores::Place place(cores, older);
    {
      const Cores::Turn turn = place.wait_for_turn();
      other = std::thread([&] {
        Cores::Place behind(cores, newer);
        const Cores::Turn its = behind.wait_for_turn();
        newer_had_a_turn = true;
      });
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      EXPECT_FALSE(newer_had_a_turn);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(newer_had_a_turn);
    const Cores::Turn again = place.wait_for_turn();
    EXPECT_FALSE(newer_had_a_turn);
  }
  other.join();
  EXPECT_TRUE(newer_had_a_turn);
}

TEST(Cores, WhoIsOlderIsNextAlsoIfItComesLater) {
  Cores cores(1);
  const std::uint64_t older = cores.next_number(), newer = cores.next_number(), newest = cores.next_number();
  std::vector<std::uint64_t> order;  // guarded by the turn
  std::vector<std::thread> others;
  {
    Cores::Place place(cores, newer);
    const Cores::Turn turn = place.wait_for_turn();
    for (const std::uint64_t number : {newest, older}) {
      others.emplace_back([&, number, own = std::make_unique<Cores::Place>(cores, number)]() mutable {
        {
          const Cores::Turn its = own->wait_for_turn();
          order.push_back(number);
        }
        own.reset();
      });
    }
    order.push_back(newer);
  }
  for (std::thread& other : others) other.join();
  EXPECT_EQ(order, (std::vector<std::uint64_t>{newer, older, newest}));
}

}  // namespace
}  // namespace onnx_split
