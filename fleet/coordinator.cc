#include "fleet/coordinator.h"

#include <algorithm>

#include "base/log.h"
#include "fleet/assemble.h"
#include "onnx_import/export.h"
#include "partition/extract.h"

namespace onnx_split {
namespace {

using transport::Message;
using transport::PullSocket;
using transport::PushSocket;

constexpr std::chrono::milliseconds kPoll{200};
constexpr std::chrono::milliseconds kPatientPing{1000};
constexpr std::chrono::milliseconds kPrepareTimeout = std::chrono::minutes(5);

std::vector<bool> used_devices(const Plan& plan) {
  std::vector<bool> used(plan.devices.size(), false);
  for (const PartId id : part_ids(plan)) {
    for (const std::size_t device : plan.stages[id.stage].parts[id.part].devices) used[device] = true;
  }
  return used;
}

// Sends one file of a part piece by piece.
class PartSender {
 public:
  PartSender(ControlClient& runner, std::uint64_t epoch, PartId part, std::function<Expected<void>(std::uint64_t)> sent)
      : runner_(runner), epoch_(epoch), part_(part), sent_(std::move(sent)) {}

  Expected<void> send(std::string_view file, std::span<const std::byte> bytes, std::uint64_t total) {
    do {
      const std::span<const std::byte> piece = bytes.first(std::min(bytes.size(), kPieceBytes));
      TRY(runner_.call("put",
                       {{"epoch", epoch_},
                        {"stage", part_.stage},
                        {"part", part_.part},
                        {"file", file},
                        {"offset", offset_},
                        {"total", total}},
                       piece));
      offset_ += piece.size();
      TRY(sent_(piece.size()));
      bytes = bytes.subspan(piece.size());
    } while (!bytes.empty());
    return {};
  }

  // The weights: its pieces with zeros between them, sent in buffers of kPieceBytes so that many small
  // constants don't cost a round trip each.
  Expected<void> send_weights(const ExportedModel& model) {
    offset_ = 0;
    std::vector<std::byte> buffer;
    for (const ExportedModel::Piece& piece : model.weights) {
      buffer.resize(piece.offset - offset_);
      std::span<const std::byte> bytes = piece.data.bytes();
      while (!bytes.empty()) {
        const std::size_t room = std::min(bytes.size(), kPieceBytes - std::min(buffer.size(), kPieceBytes));
        buffer.insert(buffer.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(room));
        bytes = bytes.subspan(room);
        if (buffer.size() < kPieceBytes) continue;
        TRY(send("weights", buffer, model.weights_bytes));
        buffer.clear();
      }
    }
    buffer.resize(model.weights_bytes - offset_);
    if (buffer.empty() && model.weights_bytes > 0) return {};
    return send("weights", buffer, model.weights_bytes);
  }

 private:
  ControlClient& runner_;
  std::uint64_t epoch_;
  PartId part_;
  std::function<Expected<void>(std::uint64_t)> sent_;
  std::uint64_t offset_ = 0;
};

}  // namespace

Expected<std::unique_ptr<Coordinator>> Coordinator::deploy(const Graph& graph, const Plan& plan,
                                                           const std::vector<std::string>& control_urls,
                                                           const CoordinatorOptions& options) {
  TRY(check_plan(plan, graph));
  const Manifest manifest = make_manifest(graph, plan);
  std::unique_ptr<Coordinator> coordinator(new Coordinator(options));
  TRY_ASSIGN(coordinator->deployment_,
             make_deployment(new_epoch(), plan, manifest.values, manifest.inputs, manifest.outputs));
  const std::vector<Transfer>& transfers = coordinator->deployment_.routing.transfers;
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    if (transfers[i].to_coordinator) coordinator->result_pieces_.push_back(i);
  }
  auto done = coordinator->connect(control_urls);
  if (done) done = coordinator->send_parts(graph);
  if (done) done = coordinator->start();
  if (!done) return tl::unexpected(coordinator->reason_of(std::move(done.error())));
  return coordinator;
}

// A deployment that was cancelled fails for that reason, whatever call it was noticed in.
Error Coordinator::reason_of(Error error) {
  const std::scoped_lock lock(mutex_);
  return failure_.value_or(std::move(error));
}

Expected<void> Coordinator::connect(const std::vector<std::string>& control_urls) {
  const Plan& plan = deployment_.plan;
  if (control_urls.size() != plan.devices.size()) {
    return fail(ErrorCode::kInvalid, "the plan is for {} devices, {} are given", plan.devices.size(),
                control_urls.size());
  }
  const std::vector<bool> used = used_devices(plan);
  runners_.resize(plan.devices.size());
  lost_.resize(plan.devices.size(), false);
  deployed_ = true;  // from here on there may be something to end
  for (std::size_t device = 0; device < plan.devices.size(); ++device) {
    if (!used[device]) continue;
    const auto on_lost = [this, device] {
      const std::scoped_lock lock(mutex_);
      lost_[device] = true;
      changed_.notify_all();
    };
    TRY_ASSIGN(ControlClient client,
               ControlClient::connect(plan.devices[device], control_urls[device], options_.connect_timeout, on_lost));
    runners_[device] = std::move(client);
    ControlClient& runner = *runners_[device];
    TRY_ASSIGN(const Json hello, runner.call("hello", {{"protocol", kProtocolVersion}}, {}, options_.connect_timeout));
    spdlog::debug("device \"{}\": {}", plan.devices[device], to_text(hello));
    TRY(runner.call("deploy", {{"device", device}, {"deployment", deployment_to_json(deployment_)}}));
  }
  // From here on, so that no runner takes us for dead while another is served.
  heartbeat_ = std::thread([this] { heartbeat_loop(); });
  return {};
}

std::set<std::size_t> Coordinator::devices_of(PartId part) const {
  const std::vector<std::size_t>& devices = deployment_.plan.stages[part.stage].parts[part.part].devices;
  return {devices.begin(), devices.end()};
}

Expected<void> Coordinator::send_parts(const Graph& graph) {
  TRY_ASSIGN(const std::vector<PartGraph> parts, extract_parts(graph, deployment_.plan));
  std::vector<ExportedModel> models;
  std::uint64_t total = 0;
  for (const PartGraph& part : parts) {
    TRY_ASSIGN(ExportedModel model, export_onnx(part.graph, "model.weights"));
    total += (model.model.size() + model.weights_bytes) * devices_of(part.id).size();
    models.push_back(std::move(model));
  }
  std::uint64_t done = 0;
  const auto sent = [&](std::uint64_t bytes) -> Expected<void> {
    done += bytes;
    if (options_.progress) options_.progress(done, total);
    if (options_.interrupted && options_.interrupted()) return fail(ErrorCode::kCancelled, "interrupted");
    return {};
  };
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const PartId id = parts[i].id;
    for (const std::size_t device : devices_of(id)) {
      const auto bytes = std::as_bytes(std::span(models[i].model));
      PartSender model_sender(*runners_[device], deployment_.epoch, id, sent);
      TRY(model_sender.send("model", bytes, bytes.size()));
      PartSender weights_sender(*runners_[device], deployment_.epoch, id, sent);
      TRY(weights_sender.send_weights(models[i]));
    }
  }
  return {};
}

Expected<void> Coordinator::start() {
  data_urls_.resize(runners_.size());
  std::vector<std::string> results_urls(runners_.size());
  for (std::size_t device = 0; device < runners_.size(); ++device) {
    if (!runners_[device]) continue;
    TRY_ASSIGN(const Json ports,
               runners_[device]->call("prepare", {{"epoch", deployment_.epoch}}, {}, kPrepareTimeout));
    const JsonReader reader(ports);
    TRY_ASSIGN(const std::string data_url, reader.string("data_url"));
    TRY_ASSIGN(data_urls_[device], reachable_url(runners_[device]->url(), data_url));
    TRY_ASSIGN(const std::string results_url, reader.string("results_url"));
    TRY_ASSIGN(results_urls[device], reachable_url(runners_[device]->url(), results_url));
  }
  for (std::optional<ControlClient>& runner : runners_) {
    if (runner) TRY(runner->call("start", {{"epoch", deployment_.epoch}, {"data_urls", data_urls_}}));
  }
  transport::DialOptions dial;
  dial.connect_timeout = options_.connect_timeout;
  dial.max_message_bytes = deployment_.largest_frame_bytes();
  TRY_ASSIGN(results_, PullSocket::open());
  // What was on its way on a connection that breaks is lost, and nobody would send it again.
  const auto on_broken = [this, results_urls](const std::string& url) {
    std::size_t device = 0;
    while (device + 1 < runners_.size() && data_urls_[device] != url && results_urls[device] != url) ++device;
    cancel({ErrorCode::kUnavailable,
            fmt::format("device \"{}\": {}: the connection broke", deployment_.plan.devices[device], url)});
  };
  results_->on_disconnect(on_broken);
  for (const std::string& url : results_urls) {
    if (!url.empty()) TRY(results_->dial(url, dial));
  }

  inputs_.resize(runners_.size());
  const std::vector<std::size_t> transfers = deployment_.routing.from(std::nullopt);
  for (const std::size_t transfer : transfers) {
    for (const PartId consumer : deployment_.routing.transfers[transfer].consumers) {
      for (const std::size_t device : deployment_.plan.stages[consumer.stage].parts[consumer.part].devices) {
        if (inputs_[device]) continue;
        TRY_ASSIGN(PushSocket socket, PushSocket::open(deployment_.send_queue(transfers.size())));
        socket.on_disconnect(on_broken);
        TRY(socket.dial(data_urls_[device], dial));
        inputs_[device] = std::move(socket);
      }
    }
  }
  const std::scoped_lock lock(mutex_);
  if (failure_) return tl::unexpected(*failure_);
  requests_.resize(window());
  started_ = true;
  receiver_ = std::thread([this] { result_loop(); });
  return {};
}

Coordinator::~Coordinator() {
  cancel({ErrorCode::kCancelled, "the deployment was ended"});
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (results_) results_->close();
  for (std::optional<PushSocket>& input : inputs_) {
    if (input) input->close();
  }
  if (heartbeat_.joinable()) heartbeat_.join();
  if (receiver_.joinable()) receiver_.join();
  if (deployed_) end_deployment();
  for (std::optional<ControlClient>& runner : runners_) {
    if (runner) runner->close();
  }
}

void Coordinator::end_deployment() {
  for (std::optional<ControlClient>& runner : runners_) {
    if (!runner || !runner->connected()) continue;
    const auto ended = runner->call("end", {{"epoch", deployment_.epoch}}, {}, std::chrono::seconds(2));
    if (!ended) spdlog::debug("{}", ended.error().message);
  }
}

void Coordinator::cancel(Error error) {
  std::vector<std::promise<Result>> promises;
  {
    const std::scoped_lock lock(mutex_);
    if (!failure_) failure_ = std::move(error);
    for (Request& request : requests_) {
      if (!request.open) continue;
      request.open = false;
      promises.push_back(std::move(request.promise));
    }
  }
  changed_.notify_all();
  for (std::promise<Result>& promise : promises) promise.set_value(tl::unexpected(*failure_));
}

Expected<void> Coordinator::check_lost() {
  const std::scoped_lock lock(mutex_);
  for (std::size_t device = 0; device < lost_.size(); ++device) {
    if (!lost_[device]) continue;
    return fail(ErrorCode::kUnavailable, "device \"{}\": {}: the connection broke", runners_[device]->name(),
                runners_[device]->url());
  }
  return {};
}

Expected<void> Coordinator::check_runner(ControlClient& runner) {
  // While it loads its parts a runner can't answer.
  const bool patient = !started_;
  const auto timeout = patient ? kPatientPing : options_.heartbeat_timeout;
  auto pong = runner.call("ping", {{"epoch", deployment_.epoch}}, {}, timeout);
  if (!pong && patient && pong.error().code == ErrorCode::kTimeout) return {};
  if (!pong) return tl::unexpected(std::move(pong.error()));
  const JsonReader reader(*pong);
  if (!reader.has("failure")) return {};
  TRY_ASSIGN(const std::string failure, reader.string("failure"));
  return fail(ErrorCode::kUnavailable, "device \"{}\": {}", runner.name(), failure);
}

void Coordinator::heartbeat_loop() {
  const auto any_lost = [&] { return std::find(lost_.begin(), lost_.end(), true) != lost_.end(); };
  while (true) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, options_.heartbeat_period, [&] { return stopping_ || any_lost(); });
      if (stopping_) return;
    }
    const bool gives_up = !started_ && options_.interrupted && options_.interrupted();
    auto checked = gives_up ? fail(ErrorCode::kCancelled, "interrupted") : check_lost();
    for (std::optional<ControlClient>& runner : runners_) {
      if (checked && runner && !stopping_) checked = check_runner(*runner);
    }
    if (stopping_) return;
    if (checked) continue;
    cancel(std::move(checked.error()));
    // Wakes whatever call is deploying.
    for (std::optional<ControlClient>& runner : runners_) {
      if (runner && !started_) runner->close();
    }
    return;
  }
}

void Coordinator::result_loop() {
  while (!stopping_) {
    auto message = results_->receive(kPoll);
    if (message) {
      take_result(std::move(*message));
    } else if (message.error().code != ErrorCode::kTimeout) {
      return;  // closed: the destructor is waiting
    }
  }
}

void Coordinator::take_result(Message message) {
  auto header = check_frame(deployment_, std::as_const(message).bytes());
  if (!header) {
    if (header.error().code != ErrorCode::kCancelled) cancel(std::move(header.error()).in("a result"));
    return;
  }
  const auto piece = std::lower_bound(result_pieces_.begin(), result_pieces_.end(), header->transfer);
  if (piece == result_pieces_.end() || *piece != header->transfer) return;
  const auto index = static_cast<std::size_t>(piece - result_pieces_.begin());
  const Buffer frame = transport::share(std::move(message));

  std::optional<std::promise<Result>> done;
  std::vector<Buffer> pieces;
  {
    const std::scoped_lock lock(mutex_);
    if (header->request < oldest_open_ || header->request >= next_request_) return;
    Request& request = requests_[header->request % requests_.size()];
    if (!request.open || request.arrived[index]) return;
    request.pieces[index] = frame.sub(kFrameHeaderBytes, frame.size() - kFrameHeaderBytes);
    request.arrived[index] = true;
    if (--request.missing == 0) {
      request.open = false;
      done = std::move(request.promise);
      pieces = std::move(request.pieces);
      while (oldest_open_ < next_request_ && !requests_[oldest_open_ % requests_.size()].open) ++oldest_open_;
    }
  }
  if (!done) return;
  changed_.notify_all();
  done->set_value(put_together(pieces));
}

std::vector<Tensor> Coordinator::put_together(const std::vector<Buffer>& pieces) const {
  std::vector<Tensor> outputs;
  for (const std::string& name : deployment_.outputs) {
    const TensorType& type = *deployment_.find_value(name);
    const Region whole = Region::whole(type.shape);
    std::vector<std::size_t> own;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (deployment_.routing.transfers[result_pieces_[i]].what.value == name) own.push_back(i);
    }
    if (own.size() == 1) {  // the frame's payload is the tensor
      outputs.emplace_back(type, pieces[own.front()]);
      continue;
    }
    TensorBuilder builder(type);
    for (const std::size_t i : own) {
      const ValueRegion& what = deployment_.routing.transfers[result_pieces_[i]].what;
      const TensorType piece_type{type.type, what.region.shape()};
      const TensorView piece{piece_type, pieces[i].bytes().data()};
      take_piece({what.region, piece}, what.combine, i == own.front(), {whole, builder.view()});
    }
    outputs.push_back(std::move(builder).build());
  }
  return outputs;
}

Expected<void> Coordinator::check_inputs(const std::vector<Tensor>& inputs) const {
  if (inputs.size() != deployment_.inputs.size()) {
    return fail(ErrorCode::kInvalid, "the model has {} inputs, {} are given", deployment_.inputs.size(), inputs.size());
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string& name = deployment_.inputs[i];
    const TensorType& expected = *deployment_.find_value(name);
    if (expected != inputs[i].type()) {
      return fail(ErrorCode::kInvalid, "input \"{}\": expected {}, found {}", name, expected.to_string(),
                  inputs[i].type().to_string());
    }
  }
  return {};
}

std::future<Result> Coordinator::submit(const std::vector<Tensor>& inputs) {
  auto submitted = submit_when(inputs, true);
  if (submitted) return std::move(*submitted);
  std::promise<Result> failed;
  failed.set_value(tl::unexpected(std::move(submitted.error())));
  return failed.get_future();
}

Expected<std::future<Result>> Coordinator::try_submit(const std::vector<Tensor>& inputs) {
  return submit_when(inputs, false);
}

Expected<std::future<Result>> Coordinator::submit_when(const std::vector<Tensor>& inputs, bool may_wait) {
  TRY(check_inputs(inputs));
  const std::scoped_lock submitting(submit_mutex_);
  std::uint64_t number = 0;
  std::future<Result> future;
  {
    std::unique_lock lock(mutex_);
    if (may_wait) changed_.wait(lock, [&] { return failure_ || !window_full(); });
    if (failure_) return tl::unexpected(*failure_);
    if (window_full()) {
      return fail(ErrorCode::kExhausted, "{} requests are in flight, as many as the window allows", window());
    }
    number = next_request_++;
    Request& request = requests_[number % requests_.size()];
    request.promise = {};
    request.pieces.assign(result_pieces_.size(), {});
    request.arrived.assign(result_pieces_.size(), false);
    request.missing = result_pieces_.size();
    request.open = true;
    future = request.promise.get_future();
  }
  auto sent = send_inputs(number, inputs);
  if (!sent) cancel(std::move(sent.error()).in(fmt::format("request {}", number)));
  return future;
}

Expected<void> Coordinator::send_inputs(std::uint64_t request, const std::vector<Tensor>& inputs) {
  for (const std::size_t transfer : deployment_.routing.from(std::nullopt)) {
    const Transfer& what = deployment_.routing.transfers[transfer];
    const auto name = std::find(deployment_.inputs.begin(), deployment_.inputs.end(), what.what.value);
    const Tensor& input = inputs[static_cast<std::size_t>(name - deployment_.inputs.begin())];
    const Region whole = Region::whole(input.shape());
    const TensorType type{input.type().type, what.what.region.shape()};
    FrameHeader header = deployment_.header_of(transfer);
    header.request = request;
    for (const std::size_t device : receiving_devices(deployment_.plan, what, request)) {
      TRY_ASSIGN(Message frame, Message::allocate(kFrameHeaderBytes + deployment_.payload_bytes(transfer)));
      place({whole, input.view()}, {what.what.region, {type, frame_payload(frame.bytes()).data()}});
      seal_frame(header, frame.bytes());
      TRY(inputs_[device]->send(std::move(frame), options_.heartbeat_timeout));
    }
  }
  return {};
}

Expected<std::vector<Json>> Coordinator::runner_status() {
  std::vector<Json> status;
  for (std::optional<ControlClient>& runner : runners_) {
    if (!runner) {
      status.emplace_back(nullptr);
      continue;
    }
    TRY_ASSIGN(Json json, runner->call("status", Json::object(), {}, options_.heartbeat_timeout));
    status.push_back(std::move(json));
  }
  return status;
}

}  // namespace onnx_split
