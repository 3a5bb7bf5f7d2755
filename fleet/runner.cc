#include "fleet/runner.h"

#include <unistd.h>

#include <new>
#include <utility>

#include "base/log.h"
#include "engine/blas_core.h"
#include "fleet/machine.h"
#include "fleet/profiler.h"
#include "onnx_import/import.h"
#include "transport/door.h"
#include "transport/url.h"

namespace onnx_split {
namespace {

constexpr std::chrono::milliseconds kPoll{200};
constexpr std::int64_t kLongestTimeoutMs = 600'000;

Json counts_to_json(const ExecutorStatus& status) {
  return {{"jobs_done", status.jobs_done},
          {"frames_dropped", status.frames_dropped},
          {"payload_bytes_received", status.payload_bytes_received},
          {"payload_bytes_sent", status.payload_bytes_sent},
          {"compute_s", status.compute_s}};
}

std::string_view state_name(ExecutorState state) {
  switch (state) {
    case ExecutorState::kPrepared: return "prepared";
    case ExecutorState::kStarting: return "starting";
    case ExecutorState::kRunning: return "running";
  }
  return "";
}

// Everything that preparing takes, for a thread of its own.
struct Preparation {
  Deployment deployment;
  std::size_t device = 0;
  PartStore store;
  ExecutorOptions options;
  std::vector<std::future<void>> before;  // memory that others still have
};

Expected<std::unique_ptr<Executor>> prepared(Preparation what) {
  for (const std::future<void>& other : what.before) other.wait();
  std::vector<LoadedPart> parts;
  for (const PartId id : what.deployment.parts_of(what.device)) {
    TRY_ASSIGN(const std::filesystem::path path, what.store.model_path(id));
    ImportOptions import_options;
    import_options.simplify = false;
    TRY_ASSIGN(Graph graph, import_onnx(path, import_options));
    parts.push_back({id, std::move(graph)});
  }
  return Executor::create(std::move(what.deployment), what.device, std::move(parts), what.options);
  // The weights are mapped: the files end with the store, and nothing is left behind whatever happens to this process.
}

Expected<PartId> read_part_id(const JsonReader& request, const Plan& plan) {
  TRY_ASSIGN(const std::int64_t stage, request.integer("stage", 0, static_cast<std::int64_t>(plan.stages.size()) - 1));
  const auto s = static_cast<std::size_t>(stage);
  TRY_ASSIGN(const std::int64_t part,
             request.integer("part", 0, static_cast<std::int64_t>(plan.stages[s].parts.size()) - 1));
  return PartId{s, static_cast<std::size_t>(part)};
}

// Announces the device's parts to the store; gives those that must be sent.
Expected<Json> expect_parts(const JsonReader& request, const Deployment& deployment, std::size_t device,
                            PartStore& store) {
  TRY_ASSIGN(const JsonReader list, request.at("parts"));
  TRY_ASSIGN(const std::vector<JsonReader> parts, list.elements());
  std::vector<PartId> announced;
  Json missing = Json::array();
  for (const JsonReader& reader : parts) {
    TRY_ASSIGN(const PartId part, read_part_id(reader, deployment.plan));
    TRY_ASSIGN(const std::string hash, reader.string("hash"));
    TRY_ASSIGN(const bool is_here, store.expect(part, hash));
    announced.push_back(part);
    if (!is_here) missing.push_back({{"stage", part.stage}, {"part", part.part}});
  }
  if (announced == deployment.parts_of(device)) return missing;
  return fail(ErrorCode::kInvalid, "the announced parts aren't those of device {}", device);
}

}  // namespace

Expected<std::unique_ptr<Runner>> Runner::create(const RunnerOptions& options) {
  TRY_ASSIGN(const transport::Url url, transport::parse_url(options.listen));
  const bool secure = url.scheme == transport::Scheme::kTlsTcp;
  if (!transport::is_loopback(url) && !secure && !options.insecure) {
    return fail(ErrorCode::kUnsupported,
                "{}: beyond loopback anybody on the network could use this runner; listen at tls+tcp:// with a "
                "certificate, or --insecure allows it",
                options.listen);
  }
  std::unique_ptr<Runner> runner(new Runner(options));
  runner->host_ = url.host;
  TRY_ASSIGN(runner->socket_, transport::ReplySocket::open());
  TRY_ASSIGN(runner->url_, runner->socket_->listen(options.listen, kMaxControlBytes,
                                                   {options.identity, transport::Peers::kCoordinators, ""}));
  if (!secure) runner->options_.identity.reset();  // all of its ports are alike
  return runner;
}

Expected<void> Runner::serve() {
  while (!stopping_) {
    drop_if_silent();
    transport::Door::of_this_process().look_around();
    auto request = socket_->receive(kPoll);
    if (!request) {
      if (request.error().code == ErrorCode::kCancelled && stopping_) break;
      if (request.error().code != ErrorCode::kTimeout) return tl::unexpected(std::move(request.error()));
      continue;
    }
    const Json reply = handle(std::as_const(*request).bytes());
    TRY_ASSIGN(transport::Message message, encode_control(reply));
    auto replied = socket_->reply(std::move(message));
    if (!replied && !stopping_) return tl::unexpected(std::move(replied.error()));
  }
  release();
  return {};
}

// Others may talk to this port as well: only what the coordinator says of its epoch counts.
void Runner::drop_if_silent() {
  if (link_ && link_->abandoned(options_.lease)) link_.reset();
  if (!deployment_ || std::chrono::steady_clock::now() - last_heard_ <= options_.lease) return;
  spdlog::warn("epoch {}: the coordinator has been silent for {} ms; dropping its deployment", deployment_->epoch,
               options_.lease.count());
  release();
}

void Runner::stop() { stopping_ = true; }

void Runner::release() {
  link_.reset();
  std::erase_if(retiring_, [](const std::future<void>& other) {
    return other.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
  if (preparing_.valid()) {
    retiring_.push_back(std::async(std::launch::async, [preparing = std::move(preparing_)] { preparing.wait(); }));
  }
  if (executor_) {
    retiring_.push_back(
        std::async(std::launch::async, [executor = std::move(executor_)]() mutable { executor.reset(); }));
  }
  preparing_ = {};
  failure_.reset();
  store_.reset();
  deployment_.reset();
}

Json Runner::handle(std::span<const std::byte> request) {
  auto message = decode_control(request);
  if (!message) return error_to_json(message.error());
  Expected<Json> reply;
  try {
    reply = dispatch(*message);
  } catch (const std::bad_alloc&) {
    reply = fail(ErrorCode::kExhausted, "out of memory");
  }
  if (reply) return std::move(*reply);
  spdlog::info("refused: {}", reply.error().message);
  return error_to_json(reply.error());
}

Expected<Json> Runner::dispatch(const ControlMessage& message) {
  const JsonReader request(message.json);
  TRY_ASSIGN(const std::string op, request.string("op"));
  if (op == "hello") return hello(request);
  if (op == "deploy") return deploy(request);
  if (op == "put") return put(request, message.bytes);
  if (op == "prepare") return prepare(request);
  if (op == "start") return start(request);
  if (op == "ping") return ping(request);
  if (op == "status") return status(request);
  if (op == "end") return end(request);
  if (op == "profile") return profile(request, message.bytes);
  if (op == "link_listen") return link_listen(request);
  if (op == "link_ping") return link_ping(request);
  if (op == "link_end") return link_end(request);
  return fail(ErrorCode::kInvalid, "unknown request \"{}\"", op);
}

Expected<Json> Runner::hello(const JsonReader& request) {
  TRY_ASSIGN(const std::int64_t protocol, request.integer("protocol", 0, INT32_MAX));
  if (protocol != kProtocolVersion) {
    return fail(ErrorCode::kUnsupported, "the coordinator speaks protocol {}, this runner {}", protocol,
                kProtocolVersion);
  }
  const CpuQuota quota = cpu_quota();
  return Json{{"protocol", kProtocolVersion},
              {"name", options_.name},
              {"version", options_.version},
              {"machine", machine_name()},
              {"core_type", blas_core()},
              {"threads", options_.threads},
              {"memory_limit_bytes", options_.memory_limit_bytes},
              {"available_memory_bytes", available_memory_bytes()},
              {"quota_ms", quota.run_ms},
              {"period_ms", quota.period_ms},
              {"pid", ::getpid()}};
}

Expected<Json> Runner::deploy(const JsonReader& request) {
  TRY_ASSIGN(const JsonReader body, request.at("deployment"));
  TRY_ASSIGN(Deployment deployment, deployment_from_json(body.value()));
  const auto devices = static_cast<std::int64_t>(deployment.plan.devices.size());
  TRY_ASSIGN(const std::int64_t device, request.integer("device", 0, devices - 1));
  TRY(check_free());
  TRY_ASSIGN(PartStore store,
             PartStore::create(options_.model_dir, deployment.epoch, options_.memory_limit_bytes, options_.keep_bytes));
  TRY_ASSIGN(Json missing, expect_parts(request, deployment, static_cast<std::size_t>(device), store));
  store_.emplace(std::move(store));
  device_ = static_cast<std::size_t>(device);
  spdlog::info("epoch {}: device {} of {}", deployment.epoch, device_, devices);
  deployment_ = std::move(deployment);
  last_heard_ = std::chrono::steady_clock::now();
  return Json{{"missing", std::move(missing)}};
}

Expected<void> Runner::check_free() const {
  if (!deployment_ && !link_) return {};
  return fail(ErrorCode::kUnavailable, "another coordinator is using this runner (epoch {})",
              deployment_ ? deployment_->epoch : link_->epoch());
}

Expected<void> Runner::check_epoch(const JsonReader& request) {
  TRY_ASSIGN(const std::int64_t epoch, request.integer("epoch", 1, INT64_MAX));
  if (!deployment_) return fail(ErrorCode::kInvalid, "epoch {}: nothing is deployed here", epoch);
  if (static_cast<std::uint64_t>(epoch) != deployment_->epoch) {
    return fail(ErrorCode::kInvalid, "epoch {}: this runner is in epoch {}", epoch, deployment_->epoch);
  }
  last_heard_ = std::chrono::steady_clock::now();
  return {};
}

Expected<Json> Runner::put(const JsonReader& request, std::span<const std::byte> bytes) {
  TRY(check_epoch(request));
  TRY_ASSIGN(const PartId part, read_part_id(request, deployment_->plan));
  TRY_ASSIGN(const std::string name, request.string("file"));
  TRY_ASSIGN(const PartFile file, part_file_from_name(name));
  TRY_ASSIGN(const std::int64_t total, request.integer("total", 0, INT64_MAX));
  TRY_ASSIGN(const std::int64_t offset, request.integer("offset", 0, total));
  if (!store_) return fail(ErrorCode::kInvalid, "{}: this deployment is prepared already", to_string(part));
  TRY(store_->append(part, file, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(total), bytes));
  return Json::object();
}

Expected<Json> Runner::prepare(const JsonReader& request) {
  TRY(check_epoch(request));
  if (!store_) return fail(ErrorCode::kInvalid, "this deployment is prepared already");
  if (deployment_->plan.core_type != blas_core()) {
    spdlog::warn("the plan was made for core type {}, this is {}: answers agree within 1e-4, not bit for bit",
                 deployment_->plan.core_type, blas_core());
  }
  ExecutorOptions options;
  options.host = host_;
  options.identity = options_.identity;
  options.data_port = options_.data_port;
  options.threads = options_.threads;
  options.memory_limit_bytes = options_.memory_limit_bytes;
  Preparation what{*deployment_, device_, std::move(*store_), options, std::move(retiring_)};
  store_.reset();
  retiring_.clear();
  preparing_ =
      std::async(std::launch::async, [what = std::move(what)]() mutable -> Expected<std::unique_ptr<Executor>> {
        try {
          return prepared(std::move(what));
        } catch (const std::bad_alloc&) {
          return fail(ErrorCode::kExhausted, "out of memory");
        }
      });
  return Json::object();
}

void Runner::take_prepared() {
  if (!preparing_.valid() || preparing_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
  auto executor = preparing_.get();
  if (executor) {
    executor_ = std::move(*executor);
    return;
  }
  failure_ = executor.error().message;
  spdlog::info("{}", *failure_);
}

// What a coordinator wants to know again and again.
Json Runner::progress() {
  take_prepared();
  if (failure_) return {{"state", "failed"}, {"failure", *failure_}, {"blames", deployment_->plan.devices[device_]}};
  if (!executor_) return {{"state", preparing_.valid() ? "preparing" : "deploying"}};
  const ExecutorStatus status = executor_->status();
  Json json = counts_to_json(status);
  json["state"] = state_name(status.state);
  if (status.failure) {
    json["failure"] = status.failure->message;
    if (status.failure->blames) json["blames"] = deployment_->plan.devices[*status.failure->blames];
  }
  json["memory_bytes"] = executor_->memory_bytes();
  json["data_url"] = executor_->data_url();
  json["results_url"] = executor_->results_url();
  return json;
}

Expected<Json> Runner::start(const JsonReader& request) {
  TRY(check_epoch(request));
  take_prepared();
  if (!executor_) return fail(ErrorCode::kInvalid, "this deployment isn't prepared");
  PeerOptions options;
  TRY_ASSIGN(options.data_urls, request.strings("data_urls"));
  for (const auto& [name, member] : {std::pair{"connect_timeout_ms", &options.connect_timeout},
                                     std::pair{"heartbeat_period_ms", &options.heartbeat_period},
                                     std::pair{"heartbeat_timeout_ms", &options.heartbeat_timeout}}) {
    if (!request.has(name)) continue;
    TRY_ASSIGN(const std::int64_t value, request.integer(name, 1, kLongestTimeoutMs));
    *member = std::chrono::milliseconds(value);
  }
  TRY(executor_->start(std::move(options)));
  return Json::object();
}

Expected<Json> Runner::ping(const JsonReader& request) {
  TRY(check_epoch(request));
  return progress();
}

Expected<Json> Runner::status(const JsonReader&) {
  Json json = Json::object();
  if (deployment_) {
    json = progress();
    json["epoch"] = deployment_->epoch;
    json["model"] = deployment_->plan.model;
    Json parts = Json::array();
    for (const PartId id : deployment_->parts_of(device_)) parts.push_back(to_string(id));
    json["parts"] = std::move(parts);
  } else {
    json["state"] = link_ ? "measuring" : "idle";
  }
  json.update({{"name", options_.name},
               {"core_type", blas_core()},
               {"threads", options_.threads},
               {"refused_connections", transport::Door::of_this_process().refused()}});
  return json;
}

Expected<Json> Runner::end(const JsonReader& request) {
  TRY(check_epoch(request));
  spdlog::info("epoch {}: ended", deployment_->epoch);
  release();
  return Json::object();
}

Expected<Json> Runner::profile(const JsonReader& request, std::span<const std::byte> bytes) {
  TRY(check_free());
  TRY_ASSIGN(const ProfileJob job, profile_job_from(request, bytes));
  ProfilerOptions options;
  options.threads = options_.threads;
  options.memory_limit_bytes = options_.memory_limit_bytes;
  options.interrupted = [this] { return stopping_.load(); };
  TRY_ASSIGN(const ProfileResult result, run_profile_job(job, options));
  return profile_result_to_json(result);
}

Expected<Json> Runner::link_listen(const JsonReader& request) {
  TRY(check_free());
  TRY_ASSIGN(const std::int64_t epoch, request.integer("epoch", 1, INT64_MAX));
  TRY_ASSIGN(link_,
             LinkAnswerer::create(host_, options_.data_port, static_cast<std::uint64_t>(epoch), options_.identity));
  return Json{{"pings_url", link_->urls().pings}, {"answers_url", link_->urls().answers}};
}

Expected<Json> Runner::link_ping(const JsonReader& request) {
  TRY(check_free());
  TRY_ASSIGN(const PingPlan plan, ping_plan_from(request));
  TRY_ASSIGN(const std::vector<PingTimes> times, ping_link(plan, options_.identity));
  return ping_times_to_json(times);
}

Expected<Json> Runner::link_end(const JsonReader& request) {
  TRY_ASSIGN(const std::int64_t epoch, request.integer("epoch", 1, INT64_MAX));
  if (link_ && link_->epoch() == static_cast<std::uint64_t>(epoch)) link_.reset();
  return Json::object();
}

}  // namespace onnx_split
