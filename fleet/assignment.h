// A runner's share of one epoch, from the first order to the last: parts come, are prepared, and run. It answers at
// once, whatever it does: parts are cut and loaded in the background. Not thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/json.h"
#include "fleet/executor.h"
#include "fleet/part_store.h"
#include "fleet/requests.h"

namespace onnx_split {

class Assignment {
 public:
  Assignment(Deployment deployment, std::size_t device) : deployment_(std::move(deployment)), device_(device) {}
  Assignment(Assignment&&) = default;

  std::uint64_t epoch() const { return deployment_.epoch; }
  std::size_t device() const { return device_; }
  const Deployment& deployment() const { return deployment_; }
  bool is_running() const;
  // Of the executor; 0 until there is one.
  std::size_t memory_bytes() const { return executor_ ? executor_->memory_bytes() : 0; }

  // Announces the device's parts to the store. Gives those that aren't here.
  Expected<Json> expect_parts(const std::vector<AnnouncedPart>& parts, PartStore store);
  // Begins to cut what isn't here out of models that are, once `before` is done: memory that others still have. Taken
  // if there is no error; whoever destroys them waits.
  Expected<void> cut(const JsonReader& request, std::vector<std::filesystem::path> models,
                     std::uint64_t max_memory_bytes, std::vector<std::future<void>>& before);
  // A piece of a part.
  Expected<void> put(const JsonReader& request, std::span<const std::byte> bytes);
  // Begins to load, once `before` is done.
  Expected<void> prepare(const ExecutorOptions& options, std::vector<std::future<void>>& before);
  Expected<void> start(const JsonReader& request);
  // The state, and what a coordinator wants to know again and again.
  Json progress();

  void heard() { last_heard_ = std::chrono::steady_clock::now(); }
  std::chrono::steady_clock::duration silent_for() const { return std::chrono::steady_clock::now() - last_heard_; }

  // What must be waited for until its memory is free.
  std::vector<std::future<void>> end() &&;

 private:
  void take_prepared();
  void take_cut();
  Expected<void> check_awaits_parts();
  void fail_with(const Error& error);

  Deployment deployment_;
  std::size_t device_;
  std::optional<PartStore> store_;            // while parts may come
  std::future<Expected<PartStore>> cutting_;  // has the store meanwhile
  std::stop_source stop_cutting_;
  std::future<Expected<std::unique_ptr<Executor>>> preparing_;
  std::optional<std::string> failure_;  // of cutting or preparing
  std::unique_ptr<Executor> executor_;
  std::chrono::steady_clock::time_point last_heard_ = std::chrono::steady_clock::now();
};

}  // namespace onnx_split
