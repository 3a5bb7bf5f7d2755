#include "cli/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <thread>
#include <vector>

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

void wait_for(sigset_t signals) {
  int signal = 0;
  while (::sigwait(&signals, &signal) == 0) {
    const std::scoped_lock lock(watch().mutex);
    if (watch().happened) ::_exit(1);
    watch().happened = true;
    for (const std::function<void()>* callback : watch().callbacks) (*callback)();
  }
}

}  // namespace

void watch_for_interrupts() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] { wait_for(signals); }).detach();
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
