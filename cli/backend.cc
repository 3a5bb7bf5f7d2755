#include "cli/backend.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <mutex>

#include "base/log.h"
#include "cli/cluster_file.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "cli/progress.h"
#include "engine/evaluate.h"
#include "fleet/composer.h"
#include "fleet/local_fleet.h"
#include "partition/cluster.h"
#include "partition/extract.h"
#include "partition/planner.h"
#include "partition/spares.h"

namespace onnx_split {
namespace {

std::future<Result> ready_by(Result result, Backend::Clock::time_point deadline) {
  if (result && Backend::Clock::now() > deadline) {
    result = fail(ErrorCode::kTimeout, "the deadline has passed before there was a result");
  }
  return ready(std::move(result));
}

class SingleProcess : public Backend {
 public:
  SingleProcess(std::unique_ptr<Session> session, unsigned threads) : session_(std::move(session)), threads_(threads) {}

  std::future<Result> submit(const std::vector<Tensor>& inputs, Clock::time_point deadline) override {
    return ready_by(compute(inputs), deadline);
  }
  std::size_t window() const override { return 1; }
  std::string describe() const override { return fmt::format("one process, {} thread(s)", threads_); }
  unsigned threads() const override { return threads_; }

 private:
  Result compute(const std::vector<Tensor>& inputs) {
    TRY(check_interrupted());
    return evaluate(*session_, inputs);
  }

  std::unique_ptr<Session> session_;
  unsigned threads_;
};

class PartsInProcess : public Backend {
 public:
  PartsInProcess(Composer composer, unsigned threads) : composer_(std::move(composer)), threads_(threads) {}

  std::future<Result> submit(const std::vector<Tensor>& inputs, Clock::time_point deadline) override {
    return ready_by(compute(inputs), deadline);
  }
  std::size_t window() const override { return 1; }
  std::string describe() const override {
    return fmt::format("{} parts one after the other in one process, {} thread(s)", composer_.manifest().parts.size(),
                       threads_);
  }
  unsigned threads() const override { return threads_; }

 private:
  Result compute(const std::vector<Tensor>& inputs) {
    TRY(check_interrupted());
    TRY_ASSIGN(const NamedTensors values, composer_.run(inputs));
    std::vector<Tensor> outputs;
    for (const std::string& name : composer_.manifest().outputs) outputs.push_back(values.find(name)->second);
    return outputs;
  }

  Composer composer_;
  unsigned threads_;
};

class Fleet : public Backend {
  static constexpr std::size_t kLongestRound = 1 << 20;

 public:
  Fleet(std::optional<LocalFleet> local, std::unique_ptr<Coordinator> coordinator, const Plan& plan, unsigned threads)
      : local_(std::move(local)),
        coordinator_(std::move(coordinator)),
        threads_(threads),
        devices_(plan.devices.size()),
        round_(schedule_round(plan, kLongestRound)),
        on_interrupt_([this] {
          coordinator_->cancel({ErrorCode::kCancelled, "interrupted"});
        }) {}

  std::future<Result> submit(const std::vector<Tensor>& inputs, Clock::time_point deadline) override {
    return coordinator_->submit(inputs, deadline);
  }
  Expected<std::future<Result>> try_submit(const std::vector<Tensor>& inputs, Clock::time_point deadline) override {
    return coordinator_->try_submit(inputs, deadline);
  }
  std::size_t window() const override { return coordinator_->window(); }
  std::size_t round() const override { return round_; }
  std::string describe() const override {
    return fmt::format("{} {}, {} thread(s) each", devices_, local_ ? "local runners" : "devices", threads_);
  }
  unsigned threads() const override { return threads_; }

 private:
  std::optional<LocalFleet> local_;  // ends after the coordinator
  std::unique_ptr<Coordinator> coordinator_;
  unsigned threads_;
  std::size_t devices_;
  std::size_t round_;
  OnInterrupt on_interrupt_;
};

// A stage of whole layers for each runner, as equal as MACs can be: processes that share one machine gain nothing from
// anything cleverer, and show what a pipeline is.
Expected<Plan> pipeline_of(const Graph& graph, std::vector<std::string> runners, unsigned threads,
                           const ChoiceRule& rule) {
  PlanRequest request;
  request.devices = std::move(runners);
  request.engine = engine_facts(threads, rule);
  return make_plan(graph, request);
}

// Whoever has patience asks seldom: where all send to all, heartbeats are most of the messages that a device handles.
void lose_after(WatchOptions& watch, std::chrono::milliseconds silence) {
  constexpr std::chrono::milliseconds kLongestPeriod{1000};
  watch.heartbeat_period = std::min(kLongestPeriod, silence / 4);
  watch.heartbeat_timeout = silence - watch.heartbeat_period;
}

Expected<std::unique_ptr<Backend>> deploy(const Graph& graph, const Plan& plan, std::optional<LocalFleet> local,
                                          const std::vector<std::string>& urls, unsigned threads,
                                          const BackendOptions& options, CoordinatorOptions coordinator_options) {
  Progress progress("sending parts", options.quiet);
  coordinator_options.watch.progress = [&](std::uint64_t done, std::uint64_t total) { progress.update(done, total); };
  std::stop_source give_up;
  const OnInterrupt on_interrupt([&] { give_up.request_stop(); });
  coordinator_options.watch.stop = give_up.get_token();
  if (options.lost_after_ms) lose_after(coordinator_options.watch, std::chrono::milliseconds(*options.lost_after_ms));
  if (options.no_replan) coordinator_options.replan = nullptr;
  TRY_ASSIGN(std::unique_ptr<Coordinator> coordinator, Coordinator::deploy(graph, plan, urls, coordinator_options));
  return std::make_unique<Fleet>(std::move(local), std::move(coordinator), plan, threads);
}

Expected<std::unique_ptr<Backend>> local_backend(const Graph& graph, const BackendOptions& options) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < options.local; ++i) names.push_back(LocalFleet::device_name(i));
  TRY_ASSIGN(const Plan plan,
             options.plan_path.empty()
                 ? pipeline_of(graph, std::move(names), options.threads.value_or(1), rule_of(options.engine))
                 : plan_of_file(graph, options.plan_path));
  if (plan.devices.size() != options.local) {
    return fail(ErrorCode::kInvalid, "{}: the plan is for {} devices: use --local {}", options.plan_path,
                plan.devices.size(), plan.devices.size());
  }
  LocalFleetOptions fleet_options;
  fleet_options.threads = options.threads.value_or(plan.threads);
  fleet_options.log_level = options.log_level;
  TRY_ASSIGN(LocalFleet fleet, LocalFleet::start(options.local, fleet_options));
  const std::vector<std::string> urls = fleet.urls();
  CoordinatorOptions coordinator_options;
  coordinator_options.replan = [&graph, threads = fleet_options.threads, rule = rule_of(options.engine)](
                                   const std::vector<std::string>& left, const auto&) {
    return pipeline_of(graph, left, threads, rule);
  };
  return deploy(graph, plan, std::move(fleet), urls, fleet_options.threads, options, std::move(coordinator_options));
}

// The cluster file, read again when it changes: devices may be added to it.
class WatchedCluster {
 public:
  WatchedCluster(std::string path, Cluster cluster) : path_(std::move(path)), cluster_(std::move(cluster)) {
    std::error_code error;
    written_ = std::filesystem::last_write_time(path_, error);
  }

  // As the file was when it could be read last.
  Cluster now() {
    const std::scoped_lock lock(mutex_);
    std::error_code error;
    const auto written = std::filesystem::last_write_time(path_, error);
    if (error || written == written_) return cluster_;
    written_ = written;
    auto cluster = read_dialable_cluster(path_);
    if (cluster) {
      cluster_ = std::move(*cluster);
    } else {
      log_warn("{}; going on with what it said before", cluster.error().message);
    }
    return cluster_;
  }

 private:
  std::string path_;
  std::mutex mutex_;
  Cluster cluster_;
  std::filesystem::file_time_type written_;
};

// Of these devices, with so many spare ones. What the user asked for holds as far as it can: spare devices are given up
// before the rest.
Expected<Plan> plan_for_rest(const Graph& graph, Cluster cluster, const std::vector<std::string>& left,
                             const BackendOptions& options, std::size_t spares, const std::function<bool()>& give_up) {
  cluster = only_devices(std::move(cluster), left);
  if (cluster.devices.empty()) {
    return fail(ErrorCode::kNotFound, "{}: none of the devices that are left is in it", options.cluster_path);
  }
  PlanningOptions planning = options.planning;
  planning.interrupted = give_up;
  planning.spares = spares;
  if (planning.spares > 0 && planning.spares < cluster.devices.size()) {
    auto plan = plan_for(graph, cluster, planning, rule_of(options.engine));
    if (plan || plan.error().code != ErrorCode::kExhausted) return plan;
  }
  planning.spares = 0;
  return plan_for(graph, cluster, planning, rule_of(options.engine));
}

Expected<std::unique_ptr<Backend>> cluster_backend(const Graph& graph, const BackendOptions& options) {
  TRY_ASSIGN(const Cluster cluster, read_dialable_cluster(options.cluster_path));
  TRY_ASSIGN(const Plan plan, options.plan_path.empty()
                                  ? plan_for(graph, cluster, options.planning, rule_of(options.engine))
                                  : plan_of_file(graph, options.plan_path));
  std::vector<std::string> urls;
  for (const std::string& name : plan.devices) {
    const auto found = std::find_if(cluster.devices.begin(), cluster.devices.end(),
                                    [&](const Device& device) { return device.name == name; });
    if (found == cluster.devices.end()) {
      return fail(ErrorCode::kInvalid, "{}: no device is named \"{}\", which the plan uses", options.cluster_path,
                  name);
    }
    urls.push_back(found->address);
  }
  CoordinatorOptions coordinator_options;
  TRY_ASSIGN(coordinator_options.watch.identity, identity_for(cluster, options.identity));
  const auto watched = std::make_shared<WatchedCluster>(options.cluster_path, cluster);
  // A plan that was given is for the devices that it names.
  if (options.plan_path.empty()) {
    coordinator_options.devices = [watched] {
      std::vector<FleetDevice> devices;
      for (const Device& device : watched->now().devices) devices.push_back({device.name, device.address});
      return devices;
    };
  }
  coordinator_options.replan = [&graph, watched, options, spares = count_spare_devices(plan)](
                                   const std::vector<std::string>& left, const std::function<bool()>& give_up) {
    return plan_for_rest(graph, watched->now(), left, options, spares, give_up);
  };
  auto backend = deploy(graph, plan, std::nullopt, urls, plan.threads, options, std::move(coordinator_options));
  if (!backend) return tl::unexpected(with_place(std::move(backend.error()), cluster));
  return backend;
}

}  // namespace

void add_backend_options(CLI::App& command, BackendOptions& options) {
  auto* local = command.add_option("--local", options.local, "start N runner processes on this machine")
                    ->type_name("N")
                    ->check(CLI::Range(1, 256));
  auto* cluster = command.add_option("--cluster", options.cluster_path, "use the runners of this cluster file");
  cluster->type_name("FILE")->excludes(local);
  add_identity_options(command, options.identity);
  add_engine_options(command, options.engine);
  auto* plan = command.add_option(
      "--plan", options.plan_path,
      "use this plan; without --local or --cluster its parts run one after the other in this process");
  plan->type_name("PLAN.json");
  for (const char* name : {"--gemm", "--weights"}) plan->excludes(command.get_option(name));  // it says that itself
  command
      .add_option("--profile", options.planning.profile_path,
                  "with --cluster: what was measured, to make the plan with")
      ->type_name("FILE")
      ->needs(cluster);
  command.add_option("--threads", options.threads, "threads (with --local: of each runner)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->excludes(cluster);  // a cluster's runners were started with theirs
  // Runners wait 10 s for a coordinator that is silent.
  command
      .add_option("--lost-after", options.lost_after_ms,
                  "with --local or --cluster: go on without a device that was silent for so long (default: 950)")
      ->type_name("MS")
      ->check(CLI::Range(100, 9000));
  command.add_flag("--no-replan", options.no_replan,
                   "with --local or --cluster: make no plans for lost devices; without spare parts a loss ends it");
}

Expected<std::unique_ptr<Backend>> make_backend(const Graph& graph, const BackendOptions& options) {
  if (options.local > 0) return local_backend(graph, options);
  if (!options.cluster_path.empty()) return cluster_backend(graph, options);
  SessionOptions session_options;
  session_options.threads = options.threads.value_or(available_cores());
  session_options.rule = rule_of(options.engine);
  if (options.plan_path.empty()) {
    TRY_ASSIGN(std::unique_ptr<Session> session, Session::create(graph, session_options));
    return std::make_unique<SingleProcess>(std::move(session), session_options.threads);
  }
  TRY_ASSIGN(const Plan plan, plan_of_file(graph, options.plan_path));
  TRY_ASSIGN(Composer composer, Composer::create(graph, plan, session_options));
  return std::make_unique<PartsInProcess>(std::move(composer), session_options.threads);
}

}  // namespace onnx_split
