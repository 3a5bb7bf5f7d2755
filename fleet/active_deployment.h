// One epoch, as the coordinator sees it: a plan's parts on their runners and the connections to these. It sends inputs,
// puts results together, and watches the runners: each is asked every heartbeat_period, by a thread of its own, so that
// one that hangs doesn't keep us from noticing another.
//
// It begins once and fails once, with a Failure that says whom to leave out of the next epoch. Going on is the
// coordinator's business. Before it fails it may miss devices whose spare parts answer in their place; it says so of
// each, and works on. send() and end() may be called from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "fleet/control.h"
#include "fleet/deployment.h"
#include "fleet/failure.h"
#include "fleet/port.h"
#include "onnx_import/export.h"
#include "transport/push_pull.h"

namespace onnx_split {

struct WatchOptions {
  std::shared_ptr<const transport::TlsIdentity> identity;  // a coordinator's, for runners at tls+tcp://
  // What a runner may take to answer what it is told before it is watched, hello, deploy and cut, is the longer one of
  // this and heartbeat_timeout.
  std::chrono::milliseconds connect_timeout{5000};
  // Who is silent for period and timeout together is lost: 0.95 s. (A process that ends is noticed at once.) Runners
  // have a period less to notice each other, since we hear of it when we ask next.
  std::chrono::milliseconds heartbeat_period{200};
  std::chrono::milliseconds heartbeat_timeout{750};
  // What a runner may take to cut its parts, or to load them, and 1 s more for each kSlowestDiskBytes of the whole
  // model's weights: a card that stands still doesn't keep it from answering pings.
  std::chrono::milliseconds prepare_timeout{60000};
  // Called while parts are sent: bytes done of all bytes.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;
  // Ends deploying with kCancelled: at once while a runner is connected to or asked who it is, else before the next
  // call.
  std::stop_token stop;
  // Asked before each call while deploying: true gives up with kCancelled, too.
  std::function<bool()> interrupted;
};

// Called on threads of the deployment's, one at a time each. They may not end or destroy it.
struct DeploymentEvents {
  // The outputs of a request, each once, in whatever order.
  std::function<void(std::uint64_t request, std::vector<Tensor> outputs)> result;
  // Once, unless end() comes first; before, perhaps, for each device that it can do without (goes_on).
  std::function<void(const Failure& failure)> failed;
  // On the thread that sends: an input that a device hadn't room for, and that others answer without. May be empty.
  std::function<void()> input_dropped = {};
};

// What any card gives in a second.
inline constexpr std::uint64_t kSlowestDiskBytes = std::uint64_t{2} << 20;

class ActiveDeployment {
 public:
  // Extracts the parts, sends them, and starts the runners; after a failure nothing stays deployed, but on devices that
  // don't answer. `control_urls`: of the plan's devices. The plan must fit the graph (check_plan). `epoch`:
  // new_epoch(). `replaces`: a running epoch of the same coordinator's that some of the runners are still in; they
  // serve both until that one ends.
  static tl::expected<std::unique_ptr<ActiveDeployment>, Failure> begin(const Graph& graph, const Plan& plan,
                                                                        const std::vector<std::string>& control_urls,
                                                                        const WatchOptions& options,
                                                                        DeploymentEvents events, std::uint64_t epoch,
                                                                        std::uint64_t replaces = 0);
  ~ActiveDeployment();  // ends it

  // Requests are numbered upwards, with at most a window between the oldest without a result and the newest. Inputs in
  // the graph's order and of its types. What goes wrong is told by events.failed.
  // Waits for a device that others can't answer in place of; `given_up` is asked every 0.2 s whether that goes on.
  void send(std::uint64_t request, const std::vector<Tensor>& inputs, const std::function<bool()>& given_up);

  // Stops everything and releases the runners that can be reached. No event comes after it. Idempotent.
  void end();

  std::size_t window() const { return deployment_.plan.window; }
  std::uint64_t epoch() const { return deployment_.epoch; }
  const Plan& plan() const { return deployment_.plan; }
  // Whether it needs this device: the plan uses it, and it isn't missed.
  bool works_with(const std::string& device);
  // Of the part files that runners were sent.
  std::uint64_t part_bytes() const { return part_bytes_; }
  // What each runner says of itself (its reply to status), by device; null for devices that the plan doesn't use, or
  // that don't answer.
  Expected<std::vector<Json>> runner_status();

 private:
  struct Pending {
    std::vector<Buffer> pieces;       // of the outputs, by index in result_pieces_
    std::vector<bool> arrived;        // the same
    std::vector<std::size_t> chosen;  // by group of alternatives: that have arrived
    std::size_t missing = 0;          // 0: nothing is awaited
    std::uint64_t request = 0;
  };
  // While deploying.
  struct PartFiles {
    PartId id;
    ExportedModel model;
    std::string hash;
    std::vector<std::size_t> missing_at;  // devices
  };
  static constexpr std::size_t kLeastPieceBytes = std::size_t{64} << 10;
  struct Runner {
    std::optional<ControlClient> client;  // nothing: the plan doesn't use it
    std::optional<transport::PushSocket> inputs;
    std::optional<transport::PushSocket> signals;  // to a device that sends alternatives: there are enough
    std::string data_url;
    std::string results_url;
    std::chrono::steady_clock::duration round_trip{};  // of a message without content
    std::size_t piece_bytes = kLeastPieceBytes;        // of a part file, sent at once: as its link can carry them
    bool cutting = false;                              // parts out of models that it has
    bool watched = false;                              // it has been told of its deployment
    bool connection_lost = false;                      // of control
    bool data_connection_lost = false;                 // or of inputs or results
    std::thread watcher;
  };

  ActiveDeployment(WatchOptions options, DeploymentEvents events)
      : options_(std::move(options)), events_(std::move(events)) {}

  const std::string& name_of(std::size_t device) const { return deployment_.plan.devices[device]; }
  std::string named(std::size_t device) const { return fmt::format("device \"{}\"", name_of(device)); }
  Failure lost(std::size_t device, Error error, bool is_silent = false) const;
  Failure suspected(std::size_t device, Error error) const;
  Failure call_failed(std::size_t device, Error error) const;
  Expected<void> export_parts(const Graph& graph);
  tl::expected<void, Failure> check_wanted();
  tl::expected<void, Failure> connect(const std::vector<std::string>& control_urls);
  tl::expected<Json, Failure> deploy_to(std::size_t device, const Json& deployment);
  Expected<bool> note_missing(std::size_t device, const JsonReader& reply);
  tl::expected<void, Failure> wait_for_cuts();
  tl::expected<void, Failure> send_parts();
  Expected<void> put_piece(Runner& runner, Json arguments, std::span<const std::byte> piece);
  tl::expected<void, Failure> start();
  tl::expected<void, Failure> call_all(std::string_view op, const Json& arguments);
  tl::expected<Json, Failure> wait_for_state(std::size_t device, std::string_view state);
  Expected<void> read_urls(Runner& runner, const Json& pong) const;
  tl::expected<void, Failure> open_data();
  void watch(std::size_t device);
  std::optional<Failure> ask(std::size_t device);
  std::optional<Failure> failure_in(std::size_t device, const Json& pong);
  bool can_miss(std::size_t device) const;
  bool goes_on_without(std::size_t device, Failure& failure);
  std::size_t index_of(const std::string& name) const;
  void fail_with(Failure failure);
  bool is_over();
  void receive_results();
  void take_result(transport::Message message);
  void say_enough(std::uint64_t request, std::size_t transfer);
  std::vector<Tensor> put_together(const std::vector<Buffer>& pieces);

  WatchOptions options_;
  DeploymentEvents events_;
  std::uint64_t replaces_ = 0;
  Deployment deployment_;
  std::vector<PartFiles> parts_;  // empty once they are sent
  std::chrono::milliseconds prepare_timeout_{};
  std::uint64_t part_bytes_ = 0;
  std::vector<std::size_t> result_pieces_;  // transfers that carry (pieces of) outputs, in part order
  std::size_t results_needed_ = 0;          // of them
  std::vector<Port> result_ports_;          // by output; used by the receiving thread alone
  std::vector<Runner> runners_;             // by device
  std::optional<transport::PullSocket> results_;
  std::thread receiver_;
  bool has_named_epoch_ = false;  // frames of another one, in the log: by the receiver alone, as the next one
  bool has_named_copy_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Pending> pending_;  // request r in pending_[r mod window]
  std::optional<Failure> failure_;
  std::set<std::size_t> missed_;  // devices that it does without
  std::vector<bool> may_miss_;    // by device: besides those
  std::set<std::size_t> silent_;  // devices that don't answer
  bool started_ = false;
  std::atomic<bool> ending_{false};
  std::mutex end_mutex_;
  bool ended_ = false;
};

}  // namespace onnx_split
