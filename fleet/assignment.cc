#include "fleet/assignment.h"

#include <new>
#include <utility>

#include "base/log.h"
#include "onnx_import/import.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kLongestTimeoutMs = 600'000;

Json counts_to_json(const ExecutorStatus& status) {
  return {{"jobs_done", status.jobs_done},
          {"frames_dropped", status.frames_dropped},
          {"sends_dropped", status.sends_dropped},
          {"given_up", status.given_up},
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

}  // namespace

Expected<Assignment> Assignment::create(const JsonReader& request) {
  TRY_ASSIGN(const JsonReader body, request.at("deployment"));
  TRY_ASSIGN(Deployment deployment, deployment_from_json(body.value()));
  const auto devices = static_cast<std::int64_t>(deployment.plan.devices.size());
  TRY_ASSIGN(const std::int64_t device, request.integer("device", 0, devices - 1));
  return Assignment(std::move(deployment), static_cast<std::size_t>(device));
}

bool Assignment::is_running() const { return executor_ && executor_->status().state == ExecutorState::kRunning; }

Expected<Json> Assignment::expect_parts(const JsonReader& request, PartStore store) {
  TRY_ASSIGN(const JsonReader list, request.at("parts"));
  TRY_ASSIGN(const std::vector<JsonReader> parts, list.elements());
  std::vector<PartId> announced;
  Json missing = Json::array();
  for (const JsonReader& reader : parts) {
    TRY_ASSIGN(const PartId part, read_part_id(reader, deployment_.plan));
    TRY_ASSIGN(const std::string hash, reader.string("hash"));
    TRY_ASSIGN(const bool is_here, store.expect(part, hash));
    announced.push_back(part);
    if (!is_here) missing.push_back({{"stage", part.stage}, {"part", part.part}});
  }
  if (announced != deployment_.parts_of(device_)) {
    return fail(ErrorCode::kInvalid, "the announced parts aren't those of device {}", device_);
  }
  store_.emplace(std::move(store));
  return missing;
}

Expected<void> Assignment::put(const JsonReader& request, std::span<const std::byte> bytes) {
  TRY_ASSIGN(const PartId part, read_part_id(request, deployment_.plan));
  TRY_ASSIGN(const std::string name, request.string("file"));
  TRY_ASSIGN(const PartFile file, part_file_from_name(name));
  TRY_ASSIGN(const std::int64_t total, request.integer("total", 0, INT64_MAX));
  TRY_ASSIGN(const std::int64_t offset, request.integer("offset", 0, total));
  if (!store_) return fail(ErrorCode::kInvalid, "{}: this deployment is prepared already", to_string(part));
  return store_->append(part, file, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(total), bytes);
}

Expected<void> Assignment::prepare(const ExecutorOptions& options, std::vector<std::future<void>> before) {
  if (!store_) return fail(ErrorCode::kInvalid, "this deployment is prepared already");
  Preparation what{deployment_, device_, std::move(*store_), options, std::move(before)};
  store_.reset();
  preparing_ =
      std::async(std::launch::async, [what = std::move(what)]() mutable -> Expected<std::unique_ptr<Executor>> {
        try {
          return prepared(std::move(what));
        } catch (const std::bad_alloc&) {
          return fail(ErrorCode::kExhausted, "out of memory");
        }
      });
  return {};
}

void Assignment::take_prepared() {
  if (!preparing_.valid() || preparing_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
  auto executor = preparing_.get();
  if (executor) {
    executor_ = std::move(*executor);
    return;
  }
  failure_ = executor.error().message;
  spdlog::info("{}", *failure_);
}

Json Assignment::progress() {
  take_prepared();
  const std::vector<std::string>& names = deployment_.plan.devices;
  if (failure_) return {{"state", "failed"}, {"failure", *failure_}, {"blames", names[device_]}};
  if (!executor_) return {{"state", preparing_.valid() ? "preparing" : "deploying"}};
  const ExecutorStatus status = executor_->status();
  Json json = counts_to_json(status);
  json["state"] = state_name(status.state);
  if (status.failure) {
    json["failure"] = status.failure->message;
    if (status.failure->blames) json["blames"] = names[*status.failure->blames];
    if (status.failure->goes_on) json["goes_on"] = true;
  }
  json["memory_bytes"] = executor_->memory_bytes();
  json["data_url"] = executor_->data_url();
  json["results_url"] = executor_->results_url();
  return json;
}

Expected<void> Assignment::start(const JsonReader& request) {
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
  return executor_->start(std::move(options));
}

std::vector<std::future<void>> Assignment::end() && {
  std::vector<std::future<void>> retiring;
  if (preparing_.valid()) {
    retiring.push_back(std::async(std::launch::async, [preparing = std::move(preparing_)] { preparing.wait(); }));
  }
  if (executor_) {
    retiring.push_back(
        std::async(std::launch::async, [executor = std::move(executor_)]() mutable { executor.reset(); }));
  }
  return retiring;
}

}  // namespace onnx_split
