// Threads that divide one job among themselves. Idle threads sleep: who has worked looks out for the next job for some
// microseconds before.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <type_traits>

namespace onnx_split {

// A borrowed body(task, worker): like std::function, but never allocates and doesn't keep the callable alive.
class TaskRef {
 public:
  template <class Body>
  requires(!std::same_as<std::remove_cvref_t<Body>, TaskRef>)
      TaskRef(const Body& body)  // NOLINT(google-explicit-constructor)
      : body_(&body), call_([](const void* object, std::size_t task, unsigned worker) {
          (*static_cast<const Body*>(object))(task, worker);
        }) {}

  void operator()(std::size_t task, unsigned worker) const { call_(body_, task, worker); }

 private:
  const void* body_;
  void (*call_)(const void* object, std::size_t task, unsigned worker);
};

class ThreadPool {
 public:
  // `threads` includes the caller of parallel_for: 0 and 1 start none. Throws std::system_error if the system refuses
  // one.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned threads() const;

  // Calls body(task, worker) once for each task in [0, tasks), on any thread, and returns when all are done. `worker`
  // is in [0, threads()) and distinguishes the threads that run at the same time (for scratch memory). A worker begins
  // with its own equal share of neighbouring tasks and then takes others'; the caller is worker 0. One caller at a
  // time; the body must not throw and must not call parallel_for. Doesn't allocate.
  void parallel_for(std::size_t tasks, TaskRef body);

  // From when `stop` is requested tasks that haven't begun are left out, until another one is given. Not while a
  // parallel_for runs.
  void stop_with(std::stop_token stop);

  // How long each thread has been on a processor since it began, in nanoseconds: the calling thread's first, then the
  // pool's own. `times_ns` has an element for each of threads(). Not while a parallel_for runs. Doesn't allocate.
  void processor_times(std::span<std::int64_t> times_ns) const;

 private:
  struct Impl;
  explicit ThreadPool(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace onnx_split
