// Threads that divide one job among themselves. Idle threads sleep.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace onnx_split {

class ThreadPool {
 public:
  // `threads` includes the caller of parallel_for: 1 starts none.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned threads() const;

  // Calls body(task, worker) once for each task in [0, tasks), on any thread, and returns when all are done. `worker` is
  // in [0, threads()) and distinguishes the threads that run at the same time (for scratch memory). One caller at a time;
  // the body must not throw and must not call parallel_for. Doesn't allocate.
  void parallel_for(std::size_t tasks, const std::function<void(std::size_t task, unsigned worker)>& body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onnx_split
