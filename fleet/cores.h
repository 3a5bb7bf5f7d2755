// The processor cores of a device, and the memory that only who computes needs, which all executors there share.
//
// While one epoch follows another there are two of them: the old one has requests in flight, the new one gets those
// that come next. The window's places get free in the order of the requests, so what the new one computes before the
// old one is done doesn't help the stream, and takes the cores from what it waits for. So one job is computed at a
// time, by all threads, and the oldest executor's first.
//
// Thread-safe, but for what User says.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "engine/run_memory.h"
#include "engine/thread_pool.h"

namespace onnx_split {

class Cores {
 public:
  // For sessions that compute in turns; the thread that has the turn is one of them.
  explicit Cores(unsigned threads)
      : threads_(std::make_shared<ThreadPool>(threads)), run_memory_(std::make_shared<RunMemory>()) {}

  const std::shared_ptr<ThreadPool>& threads() const { return threads_; }
  const std::shared_ptr<RunMemory>& run_memory() const { return run_memory_; }

  // The cores are the holder's until it is destroyed.
  class Turn {
   public:
    explicit Turn(Cores& cores) : cores_(cores) {}
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Cores& cores_;
  };

  // One who computes in turns: before those that were made after it, for as long as it is in the line. It should be
  // there for as long as it can compute, between two of its jobs as well. Only close() may be called by another thread
  // than the one that waits.
  class User {
   public:
    explicit User(std::shared_ptr<Cores> cores);
    ~User() { leave_line(); }
    User(const User&) = delete;
    User& operator=(const User&) = delete;

    // Does nothing if it is where it should be already.
    void enter_line();
    void leave_line();
    // In the line, waits until nobody computes and nobody older is in it. Nothing after close().
    [[nodiscard]] std::optional<Turn> wait_for_turn();
    // Wakes wait_for_turn(), which then returns nothing.
    void close();

   private:
    std::shared_ptr<Cores> cores_;
    std::uint64_t number_;
    bool is_closed_ = false;  // guarded by the cores' mutex
  };

 private:
  std::shared_ptr<ThreadPool> threads_;
  std::shared_ptr<RunMemory> run_memory_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t next_number_ = 0;
  std::set<std::uint64_t> line_;  // users' numbers
  bool is_taken_ = false;
};

}  // namespace onnx_split
