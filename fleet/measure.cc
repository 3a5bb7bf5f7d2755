#include "fleet/measure.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>

#include "fleet/control.h"
#include "fleet/link_costs.h"
#include "fleet/profile_jobs.h"
#include "onnx_import/export.h"

namespace onnx_split {
namespace {

constexpr std::size_t kMostPartners = 8;
// A pass can't be cut short, and on a small device it may take a minute.
constexpr std::chrono::milliseconds kJobTimeout = std::chrono::minutes(30);
constexpr std::chrono::milliseconds kPingTimeout = std::chrono::minutes(5);
constexpr std::chrono::milliseconds kJobPoll{100};
constexpr double kMaxQuotaMs = 1e9;
// What a runner needs besides what a job counts (it has about 15 MB once it has computed), and an eighth of the memory
// for what was forgotten.
constexpr std::uint64_t kReservedBytes = 18'000'000;

// What a job on this device may need; 0: any amount. `limits`: 0 where there is none.
std::uint64_t budget_of(std::initializer_list<std::uint64_t> limits) {
  std::uint64_t least = 0;
  for (const std::uint64_t limit : limits) {
    if (limit != 0) least = least == 0 ? limit : std::min(least, limit);
  }
  if (least == 0) return 0;
  const std::uint64_t most = least / 8 * 7;
  return most > kReservedBytes ? most - kReservedBytes : 1;
}

// A device while it is measured.
struct Subject {
  const MeasuredDevice* device = nullptr;
  std::optional<ControlClient> client;
  DeviceProfile profile;
  const DeviceJobs* jobs = nullptr;
  std::uint64_t budget_bytes = 0;
  std::vector<ProfileResult> nodes;  // of the first time that its nodes were measured
  double wall_s = 0.0;
  double median_s = 0.0;
  double reorders_ms = 0.0;  // of shares, and of how many bytes
  double border_bytes = 0.0;
  std::vector<MessageCost> send;  // one for each link that was measured
  std::vector<MessageCost> receive;
};

// One device's error, with its name in front where the control client hasn't put it there.
Error in_device(const std::string& name, Error error) {
  const std::string context = fmt::format("device \"{}\": ", name);
  return error.message.starts_with(context) ? error : std::move(error).in(fmt::format("device \"{}\"", name));
}

class Measurement {
 public:
  Measurement(const Graph& graph, const std::vector<MeasuredDevice>& devices, const MeasureOptions& options)
      : graph_(graph), options_(options), subjects_(devices.size()) {
    for (std::size_t i = 0; i < devices.size(); ++i) subjects_[i].device = &devices[i];
  }

  Expected<Profile> run() {
    TRY(on_each(subjects_.size(), [&](std::size_t i) { return connect(subjects_[i]); }));
    TRY(plan());
    // A machine is faster now and slower then, for minutes, and devices that share one all at once. So nodes are
    // measured before the shares and after them, and devices begin with other shares, if there are several jobs of
    // them.
    TRY(on_each(subjects_.size(), [&](std::size_t i) { return measure_nodes(subjects_[i]); }));
    TRY(on_each(subjects_.size(), [&](std::size_t i) { return measure_shares(i); }));
    TRY(on_each(subjects_.size(), [&](std::size_t i) { return measure_nodes(subjects_[i]); }));
    if (subjects_.size() == 1) TRY(on_each(1, [&](std::size_t) { return measure_messages(); }));
    for (const auto& round : rounds_) {
      TRY(on_each(round.size(), [&](std::size_t i) { return measure_link(round[i].first, round[i].second); }));
    }
    return finish();
  }

 private:
  // Calls work(0), …, work(count - 1) at the same time. The first error, or an interruption, ends the others.
  Expected<void> on_each(std::size_t count, const std::function<Expected<void>(std::size_t)>& work);
  Expected<void> connect(Subject& subject);
  Expected<void> plan();
  Expected<void> measure_nodes(Subject& subject);
  Expected<void> measure_shares(std::size_t number);
  Expected<ProfileResult> run_job(Subject& subject, const ProfileJob& job);
  Expected<PingPlan> listen(Subject& subject);
  Expected<void> measure_messages();
  Expected<void> measure_link(std::size_t from, std::size_t to);
  Expected<Profile> finish();
  void step_done();

  const Graph& graph_;
  const MeasureOptions& options_;
  std::vector<Subject> subjects_;
  std::map<std::uint64_t, DeviceJobs> jobs_;  // by budget
  std::vector<std::vector<std::pair<std::size_t, std::size_t>>> rounds_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<LinkProfile> links_;
  std::uint64_t steps_done_ = 0;
  std::uint64_t steps_ = 0;
};

Expected<void> Measurement::on_each(std::size_t count, const std::function<Expected<void>(std::size_t)>& work) {
  std::size_t running = count;
  std::optional<Error> failure;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      auto done = work(i);
      const std::scoped_lock lock(mutex_);
      if (!done && !failure) failure = std::move(done.error());
      --running;
      changed_.notify_all();
    });
  }
  {
    std::unique_lock lock(mutex_);
    while (running > 0 && !failure) {
      changed_.wait_for(lock, kJobPoll);
      if (failure || !options_.interrupted || !options_.interrupted()) continue;
      failure = Error{ErrorCode::kCancelled, "interrupted"};
    }
  }
  if (failure) {
    // Wakes whoever waits for an answer.
    for (Subject& subject : subjects_) {
      if (subject.client) subject.client->close();
    }
  }
  for (std::thread& thread : threads) thread.join();
  if (failure) return tl::unexpected(std::move(*failure));
  return {};
}

Expected<void> Measurement::connect(Subject& subject) {
  const MeasuredDevice& device = *subject.device;
  TRY_ASSIGN(ControlClient client,
             ControlClient::connect(device.name, device.url, options_.connect_timeout, options_.identity));
  TRY_ASSIGN(const Json hello, client.call("hello", {{"protocol", kProtocolVersion}}, {}, options_.connect_timeout));
  const JsonReader reader(hello);
  DeviceProfile& profile = subject.profile;
  profile.name = device.name;
  TRY_ASSIGN(profile.machine, reader.string("machine"));
  TRY_ASSIGN(profile.core_type, reader.string("core_type"));
  TRY_ASSIGN(profile.version, reader.string("version"));
  TRY_ASSIGN(const std::int64_t threads, reader.integer("threads", 1, 1024));
  profile.threads = static_cast<unsigned>(threads);
  TRY_ASSIGN(const std::int64_t limit, reader.integer("memory_limit_bytes", 0, INT64_MAX));
  TRY_ASSIGN(const std::int64_t available, reader.integer("available_memory_bytes", 0, INT64_MAX));
  subject.budget_bytes =
      budget_of({device.memory_bytes, static_cast<std::uint64_t>(limit), static_cast<std::uint64_t>(available)});
  TRY_ASSIGN(profile.quota_ms, reader.number("quota_ms", 0.0, kMaxQuotaMs));
  TRY_ASSIGN(profile.period_ms, reader.number("period_ms", 0.0, kMaxQuotaMs));
  subject.client = std::move(client);
  return {};
}

Expected<void> Measurement::plan() {
  for (Subject& subject : subjects_) {
    const auto [found, is_new] = jobs_.try_emplace(subject.budget_bytes);
    if (is_new) {
      auto jobs = plan_device_jobs(graph_, {subject.budget_bytes, options_.quick});
      if (!jobs) return tl::unexpected(in_device(subject.device->name, std::move(jobs.error())));
      found->second = std::move(*jobs);
    }
    subject.jobs = &found->second;
    steps_ += 2 * subject.jobs->nodes.size() + subject.jobs->shares.size();
  }
  rounds_ = pair_rounds(subjects_.size(), kMostPartners);
  for (const auto& round : rounds_) steps_ += round.size();
  if (subjects_.size() == 1) ++steps_;
  return {};
}

void Measurement::step_done() {
  const std::scoped_lock lock(mutex_);
  ++steps_done_;
  if (options_.progress) options_.progress(steps_done_, steps_);
}

Expected<ProfileResult> Measurement::run_job(Subject& subject, const ProfileJob& job) {
  TRY_ASSIGN(const std::string model, export_onnx_bytes(job.network.graph));
  auto reply = subject.client->call("profile", profile_job_to_json(job), std::as_bytes(std::span(model)), kJobTimeout);
  auto result = reply ? profile_result_from(JsonReader(*reply)) : tl::unexpected(std::move(reply.error()));
  if (!result) return tl::unexpected(in_device(subject.device->name, std::move(result.error())));
  subject.profile.idle_memory_bytes = static_cast<std::int64_t>(result->resident_memory_bytes);
  return result;
}

Expected<void> Measurement::measure_nodes(Subject& subject) {
  const bool again = !subject.nodes.empty();
  for (std::size_t i = 0; i < subject.jobs->nodes.size(); ++i) {
    const NodesJob& job = subject.jobs->nodes[i];
    TRY_ASSIGN(ProfileResult result, run_job(subject, job.job));
    subject.wall_s += result.wall_s;
    subject.median_s += result.median_s();
    if (again && result.steps.size() != subject.nodes[i].steps.size()) {
      return fail(ErrorCode::kInvalid, "device \"{}\": it measured {} steps, {} when it was asked again",
                  subject.device->name, subject.nodes[i].steps.size(), result.steps.size());
    }
    auto added = add_result(subject.profile, job, again ? mean_of(subject.nodes[i], result) : result);
    if (!added) return tl::unexpected(in_device(subject.device->name, std::move(added.error())));
    if (!again) subject.nodes.push_back(std::move(result));
    step_done();
  }
  return {};
}

Expected<void> Measurement::measure_shares(std::size_t number) {
  Subject& subject = subjects_[number];
  const std::vector<SharesJob>& jobs = subject.jobs->shares;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const SharesJob& job = jobs[(i + number * jobs.size() / subjects_.size()) % jobs.size()];
    TRY_ASSIGN(const ProfileResult result, run_job(subject, job.job));
    auto added = add_result(subject.profile, job, result);
    if (!added) return tl::unexpected(in_device(subject.device->name, std::move(added.error())));
    // Nobody reads the outputs of any but the last: those are left in the kernels' layout.
    for (std::size_t k = 0; k + 1 < job.shares.size(); ++k) {
      subject.reorders_ms += result.steps[k].reorders.median_ms;
      subject.border_bytes += static_cast<double>(job.shares[k].border_bytes);
    }
    step_done();
  }
  return {};
}

// The device listens for pings; what the pinging end has to know of it.
Expected<PingPlan> Measurement::listen(Subject& subject) {
  PingPlan plan;
  plan.epoch = new_epoch();
  plan.device = subject.device->name;
  plan.batches = link_batches(options_.quick);
  TRY_ASSIGN(const Json reply, subject.client->call("link_listen", {{"epoch", plan.epoch}}));
  const JsonReader urls(reply);
  TRY_ASSIGN(const std::string pings, urls.string("pings_url"));
  TRY_ASSIGN(plan.urls.pings, reachable_url(subject.client->url(), pings));
  TRY_ASSIGN(const std::string answers, urls.string("answers_url"));
  TRY_ASSIGN(plan.urls.answers, reachable_url(subject.client->url(), answers));
  return plan;
}

// Of a single device.
Expected<void> Measurement::measure_messages() {
  Subject& subject = subjects_[0];
  TRY_ASSIGN(const PingPlan plan, listen(subject));
  auto times = ping_link(plan, options_.identity);
  if (!times) return tl::unexpected(in_device(subject.device->name, std::move(times.error())));
  TRY(subject.client->call("link_end", {{"epoch", plan.epoch}}));
  TRY_ASSIGN(const LinkCosts costs, link_costs(*times));
  subject.send.push_back(costs.peer_send);
  subject.receive.push_back(costs.peer_receive);
  step_done();
  return {};
}

Expected<void> Measurement::measure_link(std::size_t from, std::size_t to) {
  Subject& pinging = subjects_[from];
  Subject& answering = subjects_[to];
  TRY_ASSIGN(const PingPlan plan, listen(answering));
  TRY_ASSIGN(const Json reply, pinging.client->call("link_ping", ping_plan_to_json(plan), {}, kPingTimeout));
  TRY(answering.client->call("link_end", {{"epoch", plan.epoch}}));
  const auto times = ping_times_from(JsonReader(reply));
  const auto costs = times ? link_costs(*times) : tl::unexpected(times.error());
  if (!costs) return tl::unexpected(in_device(pinging.device->name, costs.error()));
  pinging.send.push_back(costs->ping_send);
  pinging.receive.push_back(costs->ping_receive);
  answering.send.push_back(costs->peer_send);
  answering.receive.push_back(costs->peer_receive);
  {
    const std::scoped_lock lock(mutex_);
    links_.push_back({pinging.device->name, answering.device->name, costs->latency_ms, costs->there_mbps});
    links_.push_back({answering.device->name, pinging.device->name, costs->latency_ms, costs->back_mbps});
  }
  step_done();
  return {};
}

MessageCost median_cost(const std::vector<MessageCost>& costs) {
  std::vector<double> message_us;
  std::vector<double> byte_ns;
  for (const MessageCost& cost : costs) {
    message_us.push_back(cost.message_us);
    byte_ns.push_back(cost.byte_ns);
  }
  return {median(std::move(message_us)), median(std::move(byte_ns))};
}

Expected<Profile> Measurement::finish() {
  Profile profile;
  profile.model = graph_.name();
  profile.fingerprint = fingerprint(graph_);
  for (Subject& subject : subjects_) {
    // Steps that are shorter than the clocks' grain can't be told from nothing.
    if (subject.median_s > 0.0) subject.profile.slowdown = std::max(1.0, subject.wall_s / subject.median_s);
    if (subject.border_bytes > 0.0) subject.profile.reorder_byte_ns = 1e6 * subject.reorders_ms / subject.border_bytes;
    subject.profile.send = median_cost(subject.send);
    subject.profile.receive = median_cost(subject.receive);
    profile.devices.push_back(std::move(subject.profile));
  }
  std::sort(links_.begin(), links_.end(),
            [](const LinkProfile& a, const LinkProfile& b) { return std::tie(a.from, a.to) < std::tie(b.from, b.to); });
  profile.links = std::move(links_);
  TRY(check_profile(profile, graph_));
  return profile;
}

}  // namespace

Expected<Profile> measure_profile(const Graph& graph, const std::vector<MeasuredDevice>& devices,
                                  const MeasureOptions& options) {
  if (devices.empty()) return fail(ErrorCode::kInvalid, "no devices to measure");
  return Measurement(graph, devices, options).run();
}

// The circle method: one device stays, the others go round it.
std::vector<std::vector<std::pair<std::size_t, std::size_t>>> pair_rounds(std::size_t devices,
                                                                          std::size_t most_rounds) {
  std::vector<std::vector<std::pair<std::size_t, std::size_t>>> rounds;
  if (devices < 2) return rounds;
  const std::size_t seats = devices + devices % 2;
  std::vector<std::size_t> order(seats);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t r = 0; r + 1 < seats && r < most_rounds; ++r) {
    auto& round = rounds.emplace_back();
    for (std::size_t i = 0; i < seats / 2; ++i) {
      const auto [a, b] = std::minmax(order[i], order[seats - 1 - i]);
      if (b < devices) round.emplace_back(a, b);
    }
    std::rotate(order.begin() + 1, order.end() - 1, order.end());
  }
  return rounds;
}

}  // namespace onnx_split
