#include "fleet/assignment.h"

#include <new>
#include <utility>

#include "base/log.h"
#include "onnx_import/import.h"

namespace onnx_split {
namespace {

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

}  // namespace

bool Assignment::is_running() const { return executor_ && executor_->status().state == ExecutorState::kRunning; }

Expected<Json> Assignment::expect_parts(const std::vector<AnnouncedPart>& parts, PartStore store) {
  Json missing = Json::array();
  for (const auto& [id, hash] : parts) {
    TRY_ASSIGN(const bool is_here, store.expect(id, hash));
    if (!is_here) missing.push_back({{"stage", id.stage}, {"part", id.part}});
  }
  store_.emplace(std::move(store));
  return missing;
}

Expected<void> Assignment::put(const JsonReader& request, std::span<const std::byte> bytes) {
  TRY_ASSIGN(const PutRequest piece, put_request_from(request, deployment_.plan));
  if (!store_) return fail(ErrorCode::kInvalid, "{}: this deployment is prepared already", to_string(piece.part));
  return store_->append(piece.part, piece.file, piece.offset, piece.total, bytes);
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
  TRY_ASSIGN(PeerOptions options, peer_options_from(request));
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
