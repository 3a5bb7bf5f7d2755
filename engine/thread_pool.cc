#include "engine/thread_pool.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"

namespace onnx_split {
namespace {

std::int64_t nanoseconds_of(clockid_t clock) {
  timespec time{};
  CHECK(::clock_gettime(clock, &time) == 0);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// Between the steps of one run the next job comes within microseconds, and waking a sleeping thread takes longer than
// many steps. So who has just worked looks out for so long before it sleeps; who is idle sleeps.
constexpr std::chrono::microseconds kLookOut{40};

void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <class Ready>
void look_out(const Ready& ready) {
  constexpr int kPauses = 32;  // between looks at the clock
  const auto end = std::chrono::steady_clock::now() + kLookOut;
  do {
    for (int i = 0; i < kPauses; ++i) {
      if (ready()) return;
      pause_briefly();
    }
  } while (std::chrono::steady_clock::now() < end);
}

}  // namespace

struct ThreadPool::Impl {
  std::mutex mutex;
  std::condition_variable wanted;    // a helper is wanted, or the end has come
  std::condition_variable finished;  // the last running helper went back to sleep
  // Guarded by mutex (where atomic, others may look); `job` and `tasks` don't change while a helper runs.
  const TaskRef* job = nullptr;
  std::size_t tasks = 0;
  std::atomic<std::size_t> vacancies{0};  // helpers wanted that haven't come yet
  std::atomic<std::size_t> running{0};
  std::size_t sleeping = 0;
  bool stopping = false;

  std::atomic<std::size_t> next{0};
  std::vector<std::thread> helpers;
  std::vector<clockid_t> clocks;  // of the helpers' processor times

  void drain(const TaskRef& body, std::size_t count, unsigned worker) {
    for (std::size_t task = next.fetch_add(1); task < count; task = next.fetch_add(1)) body(task, worker);
  }

  void help(unsigned worker) {
    std::unique_lock lock(mutex);
    while (true) {
      ++sleeping;
      wanted.wait(lock, [this] { return vacancies > 0 || stopping; });
      --sleeping;
      if (stopping) return;
      --vacancies;
      ++running;
      const TaskRef* body = job;
      const std::size_t count = tasks;
      lock.unlock();
      drain(*body, count, worker);
      lock.lock();
      if (--running == 0) finished.notify_one();
      lock.unlock();
      look_out([this] { return vacancies > 0; });
      lock.lock();
    }
  }
};

ThreadPool::ThreadPool(unsigned threads) : impl_(std::make_unique<Impl>()) {
  for (unsigned worker = 1; worker < threads; ++worker) {
    impl_->helpers.emplace_back([impl = impl_.get(), worker] { impl->help(worker); });
    clockid_t clock{};
    CHECK(::pthread_getcpuclockid(impl_->helpers.back().native_handle(), &clock) == 0);
    impl_->clocks.push_back(clock);
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wanted.notify_all();
  for (std::thread& helper : impl_->helpers) helper.join();
}

unsigned ThreadPool::threads() const { return static_cast<unsigned>(impl_->helpers.size()) + 1; }

void ThreadPool::parallel_for(std::size_t tasks, TaskRef body) {
  Impl& impl = *impl_;
  if (tasks <= 1 || impl.helpers.empty()) {
    for (std::size_t task = 0; task < tasks; ++task) body(task, 0);
    return;
  }
  const std::size_t wanted = std::min(tasks - 1, impl.helpers.size());
  std::size_t asleep = 0;
  {
    const std::lock_guard lock(impl.mutex);
    impl.job = &body;
    impl.tasks = tasks;
    impl.vacancies = wanted;
    impl.next = 0;
    asleep = impl.sleeping;
  }
  for (std::size_t i = 0; i < std::min(asleep, wanted); ++i) impl.wanted.notify_one();
  impl.drain(body, tasks, 0);
  // Helpers that haven't woken by now aren't waited for: there is nothing left to do.
  {
    const std::lock_guard lock(impl.mutex);
    impl.vacancies = 0;
  }
  look_out([&impl] { return impl.running == 0; });
  std::unique_lock lock(impl.mutex);
  impl.finished.wait(lock, [&impl] { return impl.running == 0; });
}

void ThreadPool::processor_times(std::span<std::int64_t> times_ns) const {
  CHECK(times_ns.size() == threads());
  times_ns[0] = nanoseconds_of(CLOCK_THREAD_CPUTIME_ID);
  for (std::size_t i = 0; i < impl_->clocks.size(); ++i) times_ns[i + 1] = nanoseconds_of(impl_->clocks[i]);
}

}  // namespace onnx_split
