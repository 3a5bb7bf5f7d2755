#include "fleet/assignment.h"

#include <future>
#include <new>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "fleet/held_models.h"
#include "fleet/machine.h"
#include "onnx_import/import.h"

namespace onnx_split {
namespace {

// Of preparing and cutting, beside an epoch that computes: a tenth of a core that both want. It waits for nobody, but
// should end: until then there may be no spare part left.
constexpr int kPriority = 10;

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

// The same for cutting.
struct Cut {
  std::vector<std::filesystem::path> models;
  Plan plan;
  CutOptions options;
  PartStore store;
  std::vector<std::future<void>> before;
};

Expected<PartStore> with_parts_cut(Cut what) {
  for (const std::future<void>& other : what.before) other.wait();
  TRY(cut_from_models(what.models, what.plan, what.options, what.store));
  return std::move(what.store);
}

// In the background, and not at the cost of what runs; what the system refuses is an error: memory, a file, a thread.
template <class Work>
auto begin(Work work) {
  using Result = decltype(work());
  try {
    return std::async(std::launch::async, [work = std::move(work)]() mutable -> Result {
      const GivesBackFreedMemory at_the_end;
      try {
        lower_priority(kPriority);
        return work();
      } catch (const std::bad_alloc&) {
        return fail(ErrorCode::kExhausted, "out of memory");
      } catch (const std::system_error& error) {
        return fail(ErrorCode::kIo, "{}", error.what());
      }
    });
  } catch (const std::system_error& error) {
    std::promise<Result> failed;
    failed.set_value(fail(ErrorCode::kExhausted, "cannot begin a thread: {}", error.what()));
    return failed.get_future();
  }
}

template <class Result>
bool is_ready(const std::future<Result>& future) {
  return future.valid() && future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

}  // namespace

bool Assignment::is_running() const { return executor_ && executor_->status().state == ExecutorState::kRunning; }

Expected<Json> Assignment::expect_parts(const std::vector<AnnouncedPart>& parts, PartStore store) {
  for (const auto& [id, hash] : parts) TRY(store.expect(id, hash));
  store_.emplace(std::move(store));
  return part_ids_to_json(store_->missing());
}

Expected<void> Assignment::cut(const JsonReader& request, std::vector<std::filesystem::path> models,
                               std::uint64_t max_memory_bytes, std::vector<std::future<void>>& before) {
  TRY(check_awaits_parts());
  TRY_ASSIGN(StageNodeNames names, cut_request_from(request, deployment_.plan));
  Plan plan = deployment_.plan;
  for (std::size_t s = 0; s < names.size(); ++s) plan.stages[s].nodes = std::move(names[s]);
  CutOptions options;
  options.max_memory_bytes = max_memory_bytes;
  options.stop = stop_cutting_.get_token();
  for (const std::string& name : deployment_.inputs) {
    const TensorType* input = deployment_.find_value(name);
    if (input == nullptr || input->shape.rank() == 0) continue;
    options.batch = input->shape[0];
    break;
  }
  Cut what{std::move(models), std::move(plan), std::move(options), std::move(*store_), std::exchange(before, {})};
  store_.reset();
  cutting_ = begin([what = std::move(what)]() mutable { return with_parts_cut(std::move(what)); });
  return {};
}

Expected<void> Assignment::put(const JsonReader& request, std::span<const std::byte> bytes) {
  TRY_ASSIGN(const PutRequest piece, put_request_from(request, deployment_.plan));
  TRY(check_awaits_parts());
  return store_->append(piece.part, piece.file, piece.offset, piece.total, bytes);
}

Expected<void> Assignment::prepare(const ExecutorOptions& options, std::vector<std::future<void>>& before) {
  TRY(check_awaits_parts());
  Preparation what{deployment_, device_, std::move(*store_), options, std::exchange(before, {})};
  store_.reset();
  preparing_ = begin([what = std::move(what)]() mutable { return prepared(std::move(what)); });
  return {};
}

void Assignment::fail_with(const Error& error) {
  failure_ = error.message;
  log_info("{}", *failure_);
}

// Whether parts may come now; they are the store's to judge.
Expected<void> Assignment::check_awaits_parts() {
  take_cut();
  if (store_) return {};
  return fail(ErrorCode::kInvalid, "this deployment {}",
              cutting_.valid() ? "is cutting its parts"
              : failure_       ? "has failed"
                               : "is prepared already");
}

void Assignment::take_cut() {
  if (!is_ready(cutting_)) return;
  auto store = cutting_.get();
  if (!store) return fail_with(store.error());
  store_.emplace(std::move(*store));
}

void Assignment::take_prepared() {
  if (!is_ready(preparing_)) return;
  auto executor = preparing_.get();
  if (!executor) return fail_with(executor.error());
  executor_ = std::move(*executor);
}

Json Assignment::progress() {
  take_cut();
  take_prepared();
  const std::vector<std::string>& names = deployment_.plan.devices;
  if (failure_) return {{"state", "failed"}, {"failure", *failure_}, {"blames", names[device_]}};
  if (store_) return {{"state", "deploying"}, {"missing", part_ids_to_json(store_->missing())}};
  if (!executor_) return {{"state", cutting_.valid() ? "cutting" : "preparing"}};
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
  // In the background, and at once, files and all, not when somebody looks at the future.
  const auto drop = [&](auto release) {
    retiring.push_back(std::async(std::launch::async, [release = std::move(release)]() mutable {
      const GivesBackFreedMemory at_the_end;
      release();
    }));
  };
  stop_cutting_.request_stop();
  if (cutting_.valid()) drop([cutting = std::move(cutting_)]() mutable { const auto result = cutting.get(); });
  if (preparing_.valid()) drop([preparing = std::move(preparing_)]() mutable { const auto result = preparing.get(); });
  if (store_) drop([store = std::exchange(store_, std::nullopt)]() mutable { store.reset(); });
  if (executor_) drop([executor = std::move(executor_)]() mutable { executor.reset(); });
  return retiring;
}

}  // namespace onnx_split
