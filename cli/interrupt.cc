#include "cli/interrupt.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"

namespace onnx_split {
namespace {

struct Watch {
  std::mutex mutex;
  bool happened = false;
  std::vector<const std::function<void()>*> callbacks;
};

// Never destroyed: the watching thread outlives main().
Watch& watch() {
  static Watch* const kWatch = new Watch;
  return *kWatch;
}

// The handler may run on any thread, also on those of libraries, and may do almost nothing: it wakes the watching
// thread.
std::atomic<int> wake_end{-1};
std::atomic<int> signals_seen{0};

void handle_signal(int) {
  if (signals_seen.fetch_add(1) > 0) ::_exit(1);
  const int error = errno;
  const char byte = 0;
  // The pipe is empty: one byte always fits.
  [[maybe_unused]] const ssize_t written = ::write(wake_end, &byte, 1);
  errno = error;
}

void wait_for_signal(int descriptor) {
  char byte = 0;
  while (::read(descriptor, &byte, 1) < 0 && errno == EINTR) {
  }
  const std::scoped_lock lock(watch().mutex);
  watch().happened = true;
  for (const std::function<void()>* callback : watch().callbacks) (*callback)();
}

}  // namespace

void watch_for_interrupts() {
  std::array<int, 2> pipe_ends{};
  CHECK(::pipe2(pipe_ends.data(), O_CLOEXEC) == 0);
  wake_end = pipe_ends[1];
  std::thread(wait_for_signal, pipe_ends[0]).detach();
  struct sigaction action {};
  action.sa_handler = handle_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of the write, like a full disk
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

bool interrupted() {
  const std::scoped_lock lock(watch().mutex);
  return watch().happened;
}

Expected<void> check_interrupted() {
  if (interrupted()) return fail(ErrorCode::kCancelled, "interrupted");
  return {};
}

OnInterrupt::OnInterrupt(std::function<void()> callback) : callback_(std::move(callback)) {
  const std::scoped_lock lock(watch().mutex);
  watch().callbacks.push_back(&callback_);
  if (watch().happened) callback_();
}

OnInterrupt::~OnInterrupt() {
  const std::scoped_lock lock(watch().mutex);
  std::erase(watch().callbacks, &callback_);
}

}  // namespace onnx_split
