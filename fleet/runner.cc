#include "fleet/runner.h"

#include <unistd.h>

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "engine/blas_core.h"
#include "fleet/held_models.h"
#include "fleet/machine.h"
#include "fleet/profiler.h"
#include "fleet/requests.h"
#include "transport/door.h"
#include "transport/url.h"

namespace onnx_split {
namespace {

// Each look costs up to a millisecond: nng 1.5 spins until the next one when a timeout is due.
constexpr std::chrono::milliseconds kReceiveTimeout{1000};

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
  PartStore::remove_leftovers(options.model_dir);
  std::shared_ptr<Cores> cores;
  try {
    cores = std::make_shared<Cores>(options.threads);
  } catch (const std::system_error& error) {
    return fail(ErrorCode::kExhausted, "cannot begin {} threads: {}", options.threads, error.what());
  }
  std::unique_ptr<Runner> runner(new Runner(options, std::move(cores)));
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
    auto request = socket_->receive(std::min(kReceiveTimeout, options_.lease / 2));
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
  link_.reset();
  while (!assignments_.empty()) release(assignments_.begin());
  return {};
}

// Others may talk to this port as well: only what the coordinator says of its epoch counts.
void Runner::drop_if_silent() {
  if (link_ && link_->abandoned(options_.lease)) link_.reset();
  for (auto assignment = assignments_.begin(); assignment != assignments_.end();) {
    const auto next = std::next(assignment);
    if (assignment->silent_for() > options_.lease) {
      log_warn("epoch {}: the coordinator has been silent for {} ms; dropping its deployment", assignment->epoch(),
               options_.lease.count());
      release(assignment);
    }
    assignment = next;
  }
}

void Runner::stop() {
  stopping_ = true;
  socket_->close();
}

void Runner::release(std::list<Assignment>::iterator assignment) {
  std::erase_if(retiring_, [](const std::future<void>& other) {
    return other.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
  for (std::future<void>& ending : std::move(*assignment).end()) retiring_.push_back(std::move(ending));
  assignments_.erase(assignment);
}

Json Runner::handle(std::span<const std::byte> request) {
  Expected<Json> reply;
  try {
    reply = decode_control(request).and_then([&](const ControlMessage& message) { return dispatch(message); });
  } catch (const std::bad_alloc&) {
    reply = fail(ErrorCode::kExhausted, "out of memory");
  } catch (const std::system_error& error) {  // of a thread or a file
    reply = fail(ErrorCode::kExhausted, "{}", error.what());
  }
  if (reply) return std::move(*reply);
  log_info("refused: {}", reply.error().message);
  return error_to_json(reply.error());
}

Expected<Json> Runner::dispatch(const ControlMessage& message) {
  const JsonReader request(message.json);
  TRY_ASSIGN(const std::string op, request.string("op"));
  if (op == "hello") return hello(request);
  if (op == "deploy") return deploy(request);
  if (op == "cut") return cut(request);
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
  return fail(ErrorCode::kInvalid, "unknown request {}", to_text(Json(op.substr(0, kLongestNamed))));
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
  TRY_ASSIGN(DeployRequest asked, deploy_request_from(request));
  TRY(check_free(asked.replaces));
  TRY_ASSIGN(PartStore store, PartStore::create(options_.model_dir, asked.deployment.epoch, options_.memory_limit_bytes,
                                                options_.keep_bytes));
  Assignment assignment(std::move(asked.deployment), asked.device);
  TRY_ASSIGN(Json missing, assignment.expect_parts(asked.parts, std::move(store)));
  log_info("epoch {}: device {} of {}", assignment.epoch(), assignment.device(),
           assignment.deployment().plan.devices.size());
  assignments_.push_back(std::move(assignment));
  return Json{{"missing", std::move(missing)}, {"models", models_in(options_.model_dir).size()}};
}

// An epoch that runs may be followed by another of the same coordinator's, who says which. (Another coordinator that
// says so is a coordinator of the same owner.)
Expected<void> Runner::check_free(std::uint64_t replaces) const {
  if (assignments_.empty() && !link_) return {};
  if (assignments_.size() == 1 && !link_ && assignments_.front().epoch() == replaces &&
      assignments_.front().is_running()) {
    return {};
  }
  return fail(ErrorCode::kUnavailable, "another coordinator is using this runner (epoch {})",
              link_ ? link_->epoch() : assignments_.back().epoch());
}

// The assignment that a request is about. From whom it comes is alive.
Expected<std::list<Assignment>::iterator> Runner::assignment_of(const JsonReader& request) {
  TRY_ASSIGN(const std::int64_t epoch, request.integer("epoch", 1, INT64_MAX));
  if (assignments_.empty()) return fail(ErrorCode::kInvalid, "epoch {}: nothing is deployed here", epoch);
  const auto found = std::find_if(assignments_.begin(), assignments_.end(), [&](const Assignment& assignment) {
    return assignment.epoch() == static_cast<std::uint64_t>(epoch);
  });
  if (found == assignments_.end()) {
    return fail(ErrorCode::kInvalid, "epoch {}: this runner is in epoch {}", epoch, assignments_.back().epoch());
  }
  found->heard();
  return found;
}

Expected<Json> Runner::cut(const JsonReader& request) {
  TRY_ASSIGN(const auto assignment, assignment_of(request));
  // Without a limit as well: reading a large model mustn't end the runner where its parts, sent, would fit.
  const std::uint64_t limit =
      options_.memory_limit_bytes != 0 ? memory_left_for(*assignment) : available_memory_bytes();
  TRY(assignment->cut(request, models_in(options_.model_dir), limit, retiring_));
  return Json::object();
}

Expected<Json> Runner::put(const JsonReader& request, std::span<const std::byte> bytes) {
  TRY_ASSIGN(const auto assignment, assignment_of(request));
  TRY(assignment->put(request, bytes));
  return Json::object();
}

// The limit less what others need. 0: there is none.
std::uint64_t Runner::memory_left_for(const Assignment& assignment) const {
  std::uint64_t left = options_.memory_limit_bytes;
  for (const Assignment& other : assignments_) {
    if (&other == &assignment || left == 0) continue;
    const std::uint64_t used = other.memory_bytes();
    left = left > used ? left - used : 1;
  }
  return left;
}

Expected<Json> Runner::prepare(const JsonReader& request) {
  TRY_ASSIGN(const auto assignment, assignment_of(request));
  const std::string& core_type = assignment->deployment().plan.core_type;
  if (core_type != blas_core()) {
    log_warn("the plan was made for core type {}, this is {}: answers agree within 1e-4, not bit for bit", core_type,
             blas_core());
  }
  ExecutorOptions options;
  options.host = host_;
  options.identity = options_.identity;
  options.data_port = options_.data_port;
  options.memory_limit_bytes = memory_left_for(*assignment);
  options.cores = cores_;
  TRY(assignment->prepare(options, retiring_));
  return Json::object();
}

Expected<Json> Runner::start(const JsonReader& request) {
  TRY_ASSIGN(const auto assignment, assignment_of(request));
  TRY(assignment->start(request));
  return Json::object();
}

Expected<Json> Runner::ping(const JsonReader& request) {
  TRY_ASSIGN(const auto assignment, assignment_of(request));
  return assignment->progress();
}

Expected<Json> Runner::status(const JsonReader&) {
  Json json = Json::object();
  if (!assignments_.empty()) {
    Assignment& newest = assignments_.back();
    json = newest.progress();
    json["epoch"] = newest.epoch();
    json["model"] = newest.deployment().plan.model;
    Json parts = Json::array();
    for (const PartId id : newest.deployment().parts_of(newest.device())) parts.push_back(to_string(id));
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
  TRY_ASSIGN(const auto assignment, assignment_of(request));
  log_info("epoch {}: ended", assignment->epoch());
  release(assignment);
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
  give_back_freed_memory();
  return Json::object();
}

}  // namespace onnx_split
