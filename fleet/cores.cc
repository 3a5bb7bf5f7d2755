#include "fleet/cores.h"

namespace onnx_split {

std::uint64_t Cores::next_number() {
  const std::scoped_lock lock(mutex_);
  return next_number_++;
}

Cores::Place::Place(Cores& cores, std::uint64_t number) : cores_(cores), number_(number) {
  const std::scoped_lock lock(cores_.mutex_);
  cores_.line_.insert(number_);
}

Cores::Place::~Place() {
  {
    const std::scoped_lock lock(cores_.mutex_);
    cores_.line_.erase(number_);
  }
  cores_.changed_.notify_all();
}

Cores::Turn Cores::Place::wait_for_turn() {
  std::unique_lock lock(cores_.mutex_);
  cores_.changed_.wait(lock, [&] { return !cores_.is_taken_ && *cores_.line_.begin() == number_; });
  cores_.is_taken_ = true;
  return Turn(cores_);
}

Cores::Turn::~Turn() {
  {
    const std::scoped_lock lock(cores_.mutex_);
    cores_.is_taken_ = false;
  }
  cores_.changed_.notify_all();
}

}  // namespace onnx_split
