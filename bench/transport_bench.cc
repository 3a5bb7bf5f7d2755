// How fast messages move: bytes/s from a pusher to a puller, and the time of a request and its reply, within the
// process (inproc) and over loopback TCP. One process holds both sides.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "transport/push_pull.h"
#include "transport/request_reply.h"

namespace onnx_split::transport {
namespace {

constexpr std::chrono::milliseconds kPatience{10000};
constexpr std::size_t kMaxMessageBytes = 64 << 20;
const DialOptions kDial{.max_message_bytes = kMaxMessageBytes};

template <class T>
T must(Expected<T> expected) {
  if (!expected) {
    std::fprintf(stderr, "%s\n", expected.error().message.c_str());
    std::abort();
  }
  if constexpr (!std::is_void_v<T>) return std::move(*expected);
}

std::string fresh_url(bool tcp) {
  static int count = 0;
  return tcp ? "tcp://127.0.0.1:0" : "inproc://bench-" + std::to_string(++count);
}

Message filled(std::size_t size_bytes) {
  Message message = must(Message::allocate(size_bytes));
  for (std::size_t i = 0; i < size_bytes; ++i) message.bytes()[i] = static_cast<std::byte>(i * 131 + i / 251);
  return message;
}

bool is_filled(const Message& message, std::size_t size_bytes) {
  const Message expected = filled(size_bytes);
  return message.size() == size_bytes && std::memcmp(message.bytes().data(), expected.bytes().data(), size_bytes) == 0;
}

// An iteration sends one message that it has to allocate, as the data plane does; its bytes aren't written.
void push_pull(benchmark::State& state, bool tcp) {
  const auto size_bytes = static_cast<std::size_t>(state.range(0));
  PullSocket pull = must(PullSocket::open());
  PushSocket push = must(PushSocket::open());
  must(push.dial(must(pull.listen(fresh_url(tcp), kMaxMessageBytes)), kDial));
  must(push.send(filled(size_bytes), kPatience));
  if (!is_filled(must(pull.receive(kPatience)), size_bytes)) {
    state.SkipWithError("the message was changed on its way");
    return;
  }
  std::thread receiver([&] {
    while (pull.receive(kForever)) {
    }
  });
  for (auto _ : state) must(push.send(must(Message::allocate(size_bytes)), kPatience));
  pull.close();
  receiver.join();
  state.SetBytesProcessed(static_cast<std::int64_t>(size_bytes) * state.iterations());
}

void request_reply(benchmark::State& state, bool tcp) {
  const auto size_bytes = static_cast<std::size_t>(state.range(0));
  ReplySocket reply = must(ReplySocket::open());
  RequestSocket request = must(RequestSocket::open());
  must(request.dial(must(reply.listen(fresh_url(tcp), kMaxMessageBytes)), kDial));
  std::thread server([&] {
    for (;;) {
      auto received = reply.receive(kForever);
      if (!received || !reply.reply(std::move(*received))) return;
    }
  });
  if (is_filled(must(request.call(filled(size_bytes), kPatience)), size_bytes)) {
    Message message = filled(size_bytes);
    for (auto _ : state) message = must(request.call(std::move(message), kPatience));
  } else {
    state.SkipWithError("the message was changed on its way");
  }
  reply.close();
  server.join();
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK_CAPTURE(push_pull, inproc, false)->RangeMultiplier(4)->Range(1 << 10, 16 << 20)->UseRealTime();
BENCHMARK_CAPTURE(push_pull, tcp, true)->RangeMultiplier(4)->Range(1 << 10, 16 << 20)->UseRealTime();
BENCHMARK_CAPTURE(request_reply, inproc, false)->Arg(64)->Arg(16 << 10)->UseRealTime();
BENCHMARK_CAPTURE(request_reply, tcp, true)->Arg(64)->Arg(16 << 10)->UseRealTime();

}  // namespace
}  // namespace onnx_split::transport

BENCHMARK_MAIN();
