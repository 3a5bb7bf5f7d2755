// A device's share of a deployment, at work: it receives tensors, joins them by request, computes its parts and sends
// what they give to the devices that need it and to the coordinator.
//
// Three threads of its own: one receives and never stops reading (the join space is reserved for the whole window), and
// tells devices when their spare parts aren't needed for a request any more (as the one that computes does, where an
// alternative comes from here); one computes; one tells the devices that
// it sends to that it is there, and notices which of those that send to it are silent; nng's threads send, so that
// receiving, computing and sending overlap. A failure (a part that can't be computed, a peer that is silent or can't be
// reached) is kept for status(), and the coordinator decides; without a peer that isn't needed, because spare parts
// answer in its place (can_lose, partition/plan.h), it goes on, and what such a peer doesn't take in time is dropped.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "engine/session.h"
#include "fleet/cores.h"
#include "fleet/deployment.h"
#include "fleet/join_table.h"
#include "fleet/local_payloads.h"
#include "fleet/port.h"
#include "transport/push_pull.h"

namespace onnx_split {

struct ExecutorOptions {
  std::string host = "127.0.0.1";                          // to listen on
  std::shared_ptr<const transport::TlsIdentity> identity;  // a device's: listens at tls+tcp://; none: at tcp://
  std::uint16_t data_port = 0;                             // 0: chosen by the system
  std::uint64_t memory_limit_bytes = 0;                    // 0: none
  std::shared_ptr<Cores> cores;                            // the device's; not null
};

struct LoadedPart {
  PartId id;
  Graph graph;
};

// When the executor is started.
struct PeerOptions {
  std::vector<std::string> data_urls;  // by device; those that this one doesn't send to are ignored
  std::chrono::milliseconds connect_timeout{10000};
  std::chrono::milliseconds heartbeat_period{200};
  std::chrono::milliseconds heartbeat_timeout{750};  // beyond the period: then a peer is silent
};

enum class ExecutorState : std::uint8_t { kPrepared, kStarting, kRunning };

struct ExecutorFailure {
  std::string message;
  std::optional<std::size_t> blames;  // a device: this one, if it can't compute, or one that can't be reached or heard
  bool goes_on = false;               // it can do without that device
};

struct ExecutorStatus {
  ExecutorState state = ExecutorState::kPrepared;
  std::optional<ExecutorFailure> failure;
  std::uint64_t jobs_done = 0;
  std::uint64_t frames_dropped = 0;  // of other epochs, copies, damaged, not needed
  std::uint64_t sends_dropped = 0;   // to devices that are too late, and that others can do without
  std::uint64_t given_up = 0;        // jobs that others have done while this device was late, some in the middle
  transport::Counters received;
  std::uint64_t payload_bytes_received = 0;
  std::uint64_t payload_bytes_sent = 0;
  double compute_s = 0.0;  // in which parts were computed, also those that were given up
};

class Executor {
 public:
  // Makes the sessions and listens for tensors and for the coordinator that pulls results. kExhausted if weights,
  // activations, scratch and join space are more than the memory limit. The parts are those of
  // deployment.parts_of(device), in order.
  static Expected<std::unique_ptr<Executor>> create(Deployment deployment, std::size_t device,
                                                    std::vector<LoadedPart> parts, const ExecutorOptions& options);
  ~Executor();

  const std::string& data_url() const { return data_url_; }
  const std::string& results_url() const { return results_url_; }
  std::uint64_t epoch() const { return deployment_.epoch; }
  std::size_t memory_bytes() const;

  // Begins to receive and, in the background, connects to the devices that this one sends to; then it runs. Whether
  // that went well, status() says.
  Expected<void> start(PeerOptions options);

  ExecutorStatus status() const;

 private:
  // A part, ready to compute.
  struct OwnPart {
    PartId id;
    std::unique_ptr<Session> session;
    std::vector<Port> inputs;             // of the session, in its order
    std::vector<Port> outputs;            // the same
    std::vector<TensorView> input_views;  // reused for every request
    std::vector<MutableTensorView> output_views;
    std::vector<transport::Message> output_frames;              // of outputs that are computed right into a frame
    std::vector<std::shared_ptr<MutableBuffer>> local_outputs;  // of those that only this device reads
  };

  // A device that this one sends tensors to, or one that sends alternatives here.
  struct Peer {
    std::optional<transport::PushSocket> frames;
    transport::PushSocket signals;
  };

  Executor(Deployment deployment, std::size_t device, std::shared_ptr<Cores> cores)
      : deployment_(std::move(deployment)),
        device_(device),
        join_(deployment_, device),
        local_(deployment_.routing.transfers.size()),
        cores_(std::move(cores)) {}
  Expected<void> add_part(LoadedPart part, const ExecutorOptions& options);
  Expected<void> listen(const ExecutorOptions& options);
  void connect_and_beat();
  std::size_t transfers_to(std::size_t device) const;
  Expected<void> connect(std::size_t device, std::size_t alternatives);
  Expected<Peer*> add_peer(std::size_t device, Peer peer);
  Expected<void> beat();
  void hear(std::size_t device);
  std::chrono::nanoseconds check_heard();
  void receive_loop();
  void compute_loop();
  std::optional<Job> next_job();
  Expected<void> compute(const Job& job);
  Expected<bool> run(OwnPart& part, const Job& job);
  Expected<bool> deliver(std::uint64_t request, std::size_t transfer, Buffer payload);
  Expected<void> say_enough(std::uint64_t request, std::span<const std::size_t> transfers);
  Expected<void> send_output(OwnPart& part, std::size_t output, const Job& job);
  bool stays_here(const Job& job, std::size_t transfer) const;
  Expected<void> send(const Job& job, std::size_t transfer, transport::Message frame);
  Expected<void> push(transport::PushSocket& socket, transport::Message frame, bool may_drop);
  void set_failure(const Error& error, std::optional<std::size_t> blames = {});
  void do_without(const Error& error, std::size_t device);
  void update_can_do_without();

  Deployment deployment_;
  std::size_t device_;
  JoinTable join_;
  LocalPayloads local_;  // the computer's
  std::vector<OwnPart> parts_;
  std::optional<transport::PullSocket> data_;
  std::optional<transport::PushSocket> results_;
  std::shared_ptr<const transport::TlsIdentity> identity_;
  Cores::User cores_;
  PeerOptions peer_options_;
  std::vector<std::optional<Peer>> peers_;                  // by device; each in its place before kRunning
  std::map<std::size_t, std::atomic<std::int64_t>> heard_;  // by device that sends here: ns of the steady clock
  std::string data_url_;
  std::string results_url_;

  std::atomic<bool> stopping_{false};
  std::atomic<ExecutorState> state_{ExecutorState::kPrepared};
  std::atomic<std::uint64_t> jobs_done_{0};
  std::atomic<std::uint64_t> frames_dropped_{0};
  std::atomic<std::uint64_t> sends_dropped_{0};
  std::atomic<std::uint64_t> payload_bytes_received_{0};
  std::atomic<std::uint64_t> payload_bytes_sent_{0};
  std::atomic<std::uint64_t> compute_ns_{0};
  mutable std::mutex mutex_;
  std::condition_variable stop_changed_;
  std::optional<ExecutorFailure> failure_;
  std::set<std::size_t> missed_;                  // devices that others do without
  std::deque<std::atomic<bool>> can_do_without_;  // by device: besides those that are missed already
  std::thread receiver_;
  std::thread computer_;
  std::thread beater_;
};

}  // namespace onnx_split
