#include "fleet/cores.h"

#include <utility>

#include "base/check.h"

namespace onnx_split {

Cores::User::User(std::shared_ptr<Cores> cores) : cores_(std::move(cores)) {
  const std::scoped_lock lock(cores_->mutex_);
  number_ = cores_->next_number_++;
}

void Cores::User::enter_line() {
  const std::scoped_lock lock(cores_->mutex_);
  cores_->line_.insert(number_);
}

void Cores::User::leave_line() {
  {
    const std::scoped_lock lock(cores_->mutex_);
    if (cores_->line_.erase(number_) == 0) return;
  }
  cores_->changed_.notify_all();
}

std::optional<Cores::Turn> Cores::User::wait_for_turn() {
  std::unique_lock lock(cores_->mutex_);
  CHECK(cores_->line_.contains(number_));
  cores_->changed_.wait(lock, [&] { return is_closed_ || (!cores_->is_taken_ && *cores_->line_.begin() == number_); });
  if (is_closed_) return std::nullopt;
  cores_->is_taken_ = true;
  return std::optional<Turn>(std::in_place, *cores_);
}

void Cores::User::close() {
  {
    const std::scoped_lock lock(cores_->mutex_);
    is_closed_ = true;
  }
  cores_->changed_.notify_all();
}

Cores::Turn::~Turn() {
  {
    const std::scoped_lock lock(cores_.mutex_);
    cores_.is_taken_ = false;
  }
  cores_.changed_.notify_all();
}

}  // namespace onnx_split
