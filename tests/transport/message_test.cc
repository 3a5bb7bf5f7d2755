#include "transport/message.h"

#include <cstdint>
#include <limits>

#include "tests/transport/helpers.h"

namespace onnx_split::transport {
namespace {

std::uintptr_t misalignment(std::span<const std::byte> bytes) {
  return reinterpret_cast<std::uintptr_t>(bytes.data()) % kMessageAlignment;
}

// 1, 2, 3, ... and around every power of two up to 1 MB, where nng's head room comes and goes.
std::vector<std::size_t> sizes_to_try() {
  std::vector<std::size_t> sizes;
  for (std::size_t size = 1; size <= 70; ++size) sizes.push_back(size);
  for (std::size_t power = 128; power <= (1 << 20); power *= 2) {
    for (const std::size_t size : {power - 1, power, power + 1, power + power / 2}) sizes.push_back(size);
  }
  return sizes;
}

TEST(Message, BodiesAreAligned) {
  for (const std::size_t size : sizes_to_try()) {
    const Message message = must(Message::allocate(size));
    ASSERT_EQ(message.size(), size);
    ASSERT_EQ(misalignment(message.bytes()), 0U) << size;
  }
}

TEST(Message, AnImpossibleSizeIsAnError) {
  for (const std::size_t size :
       {std::numeric_limits<std::size_t>::max(), std::numeric_limits<std::size_t>::max() - 31}) {
    EXPECT_EQ(code_of(Message::allocate(size)), ErrorCode::kExhausted);
  }
}

TEST(Message, MovingLeavesAnEmptyOne) {
  Message first = message_of(100, 1);
  Message second = std::move(first);
  EXPECT_FALSE(first.valid());
  EXPECT_EQ(first.size(), 0U);
  EXPECT_TRUE(same_bytes(second, message_of(100, 1)));
  EXPECT_EQ(share(std::move(first)).size(), 0U);
}

TEST(Message, SharedOnesLiveAsLongAsABufferDoes) {
  Message message = message_of(1000, 2);
  const std::byte* body = message.bytes().data();
  Buffer part;
  {
    const Buffer whole = share(std::move(message));
    EXPECT_FALSE(message.valid());
    EXPECT_EQ(whole.bytes().data(), body);
    part = whole.sub(100, 800);
  }
  const Message expected = message_of(1000, 2);
  EXPECT_EQ(std::memcmp(part.bytes().data(), expected.bytes().data() + 100, 800), 0);
}

class MessageConformance : public Conformance {};

TEST_P(MessageConformance, ReceivedBodiesAreAligned) {
  PullSocket pull = must(PullSocket::open());
  PushSocket push = must(PushSocket::open());
  must(push.dial(must(pull.listen(fresh_url(), 2 << 20, tls())), quick()));
  for (const std::size_t size : sizes_to_try()) {
    must(push.send(message_of(size, size), kPatience));
    const Message message = must(pull.receive(kPatience));
    ASSERT_TRUE(same_bytes(message, message_of(size, size)));
    ASSERT_EQ(misalignment(message.bytes()), 0U) << size;
  }
}

ON_EVERY_TRANSPORT(MessageConformance);

}  // namespace
}  // namespace onnx_split::transport
