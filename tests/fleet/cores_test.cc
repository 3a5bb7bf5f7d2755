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
  const auto cores = std::make_shared<Cores>(1);
  int inside = 0;  // guarded by the turn, which is what is tested
  int done = 0;
  std::vector<std::thread> executors;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    executors.emplace_back([&, seed] {
      Random random(seed);
      Cores::User user(cores);
      for (int job = 0; job < 300; ++job) {
        user.enter_line();
        {
          const auto turn = user.wait_for_turn();
          EXPECT_TRUE(turn);
          EXPECT_EQ(++inside, 1);
          ++done;
          --inside;
        }
        if (random.integer(0, 3) == 0) user.leave_line();
      }
    });
  }
  for (std::thread& executor : executors) executor.join();
  EXPECT_EQ(done, 4 * 300);
}

TEST(Cores, TheOlderOneFirstAlsoBetweenTwoOfItsJobs) {
  const auto cores = std::make_shared<Cores>(1);
  Cores::User older(cores), newer(cores);
  std::atomic<bool> newer_had_a_turn{false};
  std::thread other;
  older.enter_line();
  newer.enter_line();
  {
    const auto turn = older.wait_for_turn();
    ASSERT_TRUE(turn);
    other = std::thread([&] {
      const auto its = newer.wait_for_turn();
      newer_had_a_turn = its.has_value();
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(newer_had_a_turn);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(newer_had_a_turn);
  {
    const auto again = older.wait_for_turn();
    EXPECT_TRUE(again);
    EXPECT_FALSE(newer_had_a_turn);
  }
  older.leave_line();
  other.join();
  EXPECT_TRUE(newer_had_a_turn);
}

TEST(Cores, WhoIsOlderIsNextAlsoIfItComesLater) {
  const auto cores = std::make_shared<Cores>(1);
  Cores::User older(cores), newer(cores), newest(cores);
  std::vector<Cores::User*> order;  // guarded by the turn
  std::vector<std::thread> others;
  newer.enter_line();
  {
    const auto turn = newer.wait_for_turn();
    EXPECT_TRUE(turn);
    for (Cores::User* user : {&newest, &older}) {
      user->enter_line();
      others.emplace_back([&, user] {
        {
          const auto its = user->wait_for_turn();
          order.push_back(user);
        }
        user->leave_line();
      });
    }
    order.push_back(&newer);
  }
  newer.leave_line();
  for (std::thread& other : others) other.join();
  EXPECT_EQ(order, (std::vector<Cores::User*>{&newer, &older, &newest}));
}

TEST(Cores, WhoHasLeftLetsOthersComputeAndMayComeBack) {
  const auto cores = std::make_shared<Cores>(1);
  Cores::User older(cores), newer(cores);
  older.enter_line();
  EXPECT_TRUE(older.wait_for_turn());
  older.leave_line();  // it waits for something else
  newer.enter_line();
  {
    const auto turn = newer.wait_for_turn();
    EXPECT_TRUE(turn);
    older.enter_line();
  }
  EXPECT_TRUE(older.wait_for_turn());
  older.leave_line();
  EXPECT_TRUE(newer.wait_for_turn());
}

TEST(Cores, WhoIsClosedWaitsNoMoreAndTheOthersGoOn) {
  const auto cores = std::make_shared<Cores>(1);
  auto closed = std::make_unique<Cores::User>(cores);
  Cores::User newer(cores);
  {
    newer.enter_line();
    const auto turn = newer.wait_for_turn();
    EXPECT_TRUE(turn);
    closed->enter_line();
    std::thread waiting([&] { EXPECT_FALSE(closed->wait_for_turn()); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    closed->close();
    waiting.join();
    EXPECT_FALSE(closed->wait_for_turn());
  }
  closed.reset();  // it leaves the line
  EXPECT_TRUE(newer.wait_for_turn());
}

}  // namespace
}  // namespace onnx_split
