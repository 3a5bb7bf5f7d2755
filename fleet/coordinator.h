// Deploys a plan to runners, submits inputs and hands back results, each exactly once and in whatever order they come.
//
// submit() and try_submit() may be called from any thread. A device that fails or vanishes ends the deployment: every
// unfinished request gets the error, and so does everything submitted later.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "fleet/control.h"
#include "fleet/deployment.h"
#include "transport/push_pull.h"

namespace onnx_split {

using Result = Expected<std::vector<Tensor>>;  // the network's outputs, in the graph's order

struct CoordinatorOptions {
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds heartbeat_period{250};
  // A runner that doesn't answer a heartbeat for this long is taken for dead. (A process that ends is noticed at once.)
  std::chrono::milliseconds heartbeat_timeout{5000};
  // Called while parts are sent: bytes done of all bytes.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;
  // Asked while deploying: true gives up with kCancelled.
  std::function<bool()> interrupted;
};

class Coordinator {
 public:
  // `control_urls`: of each device in the plan. Extracts the parts, sends them, and starts the runners; after an error
  // nothing stays deployed.
  static Expected<std::unique_ptr<Coordinator>> deploy(const Graph& graph, const Plan& plan,
                                                       const std::vector<std::string>& control_urls,
                                                       const CoordinatorOptions& options = {});
  // Ends the deployment; unfinished requests get kCancelled.
  ~Coordinator();

  // Inputs in the graph's order and of its types (checked; the error is in the future). Blocks while the window is
  // full.
  std::future<Result> submit(const std::vector<Tensor>& inputs);

  // As submit, but a full window is kExhausted at once.
  Expected<std::future<Result>> try_submit(const std::vector<Tensor>& inputs);

  // Ends everything with this error from any thread: a user's Ctrl-C.
  void cancel(Error error);

  std::size_t window() const { return deployment_.plan.window; }
  // What each runner says of itself (its reply to status), by device; null for devices that the plan doesn't use.
  Expected<std::vector<Json>> runner_status();

 private:
  struct Request {
    std::promise<Result> promise;
    std::vector<Buffer> pieces;  // of the outputs, by index in result_pieces_
    std::vector<bool> arrived;   // the same
    std::size_t missing = 0;
    bool open = false;
  };

  explicit Coordinator(CoordinatorOptions options) : options_(std::move(options)) {}
  Expected<void> connect(const std::vector<std::string>& control_urls);
  std::set<std::size_t> devices_of(PartId part) const;  // that hold it, as any replica
  Expected<void> send_parts(const Graph& graph);
  Expected<void> start();
  Error reason_of(Error error);
  void end_deployment();
  void heartbeat_loop();
  Expected<void> check_lost();
  Expected<void> check_runner(ControlClient& runner);
  void result_loop();
  void take_result(transport::Message message);
  std::vector<Tensor> put_together(const std::vector<Buffer>& pieces) const;
  Expected<std::future<Result>> submit_when(const std::vector<Tensor>& inputs, bool may_wait);
  Expected<void> check_inputs(const std::vector<Tensor>& inputs) const;
  Expected<void> send_inputs(std::uint64_t request, const std::vector<Tensor>& inputs);
  bool window_full() const { return next_request_ - oldest_open_ >= deployment_.plan.window; }

  CoordinatorOptions options_;
  Deployment deployment_;
  std::vector<std::size_t> result_pieces_;                    // transfers that carry (pieces of) outputs, in part order
  std::vector<std::optional<ControlClient>> runners_;         // by device
  std::vector<std::string> data_urls_;                        // by device
  std::vector<std::optional<transport::PushSocket>> inputs_;  // by device
  std::optional<transport::PullSocket> results_;
  bool deployed_ = false;

  std::mutex submit_mutex_;  // requests go out in the order of their numbers
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Request> requests_;  // request r in requests_[r mod window]
  std::uint64_t next_request_ = 0;
  std::uint64_t oldest_open_ = 0;
  std::optional<Error> failure_;
  std::vector<bool> lost_;            // by device: its control connection broke
  std::atomic<bool> started_{false};  // until then runners may be too busy to answer
  std::atomic<bool> stopping_{false};
  std::thread heartbeat_;
  std::thread receiver_;
};

}  // namespace onnx_split
