#include "fleet/executor.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "fleet/composer.h"
#include "fleet/signal.h"
#include "graph/order.h"
#include "transport/url.h"

namespace onnx_split {
namespace {

using transport::Message;
using transport::PullSocket;
using transport::PushSocket;

constexpr std::chrono::milliseconds kSendTimeout{200};

std::int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Expected<void> check_type(const Graph& graph, ValueId id, const TensorType& expected) {
  const Value& value = graph.value(id);
  if (value.type != expected) {
    return fail(ErrorCode::kInvalid, "value \"{}\" is {} in the part, {} in the plan", value.name,
                value.type.to_string(), expected.to_string());
  }
  return {};
}

Expected<void> check_memory(std::size_t bytes, const ExecutorOptions& options) {
  if (options.memory_limit_bytes == 0 || bytes <= options.memory_limit_bytes) return {};
  return fail(ErrorCode::kExhausted, "the parts need {} bytes, the memory limit is {}", bytes,
              options.memory_limit_bytes);
}

}  // namespace

Expected<std::unique_ptr<Executor>> Executor::create(Deployment deployment, std::size_t device,
                                                     std::vector<LoadedPart> parts, const ExecutorOptions& options) {
  const std::vector<PartId> own = deployment.parts_of(device);
  std::unique_ptr<Executor> executor(new Executor(std::move(deployment), device, options.cores));
  CHECK(parts.size() == own.size());
  for (LoadedPart& part : parts) {
    const PartId id = part.id;
    auto added = executor->add_part(std::move(part), options);
    if (!added) return fail_in(to_string(id), std::move(added.error()));
  }
  TRY(check_memory(executor->memory_bytes(), options));
  TRY(executor->listen(options));
  return executor;
}

Expected<void> Executor::add_part(LoadedPart part, const ExecutorOptions& options) {
  const Part& planned = deployment_.plan.stages[part.id.stage].parts[part.id.part];
  if (part.graph.inputs().size() != planned.inputs.size() || part.graph.outputs().size() != planned.outputs.size()) {
    return fail(ErrorCode::kInvalid, "the part has {} inputs and {} outputs, the plan {} and {}",
                part.graph.inputs().size(), part.graph.outputs().size(), planned.inputs.size(), planned.outputs.size());
  }
  OwnPart own{part.id, nullptr, {}, {}, {}, {}, {}, {}};
  for (std::size_t i = 0; i < planned.inputs.size(); ++i) {
    own.inputs.push_back(Port::input(deployment_, part.id, planned.inputs[i]));
    TRY(check_type(part.graph, part.graph.inputs()[i], own.inputs.back().type()));
  }
  for (std::size_t i = 0; i < planned.outputs.size(); ++i) {
    own.outputs.push_back(Port::output(deployment_, part.id, planned.outputs[i]));
    TRY(check_type(part.graph, part.graph.outputs()[i], own.outputs.back().type()));
  }
  // Before anything is allocated: what the part needs at the very least.
  std::size_t least_bytes = memory_bytes() + peak_activation_bytes(part.graph);
  for (const auto* ports : {&own.inputs, &own.outputs}) {
    for (const Port& port : *ports) least_bytes += port.held_bytes();
  }
  for (const Value& value : part.graph.values()) {
    if (value.constant) least_bytes += value.type.size_bytes();
  }
  TRY(check_memory(least_bytes, options));
  SessionOptions session_options;
  session_options.pool = options.cores->threads();
  session_options.run_memory = options.cores->run_memory();
  for (const Port& port : own.inputs) session_options.boundary.inputs.push_back(port.layout());
  for (const Port& port : own.outputs) session_options.boundary.outputs.push_back(port.layout());
  session_options.choices = choices_for(part.graph, choices_of(deployment_.plan, part.id));
  TRY_ASSIGN(own.session, Session::create(std::move(part.graph), session_options));
  for (auto* ports : {&own.inputs, &own.outputs}) {
    for (Port& port : *ports) port.reserve();
  }
  own.output_frames.resize(planned.outputs.size());
  own.local_outputs.resize(planned.outputs.size());
  parts_.push_back(std::move(own));
  return {};
}

Expected<void> Executor::listen(const ExecutorOptions& options) {
  identity_ = options.identity;
  transport::Url url{identity_ ? transport::Scheme::kTlsTcp : transport::Scheme::kTcp, options.host, options.data_port};
  TRY_ASSIGN(data_, PullSocket::open());
  TRY_ASSIGN(data_url_,
             data_->listen(url.text(), deployment_.largest_frame_bytes(), {identity_, transport::Peers::kAll, ""}));
  url.port = 0;
  TRY_ASSIGN(results_, PushSocket::open(deployment_.send_queue(deployment_.routing.transfers.size())));
  TRY_ASSIGN(results_url_, results_->listen(url.text(), {identity_, transport::Peers::kCoordinators, ""}));
  return {};
}

std::size_t Executor::memory_bytes() const {
  std::size_t bytes = join_.capacity_bytes();
  for (const OwnPart& part : parts_) {
    bytes += part.session->weight_bytes() + part.session->arena_bytes() + part.session->workspace_bytes();
    for (const auto* ports : {&part.inputs, &part.outputs}) {
      for (const Port& port : *ports) bytes += port.held_bytes();
    }
  }
  return bytes;
}

Expected<void> Executor::start(PeerOptions options) {
  if (receiver_.joinable()) return fail(ErrorCode::kInvalid, "this deployment has been started already");
  if (options.data_urls.size() != deployment_.plan.devices.size()) {
    return fail(ErrorCode::kInvalid, "{} data addresses for {} devices", options.data_urls.size(),
                deployment_.plan.devices.size());
  }
  peer_options_ = std::move(options);
  peers_.resize(peer_options_.data_urls.size());
  can_do_without_ = std::deque<std::atomic<bool>>(peers_.size());
  update_can_do_without();
  // Others are connected, and heard, later.
  for (const std::size_t device : deployment_.senders_to(device_)) {
    heard_[device] = steady_ns() + std::chrono::nanoseconds(peer_options_.connect_timeout).count();
  }
  state_ = ExecutorState::kStarting;
  receiver_ = std::thread([this] { receive_loop(); });
  beater_ = std::thread([this] { connect_and_beat(); });
  return {};
}

// Of a request, from here.
std::size_t Executor::transfers_to(std::size_t device) const {
  std::size_t count = 0;
  for (const PartId part : deployment_.parts_of(device_)) {
    for (const std::size_t transfer : deployment_.routing.from(part)) {
      const std::size_t one[] = {transfer};
      count += deployment_.receivers_of_transfers(one).contains(device) ? 1 : 0;
    }
  }
  return count;
}

// In its place before it dials: there the destructor can close it.
Expected<Executor::Peer*> Executor::add_peer(std::size_t device, Peer peer) {
  const std::scoped_lock lock(mutex_);
  if (stopping_) return fail(ErrorCode::kCancelled, "stopping");
  return &peers_[device].emplace(std::move(peer));
}

Expected<void> Executor::connect(std::size_t device, std::size_t alternatives) {
  const bool gets_tensors = transfers_to(device) > 0;
  std::optional<PushSocket> frames;
  if (gets_tensors) {
    TRY_ASSIGN(frames, PushSocket::open(deployment_.send_queue(transfers_to(device))));
  }
  TRY_ASSIGN(PushSocket signals, open_signals(deployment_, alternatives));
  TRY_ASSIGN(Peer * peer, add_peer(device, {std::move(frames), std::move(signals)}));
  transport::DialOptions dial;
  dial.tls = {identity_, transport::Peers::kDevices, deployment_.plan.devices[device]};
  if (peer->frames) {
    // What was on its way is lost.
    peer->frames->on_disconnect([this, device](const std::string& url) {
      do_without({ErrorCode::kUnavailable,
                  fmt::format("device \"{}\": {}: the connection broke", deployment_.plan.devices[device], url)},
                 device);
    });
    dial.connect_timeout = peer_options_.connect_timeout;
    TRY(peer->frames->dial(peer_options_.data_urls[device], dial));
  }
  dial.connect_timeout = {};  // in the background: who isn't heard in time has that time to connect, too
  return peer->signals.dial(peer_options_.data_urls[device], dial);
}

void Executor::connect_and_beat() {
  std::map<std::size_t, std::size_t> devices = deployment_.alternatives_for(device_);
  for (const std::size_t receiver : deployment_.receivers_of(device_)) devices.try_emplace(receiver, 0);
  for (const auto& [device, alternatives] : devices) {
    if (stopping_) return;
    auto connected = connect(device, alternatives);
    if (!connected) {
      return set_failure(
          std::move(connected.error()).in(fmt::format("device \"{}\"", deployment_.plan.devices[device])), device);
    }
  }
  computer_ = std::thread([this] { compute_loop(); });
  state_ = ExecutorState::kRunning;
  while (!stopping_) {
    if (const auto beaten = beat(); !beaten) set_failure(beaten.error());
    const std::chrono::nanoseconds wait = check_heard();
    std::unique_lock lock(mutex_);
    stop_changed_.wait_for(lock, wait, [&] { return stopping_.load(); });
  }
}

Expected<void> Executor::beat() {
  for (std::optional<Peer>& peer : peers_) {
    if (peer && peer->frames) TRY(signal(peer->signals, heartbeat_of(deployment_, device_)));
  }
  return {};
}

void Executor::hear(std::size_t device) {
  const auto heard = heard_.find(device);
  if (heard != heard_.end()) heard->second = steady_ns();
}

// Gives how long until this is to be called again: a period, or less if somebody's silence would be too long before.
std::chrono::nanoseconds Executor::check_heard() {
  const std::chrono::nanoseconds limit = peer_options_.heartbeat_period + peer_options_.heartbeat_timeout;
  std::chrono::nanoseconds wait = peer_options_.heartbeat_period;
  const std::int64_t now = steady_ns();
  for (const auto& [device, heard] : heard_) {
    const std::chrono::nanoseconds silent(now - heard);
    if (silent <= limit) {
      wait = std::min(wait, limit - silent + std::chrono::milliseconds(1));
      continue;
    }
    do_without({ErrorCode::kUnavailable,
                fmt::format("nothing was heard from device \"{}\" for {} ms", deployment_.plan.devices[device],
                            std::chrono::duration_cast<std::chrono::milliseconds>(silent).count())},
               device);
  }
  return wait;
}

Executor::~Executor() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  stop_changed_.notify_all();
  join_.close();
  cores_.close();
  // Closing wakes the threads wherever they wait.
  if (data_) data_->close();
  if (results_) results_->close();
  for (std::optional<Peer>& peer : peers_) {
    if (!peer) continue;
    if (peer->frames) peer->frames->close();
    peer->signals.close();
  }
  if (beater_.joinable()) beater_.join();  // it makes the computer
  if (receiver_.joinable()) receiver_.join();
  if (computer_.joinable()) computer_.join();
}

void Executor::set_failure(const Error& error, std::optional<std::size_t> blames) {
  if (stopping_) return;
  const std::scoped_lock lock(mutex_);
  if (failure_ && !failure_->goes_on) return;
  failure_ = {error.message, blames, false};
  log_info("{}", error.message);  // the coordinator asks for it and tells the user
}

void Executor::update_can_do_without() {
  for (std::size_t device = 0; device < can_do_without_.size(); ++device) {
    std::set<std::size_t> with = missed_;
    with.insert(device);
    can_do_without_[device] = can_lose(deployment_.plan, with);
  }
}

// Or fails, where that is impossible.
void Executor::do_without(const Error& error, std::size_t device) {
  if (stopping_) return;
  {
    const std::scoped_lock lock(mutex_);
    if (missed_.contains(device)) return;
    missed_.insert(device);
    if (can_lose(deployment_.plan, missed_)) {
      update_can_do_without();
      if (!failure_ || failure_->goes_on) failure_ = {error.message, device, true};
      log_info("{}; going on without it", error.message);
      return;
    }
  }
  set_failure(error, device);
}

void Executor::receive_loop() {
  // Each once.
  bool has_named_epoch = false, has_named_copy = false;
  const auto drop = [&](bool& has_said_so, std::string_view what) {
    ++frames_dropped_;
    if (!std::exchange(has_said_so, true)) log_info("{}; it is dropped, as all like it are", what);
  };
  while (!stopping_) {
    auto message = data_->receive(transport::kForever);  // or until the destructor closes it
    if (!message) {
      set_failure(message.error(), device_);
      return;
    }
    const int sender = message->connection();
    const auto header = check_frame(deployment_, std::as_const(*message).bytes());
    if (!header && header.error().code == ErrorCode::kCancelled) {  // another epoch's: it is late
      drop(has_named_epoch, header.error().message);
      continue;
    }
    // Whoever sends what can't be right is cut off. A stranger can do no more harm; a device of ours, or the
    // coordinator, notices that its connection broke, and what was lost is sent again in a new epoch.
    if (!header) {
      ++frames_dropped_;
      data_->refuse(sender, header.error().message);
      continue;
    }
    if (header->transfer == kHeartbeat) {
      hear(header->value);
      continue;
    }
    if (header->transfer == kEnough) {
      hear(header->source_part);
      const auto said =
          say_enough(header->request, join_.has_enough(header->request, header->value, header->source_part));
      if (!said) set_failure(said.error(), device_);
      continue;
    }
    payload_bytes_received_ += message->size() - kFrameHeaderBytes;
    const Buffer frame = transport::share(std::move(*message));
    const auto is_kept =
        deliver(header->request, header->transfer, frame.sub(kFrameHeaderBytes, frame.size() - kFrameHeaderBytes));
    if (!is_kept) data_->refuse(sender, is_kept.error().message);
    if (!is_kept || *is_kept) continue;
    if (deployment_.routing.alternatives_of[header->transfer]) {
      ++frames_dropped_;  // others were enough
    } else {
      drop(has_named_copy,
           fmt::format("a frame of request {} is a copy, comes too late, or isn't needed any more", header->request));
    }
  }
}

// Whether it was kept.
Expected<bool> Executor::deliver(std::uint64_t request, std::size_t transfer, Buffer payload) {
  TRY_ASSIGN(const Delivery delivery, join_.deliver(request, transfer, std::move(payload)));
  const auto said = say_enough(request, delivery.not_needed);
  if (!said) set_failure(said.error(), device_);  // not the sender's
  return delivery.is_kept;
}

// To the devices that would give the transfers.
Expected<void> Executor::say_enough(std::uint64_t request, std::span<const std::size_t> transfers) {
  const auto own = static_cast<std::uint32_t>(device_);
  for (const std::size_t transfer : transfers) {
    const PartId source = *deployment_.routing.transfers[transfer].source;
    const std::size_t device = device_for(deployment_.plan, source, request);
    if (device == device_) {
      TRY(say_enough(request, join_.has_enough(request, transfer, own)));
    } else if (state_ == ExecutorState::kRunning) {  // the first requests may come before there is a connection
      TRY(signal(peers_[device]->signals, enough_of(deployment_, request, transfer, own)));
    }
  }
  return {};
}

void Executor::compute_loop() {
  while (const std::optional<Job> job = next_job()) {
    cores_.enter_line();
    auto computed = compute(*job);
    if (computed) continue;
    set_failure(
        std::move(computed.error()).in(fmt::format("{}: request {}", to_string(parts_[job->part].id), job->request)),
        device_);
    break;
  }
  cores_.leave_line();
}

std::optional<Job> Executor::next_job() {
  if (const std::optional<Job> job = join_.take_if_ready()) return job;
  cores_.leave_line();
  return join_.take();
}

Expected<void> Executor::compute(const Job& job) {
  OwnPart& part = parts_[job.part];
  TRY_ASSIGN(const bool is_done, run(part, job));
  join_.finish(job);
  if (!is_done) return {};
  for (std::size_t i = 0; i < part.outputs.size(); ++i) TRY(send_output(part, i, job));
  ++jobs_done_;
  return {};
}

// False if it was given up, before or meanwhile.
Expected<bool> Executor::run(OwnPart& part, const Job& job) {
  const std::stop_token stop = join_.stop_of(job);
  if (stop.stop_requested()) return false;
  part.input_views.clear();
  part.output_views.clear();
  const Port::Payloads payloads = [&](std::size_t transfer) { return join_.payload(job, transfer); };
  for (Port& port : part.inputs) {
    if (port.direct()) {
      part.input_views.emplace_back(port.type(), port.payload(*port.direct(), payloads));
      continue;
    }
    port.put_together(payloads, port.held());
    part.input_views.emplace_back(port.held());
  }
  for (std::size_t i = 0; i < part.outputs.size(); ++i) {
    Port& port = part.outputs[i];
    if (!port.direct()) {
      part.output_views.push_back(port.held());
      continue;
    }
    const std::size_t transfer = port.pieces()[*port.direct()].transfer;
    const std::size_t bytes = port.type().size_bytes();
    if (stays_here(job, transfer)) {
      part.local_outputs[i].reset();  // a job's that was given up
      TRY_ASSIGN(part.local_outputs[i], local_.take(transfer, bytes));
      part.output_views.emplace_back(port.type(), part.local_outputs[i]->bytes().data());
      continue;
    }
    TRY_ASSIGN(part.output_frames[i], Message::allocate(kFrameHeaderBytes + bytes));
    part.output_views.emplace_back(port.type(), frame_payload(part.output_frames[i].bytes()).data());
  }
  const std::optional<Cores::Turn> turn = cores_.wait_for_turn();
  if (!turn) return fail(ErrorCode::kCancelled, "stopping");
  if (stop.stop_requested()) return false;
  const std::int64_t begin = steady_ns();
  auto ran = part.session->run(part.input_views, part.output_views, stop);
  compute_ns_ += static_cast<std::uint64_t>(steady_ns() - begin);
  if (stop.stop_requested()) return false;
  TRY(std::move(ran));
  return true;
}

Expected<void> Executor::send_output(OwnPart& part, std::size_t output, const Job& job) {
  const Port& port = part.outputs[output];
  for (std::size_t piece = 0; piece < port.pieces().size(); ++piece) {
    if (piece == port.direct()) continue;
    const Port::Piece& what = port.pieces()[piece];
    if (stays_here(job, what.transfer)) {
      TRY_ASSIGN(std::shared_ptr<MutableBuffer> payload, local_.take(what.transfer, what.type.size_bytes()));
      port.give(part.output_views[output], piece, payload->bytes().data());
      TRY(deliver(job.request, what.transfer, share(std::move(payload))));
      continue;
    }
    TRY_ASSIGN(Message frame, Message::allocate(kFrameHeaderBytes + what.type.size_bytes()));
    port.give(part.output_views[output], piece, frame_payload(frame.bytes()).data());
    TRY(send(job, what.transfer, std::move(frame)));
  }
  if (!port.direct()) return {};
  // Last, because the others are cut out of it.
  const std::size_t transfer = port.pieces()[*port.direct()].transfer;
  if (!stays_here(job, transfer)) return send(job, transfer, std::move(part.output_frames[output]));
  TRY(deliver(job.request, transfer, share(std::move(part.local_outputs[output]))));
  return {};
}

// Whether nobody but this device needs it: then there is no frame.
bool Executor::stays_here(const Job& job, std::size_t transfer) const {
  const Transfer& what = deployment_.routing.transfers[transfer];
  return !what.to_coordinator && std::all_of(what.consumers.begin(), what.consumers.end(), [&](PartId consumer) {
    return device_for(deployment_.plan, consumer, job.request) == device_;
  });
}

Expected<void> Executor::send(const Job& job, std::size_t transfer, Message frame) {
  FrameHeader header = deployment_.header_of(transfer);
  header.request = job.request;
  seal_frame(header, frame.bytes());

  const Transfer& what = deployment_.routing.transfers[transfer];
  const std::vector<std::size_t> devices = receiving_devices(deployment_.plan, what, job.request);
  // What this device needs of it doesn't travel.
  const bool is_needed_here = std::find(devices.begin(), devices.end(), device_) != devices.end();
  if (is_needed_here) {
    const std::span<const std::byte> payload = frame_payload(std::span<const std::byte>(frame.bytes()));
    TRY_ASSIGN(std::shared_ptr<MutableBuffer> copy, local_.take(transfer, payload.size()));
    std::memcpy(copy->bytes().data(), payload.data(), payload.size());
    TRY(deliver(job.request, transfer, share(std::move(copy))));
  }
  // Each other receiver gets a message of its own; the last one gets the original.
  std::size_t receivers_left = devices.size() - (is_needed_here ? 1 : 0) + (what.to_coordinator ? 1 : 0);
  const auto next_copy = [&]() -> Expected<Message> {
    if (--receivers_left == 0) return std::move(frame);
    TRY_ASSIGN(Message copy, Message::allocate(frame.size()));
    std::memcpy(copy.bytes().data(), frame.bytes().data(), frame.size());
    return copy;
  };
  for (const std::size_t device : devices) {
    if (device == device_) continue;
    TRY_ASSIGN(Message copy, next_copy());
    TRY(push(*peers_[device]->frames, std::move(copy), can_do_without_[device]));
  }
  if (what.to_coordinator) {
    TRY_ASSIGN(Message copy, next_copy());
    TRY(push(*results_, std::move(copy), false));
  }
  return {};
}

Expected<void> Executor::push(PushSocket& socket, Message frame, bool may_drop) {
  // Before it is on its way, so that nobody who has it finds it uncounted.
  payload_bytes_sent_ += frame.size() - kFrameHeaderBytes;
  while (true) {
    auto sent = socket.send(std::move(frame), may_drop ? std::chrono::milliseconds(0) : kSendTimeout);
    if (sent) return {};
    // It is a window behind, and what it would answer was answered without it.
    if (may_drop && sent.error().code == ErrorCode::kTimeout) {
      payload_bytes_sent_ -= frame.size() - kFrameHeaderBytes;
      ++sends_dropped_;
      return {};
    }
    // A slow or vanished peer: the coordinator decides which; we wait until it ends the deployment. Meanwhile a newer
    // executor can compute.
    if (sent.error().code != ErrorCode::kTimeout || stopping_) return tl::unexpected(std::move(sent.error()));
    cores_.leave_line();
  }
}

ExecutorStatus Executor::status() const {
  ExecutorStatus status;
  status.state = state_;
  {
    const std::scoped_lock lock(mutex_);
    status.failure = failure_;
  }
  status.jobs_done = jobs_done_;
  status.frames_dropped = frames_dropped_;
  status.sends_dropped = sends_dropped_;
  status.given_up = join_.given_up();
  if (data_) status.received = data_->counters();
  status.payload_bytes_received = payload_bytes_received_;
  status.payload_bytes_sent = payload_bytes_sent_;
  status.compute_s = static_cast<double>(compute_ns_) * 1e-9;
  return status;
}

}  // namespace onnx_split
