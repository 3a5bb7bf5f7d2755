// The process on each device that executes its parts. It listens on one control port; a coordinator deploys to it,
// starts it, watches it and stops it. One coordinator at a time: a second one is refused until the first stops or has
// been silent for the lease. The one may deploy its next epoch while the last one still runs. While nothing is deployed
// it measures for profiles: nodes (fleet/profiler.h) and messages (fleet/link_probe.h).
//
// But for measuring it answers at once, whatever it does: parts are cut and loaded, and the executor of an ended
// deployment is waited for, in the background, so that silence means that something is wrong.
//
// Nothing outlives a deployment but, with keep_bytes, parts on the disk. serve() runs on the caller's thread; stop()
// may be called from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <future>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fleet/assignment.h"
#include "fleet/control.h"
#include "fleet/link_probe.h"

namespace onnx_split {

struct RunnerOptions {
  std::string listen = "tcp://127.0.0.1:0";
  std::uint16_t data_port = 0;
  std::string name = "runner";
  std::string version;  // of the program, for profiles
  unsigned threads = 1;
  std::uint64_t memory_limit_bytes = 0;                    // 0: none
  std::filesystem::path model_dir;                         // for parts; models there needn't be sent; no other runner's
  std::uint64_t keep_bytes = 0;                            // the most of them that is kept for later deployments
  bool insecure = false;                                   // allow listening beyond loopback without TLS
  std::shared_ptr<const transport::TlsIdentity> identity;  // this device's, for tls+tcp://
  std::chrono::milliseconds lease{10000};
};

class Runner {
 public:
  // Listens. kUnsupported for an address beyond loopback without TLS or `insecure`. Over TLS only coordinators get in,
  // and only coordinators and devices to the ports for data.
  static Expected<std::unique_ptr<Runner>> create(const RunnerOptions& options);

  // The control port's URL, with the port that the system chose.
  const std::string& url() const { return url_; }

  // Answers until stop().
  Expected<void> serve();
  void stop();

 private:
  Runner(RunnerOptions options, std::shared_ptr<Cores> cores)
      : options_(std::move(options)), cores_(std::move(cores)) {}

  Json handle(std::span<const std::byte> request);
  Expected<Json> dispatch(const ControlMessage& message);
  Expected<Json> hello(const JsonReader& request);
  Expected<Json> deploy(const JsonReader& request);
  Expected<Json> cut(const JsonReader& request);
  Expected<Json> put(const JsonReader& request, std::span<const std::byte> bytes);
  Expected<Json> prepare(const JsonReader& request);
  Expected<Json> start(const JsonReader& request);
  Expected<Json> ping(const JsonReader& request);
  Expected<Json> status(const JsonReader& request);
  Expected<Json> end(const JsonReader& request);
  Expected<Json> profile(const JsonReader& request, std::span<const std::byte> bytes);
  Expected<Json> link_listen(const JsonReader& request);
  Expected<Json> link_ping(const JsonReader& request);
  Expected<Json> link_end(const JsonReader& request);
  Expected<void> check_free(std::uint64_t replaces = 0) const;
  Expected<std::list<Assignment>::iterator> assignment_of(const JsonReader& request);
  std::uint64_t memory_left_for(const Assignment& assignment) const;
  void drop_if_silent();
  void release(std::list<Assignment>::iterator assignment);

  RunnerOptions options_;
  std::string url_;
  std::string host_;
  std::optional<transport::ReplySocket> socket_;
  std::atomic<bool> stopping_{false};

  std::shared_ptr<Cores> cores_;       // of all executors here
  std::list<Assignment> assignments_;  // the last may be there to replace the one before
  // Of ended deployments, until their last computation is done and their memory is free.
  std::vector<std::future<void>> retiring_;

  std::unique_ptr<LinkAnswerer> link_;  // while somebody measures messages to and from here
};

}  // namespace onnx_split
