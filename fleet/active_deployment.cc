#include "fleet/active_deployment.h"

#include <algorithm>

#include "base/log.h"
#include "fleet/part_pieces.h"
#include "fleet/part_store.h"
#include "fleet/requests.h"
#include "fleet/signal.h"
#include "partition/extract.h"

namespace onnx_split {
namespace {

using transport::Message;
using transport::PullSocket;
using transport::PushSocket;

constexpr std::chrono::milliseconds kInputTimeout{200};
constexpr std::chrono::milliseconds kLastBreath{50};
// What a piece of a part file may take: pings go behind it, and mustn't come too late on a slow link.
constexpr std::chrono::milliseconds kPieceTime{100};
// Between questions whether a runner is done loading: from the first to the second.
constexpr std::chrono::milliseconds kFirstPause{2};
constexpr std::chrono::milliseconds kLongestPause{20};

Failure for_nobody(Error error) { return {std::move(error), {}, {}, {}}; }

void drop(bool& has_said_so, const std::string& what) {
  if (!std::exchange(has_said_so, true)) log_info("{}; it is dropped, as all like it are", what);
}

std::set<std::size_t> devices_of(const Plan& plan, PartId part) {
  const std::vector<std::size_t>& devices = plan.stages[part.stage].parts[part.part].devices;
  return {devices.begin(), devices.end()};
}

}  // namespace

tl::expected<std::unique_ptr<ActiveDeployment>, Failure> ActiveDeployment::begin(
    const Graph& graph, const Plan& plan, const std::vector<std::string>& control_urls, const WatchOptions& options,
    DeploymentEvents events, std::uint64_t epoch, std::uint64_t replaces) {
  if (control_urls.size() != plan.devices.size()) {
    return tl::unexpected(for_nobody({ErrorCode::kInvalid, fmt::format("the plan is for {} devices, {} are given",
                                                                       plan.devices.size(), control_urls.size())}));
  }
  std::unique_ptr<ActiveDeployment> active(new ActiveDeployment(options, std::move(events)));
  active->replaces_ = replaces;
  const Manifest manifest = make_manifest(graph, plan);
  auto deployment = make_deployment(epoch, plan, manifest.values, manifest.inputs, manifest.outputs);
  if (!deployment) return tl::unexpected(for_nobody(std::move(deployment.error())));
  active->deployment_ = std::move(*deployment);
  const std::vector<Transfer>& transfers = active->deployment_.routing.transfers;
  std::set<std::size_t> groups;
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    if (!transfers[i].to_coordinator) continue;
    active->result_pieces_.push_back(i);
    const auto group = active->deployment_.routing.alternatives_of[i];
    if (!group) {
      ++active->results_needed_;
    } else if (groups.insert(*group).second) {
      active->results_needed_ += active->deployment_.routing.alternatives[*group].needed;
    }
  }
  for (const std::string& name : active->deployment_.outputs) {
    active->result_ports_.push_back(Port::result(active->deployment_, name));
    active->result_ports_.back().reserve();
  }
  auto exported = active->export_parts(graph);
  if (!exported) return tl::unexpected(for_nobody(std::move(exported.error())));
  auto done = active->connect(control_urls);
  if (done) done = active->wait_for_cuts();
  if (done) done = active->send_parts();
  active->parts_.clear();
  if (done) done = active->start();
  if (!done) active->fail_with(std::move(done.error()));
  const std::scoped_lock lock(active->mutex_);
  // Whatever call it was noticed in, what the watchers found first is the reason.
  if (active->failure_) return tl::unexpected(*active->failure_);
  active->started_ = true;
  return active;
}

// Whether it makes sense to go on deploying: asked before every call.
tl::expected<void, Failure> ActiveDeployment::check_wanted() {
  if (options_.stop.stop_requested() || (options_.interrupted && options_.interrupted())) {
    fail_with(for_nobody({ErrorCode::kCancelled, "interrupted"}));
  }
  const std::scoped_lock lock(mutex_);
  if (failure_) return tl::unexpected(*failure_);
  return {};
}

Expected<void> ActiveDeployment::export_parts(const Graph& graph) {
  std::uint64_t weights = 0;
  for (const Value& value : graph.values()) weights += value.constant ? value.type.size_bytes() : 0;
  prepare_timeout_ = options_.prepare_timeout + std::chrono::milliseconds(weights * 1000 / kSlowestDiskBytes);
  TRY_ASSIGN(const std::vector<PartGraph> parts, extract_parts(graph, deployment_.plan));
  for (const PartGraph& part : parts) {
    TRY_ASSIGN(ExportedModel model, export_onnx(part.graph, std::string(kStoredWeightsName)));
    std::string hash = part_hash_of(model);
    parts_.push_back({part.id, std::move(model), std::move(hash), {}});
  }
  return {};
}

// Gives the runner's reply to hello.
tl::expected<Json, Failure> ActiveDeployment::deploy_to(std::size_t device, const Json& deployment) {
  // There is no watcher yet: the runner answers this at once, or is lost.
  const auto timeout = std::max(options_.connect_timeout, options_.heartbeat_timeout);
  const auto tell = [&](std::string_view op, Json arguments) -> tl::expected<Json, Failure> {
    TRY(check_wanted());
    auto reply = runners_[device].client->call(op, std::move(arguments), {}, timeout);
    if (reply) return std::move(*reply);
    TRY(check_wanted());
    return tl::unexpected(call_failed(device, std::move(reply.error())));
  };
  const auto begin = std::chrono::steady_clock::now();
  // Only this call is cut short: a runner that has been told to deploy must be told to end, too.
  const auto ask = [&] {
    const std::stop_callback closes(options_.stop, [&] { runners_[device].client->close(); });
    return tell("hello", {{"protocol", kProtocolVersion}});
  };
  TRY_ASSIGN(Json hello, ask());
  // Not more than that: it may have been late for another reason.
  runners_[device].round_trip =
      std::min<std::chrono::steady_clock::duration>(std::chrono::steady_clock::now() - begin, 2 * kPieceTime);
  Json announced = Json::array();
  for (const PartFiles& part : parts_) {
    if (!devices_of(deployment_.plan, part.id).contains(device)) continue;
    announced.push_back({{"stage", part.id.stage}, {"part", part.id.part}, {"hash", part.hash}});
  }
  Json request = {{"device", device}, {"deployment", deployment}, {"parts", std::move(announced)}};
  if (replaces_ > 0) request["replaces"] = replaces_;
  TRY_ASSIGN(const Json reply, tell("deploy", std::move(request)));
  const auto models = JsonReader(reply).integer("models", 0, INT32_MAX);
  if (!models) return tl::unexpected(lost(device, models.error()));
  const auto lacks_any = note_missing(device, JsonReader(reply));
  if (!lacks_any) return tl::unexpected(lost(device, lacks_any.error()));
  if (*models == 0 || !*lacks_any) return hello;
  TRY(tell("cut", {{"epoch", deployment_.epoch}, {"nodes", stage_nodes_to_json(deployment_.plan)}}));
  runners_[device].cutting = true;
  return hello;
}

// What the runner lacks, in place of what was known of it. Gives whether that is anything.
Expected<bool> ActiveDeployment::note_missing(std::size_t device, const JsonReader& reply) {
  TRY_ASSIGN(const JsonReader list, reply.at("missing"));
  TRY_ASSIGN(const std::vector<PartId> missing, part_ids_from(list, deployment_.plan));
  for (PartFiles& files : parts_) {
    std::erase(files.missing_at, device);
    if (std::find(missing.begin(), missing.end(), files.id) != missing.end()) files.missing_at.push_back(device);
  }
  return !missing.empty();
}

tl::expected<void, Failure> ActiveDeployment::wait_for_cuts() {
  for (std::size_t device = 0; device < runners_.size(); ++device) {
    if (!runners_[device].cutting) continue;
    TRY_ASSIGN(const Json pong, wait_for_state(device, "deploying"));
    const auto noted = note_missing(device, JsonReader(pong));
    if (!noted) return tl::unexpected(lost(device, noted.error()));
  }
  return {};
}

tl::expected<void, Failure> ActiveDeployment::connect(const std::vector<std::string>& control_urls) {
  const Json deployment = deployment_to_json(deployment_);
  runners_ = std::vector<Runner>(deployment_.plan.devices.size());
  for (std::size_t device = 0; device < runners_.size(); ++device) may_miss_.push_back(can_miss(device));
  for (const std::size_t device : used_devices(deployment_.plan)) {
    const auto on_lost = [this, device] {
      const std::scoped_lock lock(mutex_);
      runners_[device].connection_lost = true;
      changed_.notify_all();
    };
    TRY(check_wanted());
    auto client = ControlClient::connect(name_of(device), control_urls[device], options_.connect_timeout,
                                         options_.identity, on_lost, options_.stop);
    if (!client) {
      TRY(check_wanted());
      return tl::unexpected(lost(device, std::move(client.error())));
    }
    runners_[device].client = std::move(*client);
    TRY_ASSIGN(const Json hello, deploy_to(device, deployment));
    log_debug("device \"{}\": {}", name_of(device), to_text(hello));
    {
      const std::scoped_lock lock(mutex_);
      runners_[device].watched = true;
    }
    // From here on, so that no runner takes us for dead while another is served.
    runners_[device].watcher = std::thread([this, device] { watch(device); });
  }
  return {};
}

tl::expected<void, Failure> ActiveDeployment::send_parts() {
  std::uint64_t total = 0;
  for (const PartFiles& part : parts_) {
    total += (part.model.model.size() + part.model.weights_bytes) * part.missing_at.size();
  }
  const auto sent = [&](std::uint64_t bytes) -> Expected<void> {
    part_bytes_ += bytes;
    if (options_.progress) options_.progress(part_bytes_, total);
    if (auto wanted = check_wanted(); !wanted) return tl::unexpected(std::move(wanted.error().error));
    return {};
  };
  for (const PartFiles& part : parts_) {
    for (const std::size_t device : part.missing_at) {
      const auto put = [&](PartFile file, std::uint64_t offset, std::uint64_t bytes,
                           std::span<const std::byte> piece) -> Expected<void> {
        do {
          const auto now = piece.first(std::min(piece.size(), runners_[device].piece_bytes));
          TRY(put_piece(runners_[device],
                        {{"epoch", deployment_.epoch},
                         {"stage", part.id.stage},
                         {"part", part.id.part},
                         {"file", part_file_name(file)},
                         {"offset", offset},
                         {"total", bytes}},
                        now));
          TRY(sent(now.size()));
          offset += now.size();
          piece = piece.subspan(now.size());
        } while (!piece.empty());
        return {};
      };
      auto result = for_each_piece(part.model, put);
      if (result) continue;
      TRY(check_wanted());
      return tl::unexpected(call_failed(device, std::move(result.error())));
    }
  }
  return {};
}

// The next one is as large as the link seems to carry in kPieceTime, without the way to the runner and back.
Expected<void> ActiveDeployment::put_piece(Runner& runner, Json arguments, std::span<const std::byte> piece) {
  const auto begin = std::chrono::steady_clock::now();
  TRY(runner.client->call("put", std::move(arguments), piece));
  const auto took = std::chrono::steady_clock::now() - begin - runner.round_trip;
  if (took > kPieceTime) {
    runner.piece_bytes = std::max(runner.piece_bytes / 2, kLeastPieceBytes);
  } else if (took < kPieceTime / 3 && piece.size() == runner.piece_bytes) {
    runner.piece_bytes = std::min(runner.piece_bytes * 2, kPieceBytes);
  }
  return {};
}

tl::expected<void, Failure> ActiveDeployment::start() {
  const Json epoch = {{"epoch", deployment_.epoch}};
  TRY(call_all("prepare", epoch));
  Json data_urls = Json::array();
  for (std::size_t device = 0; device < runners_.size(); ++device) {
    Runner& runner = runners_[device];
    if (runner.client) {
      TRY_ASSIGN(const Json pong, wait_for_state(device, "prepared"));
      auto read = read_urls(runner, pong);
      if (!read) return tl::unexpected(lost(device, std::move(read.error())));
    }
    data_urls.push_back(runner.data_url);
  }
  // A period less, but not so little that one heartbeat mustn't be late.
  const auto between_runners = std::max(options_.heartbeat_timeout - options_.heartbeat_period,
                                        std::min(options_.heartbeat_timeout, options_.heartbeat_period));
  TRY(call_all("start", {{"epoch", deployment_.epoch},
                         {"data_urls", std::move(data_urls)},
                         {"heartbeat_period_ms", options_.heartbeat_period.count()},
                         {"heartbeat_timeout_ms", between_runners.count()},
                         {"connect_timeout_ms", options_.connect_timeout.count()}}));
  for (std::size_t device = 0; device < runners_.size(); ++device) {
    if (runners_[device].client) TRY(wait_for_state(device, "running"));
  }
  return open_data();
}

tl::expected<void, Failure> ActiveDeployment::call_all(std::string_view op, const Json& arguments) {
  for (std::size_t device = 0; device < runners_.size(); ++device) {
    if (!runners_[device].client) continue;
    TRY(check_wanted());
    const auto reply = runners_[device].client->call(op, arguments);
    if (!reply) return tl::unexpected(call_failed(device, reply.error()));
  }
  return {};
}

tl::expected<Json, Failure> ActiveDeployment::wait_for_state(std::size_t device, std::string_view wanted) {
  const auto begin = std::chrono::steady_clock::now();
  for (auto pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    TRY(check_wanted());
    auto pong = runners_[device].client->call("ping", {{"epoch", deployment_.epoch}}, {}, options_.heartbeat_timeout);
    if (!pong) return tl::unexpected(call_failed(device, std::move(pong.error())));
    if (auto failure = failure_in(device, *pong)) return tl::unexpected(std::move(*failure));
    const JsonReader reader(*pong);
    const auto state = reader.string("state");
    if (!state) return tl::unexpected(lost(device, state.error()));
    if (*state == wanted) return std::move(*pong);
    if (std::chrono::steady_clock::now() - begin > prepare_timeout_) {
      return tl::unexpected(
          lost(device, {ErrorCode::kUnavailable,
                        fmt::format("{}: still {} after {} ms", named(device),
                                    to_text(Json(state->substr(0, kLongestNamed))), prepare_timeout_.count())}));
    }
    std::this_thread::sleep_for(pause);
  }
}

Expected<void> ActiveDeployment::read_urls(Runner& runner, const Json& pong) const {
  const JsonReader reader(pong);
  TRY_ASSIGN(const std::string data_url, reader.string("data_url"));
  TRY_ASSIGN(runner.data_url, reachable_url(runner.client->url(), data_url));
  TRY_ASSIGN(const std::string results_url, reader.string("results_url"));
  TRY_ASSIGN(runner.results_url, reachable_url(runner.client->url(), results_url));
  return {};
}

tl::expected<void, Failure> ActiveDeployment::open_data() {
  transport::DialOptions dial;
  dial.connect_timeout = options_.connect_timeout;
  dial.max_message_bytes = deployment_.largest_frame_bytes();
  // What was on its way on a connection that breaks is lost; the watcher finds out whether the device is.
  const auto on_broken = [this](const std::string& url) {
    const std::scoped_lock lock(mutex_);
    for (Runner& runner : runners_) {
      if (runner.data_url == url || runner.results_url == url) runner.data_connection_lost = true;
    }
    changed_.notify_all();
  };
  auto results = PullSocket::open();
  if (!results) return tl::unexpected(for_nobody(std::move(results.error())));
  results_ = std::move(*results);
  results_->on_disconnect(on_broken);
  for (std::size_t device = 0; device < runners_.size(); ++device) {
    if (!runners_[device].client) continue;
    TRY(check_wanted());
    dial.tls = {options_.identity, transport::Peers::kDevices, name_of(device)};
    auto dialled = results_->dial(runners_[device].results_url, dial);
    if (!dialled) return tl::unexpected(lost(device, std::move(dialled.error()).in(named(device))));
  }
  const std::vector<std::size_t> transfers = deployment_.routing.from(std::nullopt);
  for (const std::size_t device : deployment_.receivers_of_transfers(transfers)) {
    TRY(check_wanted());
    auto socket = PushSocket::open(deployment_.send_queue(transfers.size()));
    if (!socket) return tl::unexpected(for_nobody(std::move(socket.error())));
    socket->on_disconnect(on_broken);
    dial.tls = {options_.identity, transport::Peers::kDevices, name_of(device)};
    auto dialled = socket->dial(runners_[device].data_url, dial);
    if (!dialled) return tl::unexpected(lost(device, std::move(dialled.error()).in(named(device))));
    runners_[device].inputs = std::move(*socket);
  }
  dial.connect_timeout = {};  // in the background
  for (const auto& [device, alternatives] : deployment_.alternatives_for(std::nullopt)) {
    auto socket = open_signals(deployment_, alternatives);
    if (!socket) return tl::unexpected(for_nobody(std::move(socket.error())));
    dial.tls = {options_.identity, transport::Peers::kDevices, name_of(device)};
    auto dialled = socket->dial(runners_[device].data_url, dial);
    if (!dialled) return tl::unexpected(lost(device, std::move(dialled.error()).in(named(device))));
    runners_[device].signals = std::move(*socket);
  }
  pending_.resize(window());
  receiver_ = std::thread([this] { receive_results(); });
  return {};
}

ActiveDeployment::~ActiveDeployment() { end(); }

void ActiveDeployment::end() {
  const std::scoped_lock ending(end_mutex_);
  if (ended_) return;
  ended_ = true;
  const auto silent_ones = [&] {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
    return silent_;
  };
  std::set<std::size_t> silent = silent_ones();
  changed_.notify_all();
  if (results_) results_->close();
  for (std::size_t device = 0; device < runners_.size(); ++device) {
    Runner& runner = runners_[device];
    if (runner.inputs) runner.inputs->close();
    if (runner.signals) runner.signals->close();
    if (runner.client && silent.contains(device)) runner.client->close();
  }
  if (receiver_.joinable()) receiver_.join();
  for (Runner& runner : runners_) {
    if (runner.watcher.joinable()) runner.watcher.join();
  }
  silent = silent_ones();  // the watchers may have found another one
  for (std::size_t device = 0; device < runners_.size(); ++device) {
    Runner& runner = runners_[device];
    if (!runner.client) continue;
    if (!silent.contains(device) && runner.client->connected()) {
      const auto ended = runner.client->call("end", {{"epoch", deployment_.epoch}}, {}, options_.heartbeat_timeout);
      if (!ended) log_debug("{}", ended.error().message);
    }
    runner.client->close();
  }
}

void ActiveDeployment::fail_with(Failure failure) {
  failure.goes_on = false;  // whatever a runner said that knows less
  bool deploying = false;
  {
    const std::scoped_lock lock(mutex_);
    deploying = !started_;
    if (failure.is_silent) silent_.insert(index_of(*failure.lost));
    if (ending_ || (failure_ && !deploying)) return;
    if (!failure_) failure_ = failure;
  }
  changed_.notify_all();
  if (!deploying) return events_.failed(failure);
  // A call to it may be what begin() waits for, whatever has failed before.
  if (failure.is_silent) runners_[index_of(*failure.lost)].client->close();
}

Failure ActiveDeployment::lost(std::size_t device, Error error, bool is_silent) const {
  Failure failure{std::move(error), name_of(device), {}, {}};
  failure.is_silent = is_silent;
  return failure;
}

Failure ActiveDeployment::suspected(std::size_t device, Error error) const {
  return {std::move(error), {}, {}, name_of(device)};
}

// A call that has brought no reply, or one that is an error. No runner says of itself that it is kTimeout.
Failure ActiveDeployment::call_failed(std::size_t device, Error error) const {
  const bool is_silent = error.code == ErrorCode::kTimeout;
  return lost(device, std::move(error), is_silent);
}

std::size_t ActiveDeployment::index_of(const std::string& name) const {
  const std::vector<std::string>& names = deployment_.plan.devices;
  return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

// Besides those that it misses already. The lock is the caller's.
bool ActiveDeployment::can_miss(std::size_t device) const {
  std::set<std::size_t> all = missed_;
  all.insert(device);
  return can_lose(deployment_.plan, all);
}

// `device` reports the failure, or is silent.
bool ActiveDeployment::goes_on_without(std::size_t device, Failure& failure) {
  std::size_t missed = device;
  if (failure.lost) missed = index_of(*failure.lost);
  if (!failure.lost && failure.goes_on) missed = index_of(*failure.suspect);
  {
    const std::scoped_lock lock(mutex_);
    if (failure.is_silent) silent_.insert(missed);
    if (!started_ || failure_ || ending_) return false;
    if (missed_.contains(missed)) return true;
    if (!can_miss(missed)) return false;
    missed_.insert(missed);
    for (std::size_t other = 0; other < may_miss_.size(); ++other) may_miss_[other] = can_miss(other);
  }
  failure.goes_on = true;
  events_.failed(failure);
  return true;
}

void ActiveDeployment::watch(std::size_t device) {
  Runner& runner = runners_[device];
  // Of a deployment that has failed, begin() may be waiting for an answer from here.
  const auto is_done = [&] { return ending_ || (failure_ && started_); };
  while (true) {
    bool broken = false;
    bool data_broken = false;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, options_.heartbeat_period,
                        [&] { return is_done() || runner.connection_lost || runner.data_connection_lost; });
      if (is_done()) return;
      // A process that ends breaks all its connections, one after the other.
      if (runner.data_connection_lost) changed_.wait_for(lock, kLastBreath, [&] { return runner.connection_lost; });
      broken = runner.connection_lost;
      data_broken = runner.data_connection_lost;
    }
    std::optional<Failure> failure;
    if (broken) {
      const std::string what = fmt::format("{}: {}: the connection broke", named(device), runner.client->url());
      failure = lost(device, {ErrorCode::kUnavailable, what}, true);
    } else {
      failure = ask(device);
    }
    if (failure && goes_on_without(device, *failure)) failure.reset();
    {
      const std::scoped_lock lock(mutex_);
      if (missed_.contains(device)) return;
    }
    if (!failure && data_broken) {
      failure =
          suspected(device, {ErrorCode::kUnavailable, fmt::format("{}: a connection for data broke", named(device))});
    }
    if (!failure || goes_on_without(device, *failure)) continue;
    fail_with(*failure);
    if (failure->lost == name_of(device)) return;
  }
}

std::optional<Failure> ActiveDeployment::ask(std::size_t device) {
  const auto pong =
      runners_[device].client->call("ping", {{"epoch", deployment_.epoch}}, {}, options_.heartbeat_timeout);
  if (pong) return failure_in(device, *pong);
  // An answer, though not the right one: it lives, and has dropped this epoch. That may happen once.
  if (pong.error().code == ErrorCode::kInvalid) return suspected(device, pong.error());
  return call_failed(device, pong.error());
}

std::optional<Failure> ActiveDeployment::failure_in(std::size_t device, const Json& pong) {
  const JsonReader reader(pong);
  if (!reader.has("failure")) return std::nullopt;
  const auto message = reader.string("failure");
  if (!message) return lost(device, message.error());
  Error error{ErrorCode::kUnavailable, fmt::format("{}: {}", named(device), in_one_line(*message))};
  if (!reader.has("blames")) return suspected(device, std::move(error));
  const auto blamed = reader.string("blames");
  if (!blamed) return lost(device, blamed.error());
  const std::vector<std::string>& names = deployment_.plan.devices;
  const std::size_t found = index_of(*blamed);
  bool is_asked = false;  // another one, that can be
  {
    const std::scoped_lock lock(mutex_);
    if (reader.has("goes_on") && missed_.contains(found)) return std::nullopt;  // it is known
    is_asked = found != device && found < names.size() && runners_[found].watched;
  }
  if (!is_asked) {
    Failure failure = lost(device, std::move(error));
    const auto state = reader.string("state");
    failure.is_refusal = state && *state == "failed";
    return failure;
  }
  // Two say different things, or one is silent: is it the device or the way there?
  const auto answer =
      runners_[found].client->call("ping", {{"epoch", deployment_.epoch}}, {}, options_.heartbeat_timeout);
  if (!answer && answer.error().code != ErrorCode::kInvalid) return call_failed(found, answer.error());
  Failure failure{std::move(error), {}, name_of(device), *blamed};
  failure.goes_on = reader.has("goes_on");
  return failure;
}

void ActiveDeployment::receive_results() {
  while (!ending_) {
    auto message = results_->receive(transport::kForever);
    if (!message) return;  // closed: end() is waiting
    take_result(std::move(*message));
  }
}

void ActiveDeployment::take_result(Message message) {
  const auto header = check_frame(deployment_, std::as_const(message).bytes());
  if (!header) {
    // Another epoch's: it is late.
    if (header.error().code == ErrorCode::kCancelled) return drop(has_named_epoch_, header.error().message);
    // Its sender's watcher learns that the connection broke and suspects the device. If we failed here instead, nobody
    // would be blamed, and a device that always sends damage would be part of every epoch.
    log_warn("a result: {}; the connection that it came over is ended", header.error().message);
    results_->refuse(message.connection(), header.error().message);
    return;
  }
  const auto piece = std::lower_bound(result_pieces_.begin(), result_pieces_.end(), header->transfer);
  if (piece == result_pieces_.end() || *piece != header->transfer) return;
  const auto index = static_cast<std::size_t>(piece - result_pieces_.begin());
  const Buffer frame = transport::share(std::move(message));

  std::vector<Buffer> pieces;
  std::vector<std::size_t> not_needed;
  bool is_complete = false;
  {
    const std::scoped_lock lock(mutex_);
    Pending& pending = pending_[header->request % pending_.size()];
    if (pending.missing == 0 || pending.request != header->request || pending.arrived[index]) {
      if (deployment_.routing.alternatives_of[header->transfer]) return;  // others were enough
      return drop(has_named_copy_, fmt::format("a result of request {} is a copy, or comes too late", header->request));
    }
    if (const auto group = deployment_.routing.alternatives_of[header->transfer]) {
      const Alternatives& alternatives = deployment_.routing.alternatives[*group];
      if (pending.chosen[*group] == alternatives.needed) return;
      if (++pending.chosen[*group] == alternatives.needed) not_needed = alternatives.transfers;
    }
    pending.pieces[index] = frame.sub(kFrameHeaderBytes, frame.size() - kFrameHeaderBytes);
    pending.arrived[index] = true;
    std::erase_if(not_needed, [&](std::size_t transfer) {
      const auto at = std::lower_bound(result_pieces_.begin(), result_pieces_.end(), transfer);
      return pending.arrived[static_cast<std::size_t>(at - result_pieces_.begin())];
    });
    is_complete = --pending.missing == 0 && !failure_;
    if (is_complete) pieces = std::move(pending.pieces);
  }
  for (const std::size_t transfer : not_needed) say_enough(header->request, transfer);
  if (is_complete) events_.result(header->request, put_together(pieces));
}

// To the device that would give the transfer. It needn't arrive: it saves the device work.
void ActiveDeployment::say_enough(std::uint64_t request, std::size_t transfer) {
  const PartId source = *deployment_.routing.transfers[transfer].source;
  std::optional<PushSocket>& signals = runners_[device_for(deployment_.plan, source, request)].signals;
  if (!signals) return;
  const auto sent = signal(*signals, enough_of(deployment_, request, transfer, kFromCoordinator));
  if (!sent) log_debug("{}", sent.error().message);
}

std::vector<Tensor> ActiveDeployment::put_together(const std::vector<Buffer>& pieces) {
  const auto buffer_of = [&](std::size_t transfer) -> const Buffer& {
    const auto found = std::lower_bound(result_pieces_.begin(), result_pieces_.end(), transfer);
    return pieces[static_cast<std::size_t>(found - result_pieces_.begin())];
  };
  const Port::Payloads payloads = [&](std::size_t transfer) -> const std::byte* {
    const Buffer& buffer = buffer_of(transfer);
    return buffer.size() > 0 ? buffer.bytes().data() : nullptr;
  };
  std::vector<Tensor> outputs;
  for (Port& port : result_ports_) {
    if (port.direct()) {  // the frame's payload is the tensor
      const Port::Piece& piece = port.pieces()[*port.direct()];
      const Buffer& own = buffer_of(piece.transfer);
      outputs.emplace_back(port.type(), own.size() > 0 || !piece.standby ? own : buffer_of(*piece.standby));
      continue;
    }
    TensorBuilder builder(port.type());
    port.put_together(payloads, builder.view());
    outputs.push_back(std::move(builder).build());
  }
  return outputs;
}

bool ActiveDeployment::works_with(const std::string& device) {
  const std::size_t found = index_of(device);
  const std::scoped_lock lock(mutex_);
  return used_devices(deployment_.plan).contains(found) && !missed_.contains(found) && !silent_.contains(found);
}

bool ActiveDeployment::is_over() {
  const std::scoped_lock lock(mutex_);
  return failure_ || ending_;
}

void ActiveDeployment::send(std::uint64_t request, const std::vector<Tensor>& inputs,
                            const std::function<bool()>& given_up) {
  std::vector<bool> may_drop;  // by device: what others answer in place of isn't waited for
  {
    const std::scoped_lock lock(mutex_);
    if (failure_ || ending_) return;
    may_drop = may_miss_;
    Pending& pending = pending_[request % pending_.size()];
    pending.pieces.assign(result_pieces_.size(), {});
    pending.arrived.assign(result_pieces_.size(), false);
    pending.chosen.assign(deployment_.routing.alternatives.size(), 0);
    pending.missing = results_needed_;
    pending.request = request;
  }
  for (const std::size_t transfer : deployment_.routing.from(std::nullopt)) {
    const Transfer& what = deployment_.routing.transfers[transfer];
    const auto name = std::find(deployment_.inputs.begin(), deployment_.inputs.end(), what.what.value);
    const Tensor& input = inputs[static_cast<std::size_t>(name - deployment_.inputs.begin())];
    const Region whole = Region::whole(input.shape());
    const TensorType type{input.type().type, what.what.region.shape()};
    FrameHeader header = deployment_.header_of(transfer);
    header.request = request;
    for (const std::size_t device : receiving_devices(deployment_.plan, what, request)) {
      auto frame = Message::allocate(kFrameHeaderBytes + deployment_.payload_bytes(transfer));
      if (!frame) return fail_with(for_nobody(std::move(frame.error())));
      place({whole, input.view()}, {what.what.region, {type, frame_payload(frame->bytes()).data()}});
      seal_frame(header, frame->bytes());
      const auto timeout = may_drop[device] ? std::chrono::milliseconds(0) : kInputTimeout;
      while (true) {
        auto sent = runners_[device].inputs->send(std::move(*frame), timeout);
        if (sent) break;
        if (sent.error().code != ErrorCode::kTimeout) {
          return fail_with(lost(device, std::move(sent.error()).in(named(device))));
        }
        if (may_drop[device]) {
          if (events_.input_dropped) events_.input_dropped();
          break;
        }
        // Whether a device that takes nothing is lost, its watcher decides.
        if (is_over() || given_up()) return;
      }
    }
  }
}

Expected<std::vector<Json>> ActiveDeployment::runner_status() {
  std::vector<Json> status;
  for (std::size_t device = 0; device < runners_.size(); ++device) {
    Runner& runner = runners_[device];
    {
      const std::scoped_lock lock(mutex_);
      if (!runner.client || silent_.contains(device)) {
        status.emplace_back(nullptr);
        continue;
      }
    }
    TRY_ASSIGN(Json json, runner.client->call("status", Json::object(), {}, options_.heartbeat_timeout));
    status.push_back(std::move(json));
  }
  return status;
}

}  // namespace onnx_split
