#include "engine/thread_pool.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
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

constexpr std::size_t kCacheLine = 64;

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

// A worker's own tasks: the same ones in every job of as many tasks, so that what it wrote or read in the last run is
// still in its cache. Who is done with its own takes others'.
struct alignas(kCacheLine) Share {
  std::atomic<std::size_t> next{0};
  std::size_t end = 0;
};

// The state of a job, in one word, because every transfer of a cache line from core to core counts: how many helpers
// are at it, whether more may join, and which job it is.
class Gate {
 public:
  struct State {
    std::uint64_t word;

    std::uint64_t job() const { return word >> 32; }
    bool open() const { return (word & kOpen) != 0; }
    std::uint64_t inside() const { return word & (kOpen - 1); }
  };

  State state() const { return {word_.load()}; }
  void open_next() { word_.fetch_add(kJob + kOpen); }
  void close() { word_.fetch_sub(kOpen); }
  State enter() {
    return {word_.fetch_add(1)};
  }  // the state before: who found it closed leaves again, and touches nothing
  State leave() { return {word_.fetch_sub(1)}; }  // the state before

 private:
  static constexpr std::uint64_t kOpen = std::uint64_t{1} << 31, kJob = std::uint64_t{1} << 32;
  std::atomic<std::uint64_t> word_{0};
};

}  // namespace

struct ThreadPool::Impl {
  explicit Impl(unsigned threads) : shares(std::max(threads, 1U)) {}

  // The job. Written while the gate is closed and nobody inside.
  const TaskRef* body = nullptr;
  std::size_t workers = 0;  // that have a share
  std::vector<Share> shares;
  std::stop_token stop;

  alignas(kCacheLine) Gate gate;

  // Who sleeps, or is about to: looks at the gate once more after having said so. Wakers look here after changing it.
  alignas(kCacheLine) std::atomic<std::size_t> sleeping{0};
  std::atomic<bool> caller_waits{false};
  std::mutex mutex;
  std::condition_variable wanted;    // the gate was opened, or the end has come
  std::condition_variable finished;  // the last helper left a closed gate
  bool stopping = false;             // guarded by mutex

  std::vector<std::thread> helpers;
  std::vector<clockid_t> clocks;  // of the helpers' processor times

  void divide(std::size_t tasks) {
    workers = std::min(tasks, shares.size());
    for (std::size_t i = 0; i < workers; ++i) {
      shares[i].next.store(i * tasks / workers, std::memory_order_relaxed);
      shares[i].end = (i + 1) * tasks / workers;
    }
  }

  void drain(unsigned worker) {
    for (std::size_t i = 0; i < workers; ++i) {
      Share& share = shares[(worker + i) % workers];
      while (share.next.load(std::memory_order_relaxed) < share.end) {
        const std::size_t task = share.next.fetch_add(1, std::memory_order_relaxed);
        if (task < share.end && !stop.stop_requested()) (*body)(task, worker);
      }
    }
  }

  void help(unsigned worker) {
    std::uint64_t last = 0;  // job that this helper was at
    const auto called = [&] {
      const Gate::State state = gate.state();
      return state.open() && state.job() != last;
    };
    while (true) {
      if (!called()) {
        std::unique_lock lock(mutex);
        ++sleeping;
        wanted.wait(lock, [&] { return called() || stopping; });
        --sleeping;
        if (stopping) return;
      }
      const Gate::State state = gate.enter();
      if (state.open()) {
        last = state.job();
        if (worker < workers) drain(worker);
      }
      const Gate::State left = gate.leave();
      if (!left.open() && left.inside() == 1 && caller_waits) {
        const std::lock_guard lock(mutex);
        finished.notify_one();
      }
      look_out(called);
    }
  }
};

ThreadPool::ThreadPool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

// The delegate has made it complete: if a thread is refused, the destructor ends those that were begun.
ThreadPool::ThreadPool(unsigned threads) : ThreadPool(std::make_unique<Impl>(threads)) {
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
    for (std::size_t task = 0; task < tasks && !impl.stop.stop_requested(); ++task) body(task, 0);
    return;
  }
  impl.body = &body;
  impl.divide(tasks);
  impl.gate.open_next();
  if (impl.sleeping > 0) {
    const std::lock_guard lock(impl.mutex);
    impl.wanted.notify_all();
  }
  impl.drain(0);
  // Helpers that haven't woken by now aren't waited for: there is nothing left to do.
  impl.gate.close();
  const auto alone = [&impl] { return impl.gate.state().inside() == 0; };
  look_out(alone);
  if (alone()) return;
  std::unique_lock lock(impl.mutex);
  impl.caller_waits = true;
  impl.finished.wait(lock, alone);
  impl.caller_waits = false;
}

void ThreadPool::stop_with(std::stop_token stop) { impl_->stop = std::move(stop); }

void ThreadPool::processor_times(std::span<std::int64_t> times_ns) const {
  CHECK(times_ns.size() == threads());
  times_ns[0] = nanoseconds_of(CLOCK_THREAD_CPUTIME_ID);
  for (std::size_t i = 0; i < impl_->clocks.size(); ++i) times_ns[i + 1] = nanoseconds_of(impl_->clocks[i]);
}

}  // namespace onnx_split
