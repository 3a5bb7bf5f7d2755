#include "fleet/local_payloads.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace onnx_split {
namespace {

TEST(LocalPayloads, AreReusedOnceNobodyHasThem) {
  LocalPayloads payloads(2);
  std::set<const std::byte*> memory;
  for (int round = 0; round < 3; ++round) {
    std::vector<Buffer> shared;
    for (int request = 0; request < 4; ++request) {
      std::shared_ptr<MutableBuffer> payload = payloads.take(1, 1000);
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
  EXPECT_EQ(payloads.take(0, 64)->bytes().size(), 64U);
  EXPECT_EQ(payloads.take(1, 128)->bytes().size(), 128U);
}

}  // namespace
}  // namespace onnx_split
