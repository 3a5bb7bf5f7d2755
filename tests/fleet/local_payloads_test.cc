#include "fleet/local_payloads.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "tests/support/expect.h"

namespace onnx_split {
namespace {

using testing::error_of;
using testing::must;

TEST(LocalPayloads, AreReusedOnceNobodyHasThem) {
  LocalPayloads payloads(2);
  std::set<const std::byte*> memory;
  for (int round = 0; round < 3; ++round) {
    std::vector<Buffer> shared;
    for (int request = 0; request < 4; ++request) {
      std::shared_ptr<MutableBuffer> payload = must(payloads.take(1, 1000));
      ASSERT_EQ(payload->bytes().size(), 1000U);
      payload->bytes().front() = static_cast<std::byte>(request);
      shared.push_back(share(std::move(payload)).sub(0, 10));
      memory.insert(shared.back().bytes().data());
    }
    for (int request = 0; request < 4; ++request) {
      EXPECT_EQ(shared[static_cast<std::size_t>(request)].bytes().front(), static_cast<std::byte>(request));
    }
  }
  EXPECT_EQ(memory.size(), 4U);
}

TEST(LocalPayloads, TransfersHaveTheirOwn) {
  LocalPayloads payloads(2);
  EXPECT_EQ(must(payloads.take(0, 64))->bytes().size(), 64U);
  EXPECT_EQ(must(payloads.take(1, 128))->bytes().size(), 128U);
}

// Not under sanitizers: they stop the program where memory is refused.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(LocalPayloads, WhatNoMemoryHoldsIsAnError) {
  LocalPayloads payloads(1);
  EXPECT_EQ(error_of(payloads.take(0, std::size_t{1} << 60)), "no memory for a tensor of 1152921504606846976 bytes");
}
#endif

}  // namespace
}  // namespace onnx_split
