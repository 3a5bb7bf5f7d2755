// What the transport's tests share: the conformance fixture that runs every test on every transport, messages with
// recognisable content, and something to wait on.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include "base/random.h"
#include "tests/support/certificates.h"
#include "transport/push_pull.h"
#include "transport/request_reply.h"
#include "transport/url.h"

namespace onnx_split::transport {

using std::chrono::milliseconds;

// Long enough for anything that should happen, and a failure when it passes.
inline constexpr milliseconds kPatience{10000};
// Long enough for something that shouldn't happen to show.
inline constexpr milliseconds kShort{60};

template <class T>
T must(Expected<T> expected) {
  if (!expected) {
    ADD_FAILURE() << expected.error().message;
    std::abort();
  }
  if constexpr (!std::is_void_v<T>) return std::move(*expected);
}

template <class T>
ErrorCode code_of(const Expected<T>& expected) {
  EXPECT_FALSE(expected.has_value()) << "expected an error";
  return expected ? ErrorCode{-1} : expected.error().code;
}

// `size_bytes` pseudo-random bytes; another seed gives other bytes.
inline Message message_of(std::size_t size_bytes, std::uint64_t seed) {
  Message message = must(Message::allocate(size_bytes));
  Random random(seed);
  for (std::size_t i = 0; i < size_bytes; i += sizeof(std::uint64_t)) {
    const std::uint64_t word = random.next();
    std::memcpy(message.bytes().data() + i, &word, std::min(sizeof word, size_bytes - i));
  }
  return message;
}

inline bool same_bytes(const Message& a, const Message& b) {
  return a.size() == b.size() && (a.size() == 0 || std::memcmp(a.bytes().data(), b.bytes().data(), a.size()) == 0);
}

// A message of at least 8 bytes that begins with a number.
inline Message numbered(std::uint64_t number, std::size_t size_bytes = sizeof(std::uint64_t)) {
  Message message = must(Message::allocate(size_bytes));
  std::memset(message.bytes().data(), static_cast<int>(number & 0xff), size_bytes);
  std::memcpy(message.bytes().data(), &number, sizeof number);
  return message;
}

inline std::uint64_t number_of(const Message& message) {
  std::uint64_t number = ~std::uint64_t{0};
  EXPECT_GE(message.size(), sizeof number);
  if (message.size() >= sizeof number) std::memcpy(&number, message.bytes().data(), sizeof number);
  return number;
}

class Signal {
 public:
  void raise() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  // True once it has been raised `times` times.
  bool wait(int times = 1, milliseconds timeout = kPatience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [&] { return count_ >= times; });
  }
  int count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

class Conformance : public ::testing::TestWithParam<Scheme> {
 protected:
  // A new address to listen on.
  static std::string fresh_url() {
    static std::atomic<int> count{0};
    if (GetParam() == Scheme::kTcp) return "tcp://127.0.0.1:0";
    if (GetParam() == Scheme::kTlsTcp) return "tls+tcp://127.0.0.1:0";
    return "inproc://test-" + std::to_string(++count);
  }

  // An address that nobody listens on.
  static std::string dead_url() {
    PushSocket socket = must(PushSocket::open());
    return must(socket.listen(fresh_url(), tls()));
  }

  static Tls tls() {
    using onnx_split::testing::Authorities;
    static const Authorities authorities;
    static const auto identity = authorities.identity("pi1", Authorities::Kind::kDevice);
    if (GetParam() != Scheme::kTlsTcp) return {};
    return {identity, Peers::kDevices, "pi1"};
  }

  static DialOptions quick() {
    return {.connect_timeout = kPatience,
            .reconnect_min = milliseconds(5),
            .reconnect_max = milliseconds(50),
            .max_message_bytes = 100 << 20,
            .tls = tls()};
  }
};

inline std::string scheme_name(const ::testing::TestParamInfo<Scheme>& info) {
  return info.param == Scheme::kTcp ? "tcp" : info.param == Scheme::kTlsTcp ? "tls" : "inproc";
}

#define ON_EVERY_TRANSPORT(suite) \
  INSTANTIATE_TEST_SUITE_P(All, suite, ::testing::Values(Scheme::kInproc, Scheme::kTcp, Scheme::kTlsTcp), scheme_name)

}  // namespace onnx_split::transport
