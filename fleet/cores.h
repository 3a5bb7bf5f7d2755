// The processor cores of a device, which all executors there share.
//
// While one epoch follows another there are two of them: the old one has requests in flight, the new one gets those
// that come next. The window's places get free in the order of the requests, so what the new one computes before the
// old one is done doesn't help the stream, and takes the cores from what it waits for. So one job is computed at a
// time, by all threads, and the oldest executor's first.
//
// Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>

#include "engine/thread_pool.h"

namespace onnx_split {

class Cores {
 public:
  // For sessions that compute in turns; the thread that has the turn is one of them.
  explicit Cores(unsigned threads) : threads_(std::make_shared<ThreadPool>(threads)) {}

  const std::shared_ptr<ThreadPool>& threads() const { return threads_; }

  // For a new user of the cores: larger than all before.
  std::uint64_t next_number();

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

  // A place in the line, to be had for as long as there are jobs that are ready, between two of them as well. Nobody
  // with a larger number gets a turn meanwhile.
  class Place {
   public:
    Place(Cores& cores, std::uint64_t number);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    // Waits until nobody computes and nobody with a smaller number is in the line.
    [[nodiscard]] Turn wait_for_turn();

   private:
    Cores& cores_;
    std::uint64_t number_;
  };

 private:
  std::shared_ptr<ThreadPool> threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t next_number_ = 0;
  std::set<std::uint64_t> line_;  // numbers
  bool is_taken_ = false;
};

}  // namespace onnx_split
