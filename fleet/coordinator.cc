#include "fleet/coordinator.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "fleet/control.h"
#include "fleet/machine.h"

namespace onnx_split {
namespace {

constexpr unsigned kMaxDoublings = 6;
// How often it is asked whether anything comes. Where others may answer for a device: how long nothing may, besides
// three times what a request took at most.
constexpr std::chrono::milliseconds kStallCheck{200};
constexpr std::chrono::milliseconds kPatience{1000};
// The scout's longest pause, however seldom lost devices are asked.
constexpr std::chrono::milliseconds kLookAround{250};
constexpr std::size_t kFewResults = 8;
// What a device is told to end when it comes back, at most.
constexpr std::size_t kEpochsToEnd = 4;
constexpr int kLowestPriority = 19;

// Of an epoch that was to take the place of one in which these worked. Where a connection broke, or couldn't be made,
// with one of them at one end, the device at the other end is to blame.
Failure with_newcomer_blamed(Failure failure, const std::set<std::string>& worked) {
  if (failure.lost || !failure.suspect || worked.empty()) return failure;
  const bool suspect_worked = worked.contains(*failure.suspect);
  const bool reporter_worked = !failure.reporter || worked.contains(*failure.reporter);
  if (suspect_worked == reporter_worked) return failure;
  failure.lost = suspect_worked ? failure.reporter : failure.suspect;
  failure.reporter.reset();
  failure.suspect.reset();
  return failure;
}

std::string list_of(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list.empty() ? "none" : list;
}

bool has_spares(const Plan& plan) {
  return std::any_of(plan.stages.begin(), plan.stages.end(), [](const Stage& s) { return s.spare != Spare::kNone; });
}

bool uses_only(const Plan& plan, const std::vector<std::string>& names) {
  const std::set<std::size_t> used = used_devices(plan);
  return std::all_of(used.begin(), used.end(), [&](std::size_t device) {
    return std::find(names.begin(), names.end(), plan.devices[device]) != names.end();
  });
}

}  // namespace

std::future<Result> ready(Result result) {
  std::promise<Result> promise;
  promise.set_value(std::move(result));
  return promise.get_future();
}

Coordinator::Coordinator(const Graph& graph, const Plan& plan, const std::vector<std::string>& control_urls,
                         CoordinatorOptions options)
    : graph_(graph), options_(std::move(options)), full_plan_(plan) {
  for (std::size_t i = 0; i < plan.devices.size(); ++i) add_member({plan.devices[i], control_urls[i]});
}

Expected<std::unique_ptr<Coordinator>> Coordinator::deploy(const Graph& graph, const Plan& plan,
                                                           const std::vector<std::string>& control_urls,
                                                           const CoordinatorOptions& options) {
  TRY(check_plan(plan, graph));
  if (control_urls.size() != plan.devices.size()) {
    return fail(ErrorCode::kInvalid, "the plan is for {} devices, {} are given", plan.devices.size(),
                control_urls.size());
  }
  std::unique_ptr<Coordinator> coordinator(new Coordinator(graph, plan, control_urls, options));
  auto epoch = coordinator->make_epoch(plan, options.watch);
  if (!epoch) return tl::unexpected(std::move(epoch.error().error));
  {
    const std::scoped_lock lock(coordinator->mutex_);
    coordinator->install(std::move(*epoch), 0);
    coordinator->accepting_ = true;
  }
  coordinator->supervisor_ = std::thread([c = coordinator.get()] { c->supervise(); });
  coordinator->scout_ = std::thread([c = coordinator.get()] { c->scout(); });
  coordinator->timer_ = std::thread([c = coordinator.get()] { c->watch_deadlines(); });
  return coordinator;
}

tl::expected<Coordinator::Epoch, Failure> Coordinator::make_epoch(const Plan& plan, const WatchOptions& watch,
                                                                  std::uint64_t replaces) {
  std::vector<std::string> urls;
  std::uint64_t generation = 0;
  const std::uint64_t number = new_epoch();
  {
    const std::scoped_lock lock(mutex_);
    for (const std::string& name : plan.devices) urls.push_back(find(name)->url);
    const auto runs = [&](std::uint64_t other) {
      return (current_.active && current_.active->epoch() == other) || (former_ && former_->active->epoch() == other);
    };
    for (const std::size_t device : used_devices(plan)) {
      std::vector<std::uint64_t>& epochs = find(plan.devices[device])->epochs;
      epochs.push_back(number);
      if (epochs.size() > kEpochsToEnd) epochs.erase(std::find_if_not(epochs.begin(), epochs.end(), runs));
    }
    generation = beginning_ = ++generations_;
    failed_at_beginning_.clear();
    ++counts_.epochs;
  }
  DeploymentEvents events;
  events.result = [this, generation](std::uint64_t request, std::vector<Tensor> outputs) {
    take_result(generation, request, std::move(outputs));
  };
  events.failed = [this, generation](const Failure& failure) { take_failure(generation, failure); };
  events.input_dropped = [this] {
    const std::scoped_lock lock(mutex_);
    ++counts_.inputs_dropped;
  };
  auto active = ActiveDeployment::begin(graph_, plan, urls, watch, std::move(events), number, replaces);
  if (active) return Epoch{std::move(*active), generation, 0};
  active.error().at_beginning = true;
  const std::scoped_lock lock(mutex_);
  beginning_ = 0;
  return tl::unexpected(std::move(active.error()));
}

// Makes it the current epoch, whose first request is `begin`. The lock is the caller's.
void Coordinator::install(Epoch epoch, std::uint64_t begin) {
  for (const std::size_t device : used_devices(epoch.active->plan())) {
    find(epoch.active->plan().devices[device])->is_new = false;
  }
  epoch.begin = begin;
  counts_.part_bytes += epoch.active->part_bytes();
  current_ = std::move(epoch);
  window_ = current_.active->window();
  epoch_began_ = Clock::now();
  fastest_way_ = fastest_period_ = {};
  last_results_.clear();
  degraded_.clear();
  has_missed_ = false;
  last_progress_ = Clock::now();
  beginning_ = 0;
  for (Failure& failure : failed_at_beginning_) {
    if (failure.goes_on) {
      degraded_.push_back(std::move(failure));
      has_missed_ = true;
    } else if (!broken_) {
      broken_ = std::move(failure);
    }
  }
  failed_at_beginning_.clear();
}

Coordinator::~Coordinator() {
  cancel({ErrorCode::kCancelled, "the deployment was ended"});
  if (supervisor_.joinable()) supervisor_.join();
  if (scout_.joinable()) scout_.join();
  if (timer_.joinable()) timer_.join();
  for (const Epoch* epoch : {former_ ? &*former_ : nullptr, &current_}) {
    if (epoch != nullptr && epoch->active) epoch->active->end();
  }
}

void Coordinator::cancel(Error error) {
  std::vector<std::promise<Result>> promises;
  std::stop_source stop = stop_;  // who has the last answer may end this object
  {
    const std::scoped_lock lock(mutex_);
    if (!end_) end_ = std::move(error);
    error = *end_;
    accepting_ = false;
    for (Request& open : requests_) {
      if (!open.answered) promises.push_back(std::move(open.promise));
    }
    requests_.clear();
    oldest_ = next_;
    in_flight_ = 0;
  }
  changed_.notify_all();
  for (std::promise<Result>& promise : promises) promise.set_value(tl::unexpected(error));
  stop.request_stop();  // last: it waits until connections that are being made are closed
}

std::size_t Coordinator::window() const {
  const std::scoped_lock lock(mutex_);
  return window_;
}

CoordinatorCounts Coordinator::counts() const {
  const std::scoped_lock lock(mutex_);
  return counts_;
}

Expected<std::vector<Json>> Coordinator::runner_status() {
  std::shared_ptr<ActiveDeployment> active;
  {
    const std::scoped_lock lock(mutex_);
    active = current_.active;
  }
  if (!active) return fail(ErrorCode::kUnavailable, "another plan is being deployed");
  return active->runner_status();
}

// ---- requests

Expected<void> Coordinator::check_inputs(const std::vector<Tensor>& inputs) const {
  const std::vector<ValueId>& wanted = graph_.inputs();
  if (inputs.size() != wanted.size()) {
    return fail(ErrorCode::kInvalid, "the model has {} inputs, {} are given", wanted.size(), inputs.size());
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Value& expected = graph_.value(wanted[i]);
    if (expected.type != inputs[i].type()) {
      return fail(ErrorCode::kInvalid, "input \"{}\": expected {}, found {}", expected.name, expected.type.to_string(),
                  inputs[i].type().to_string());
    }
  }
  return {};
}

std::future<Result> Coordinator::submit(const std::vector<Tensor>& inputs, Clock::time_point deadline) {
  auto submitted = submit_when(inputs, deadline, true);
  return submitted ? std::move(*submitted) : ready(tl::unexpected(std::move(submitted.error())));
}

Expected<std::future<Result>> Coordinator::try_submit(const std::vector<Tensor>& inputs, Clock::time_point deadline) {
  return submit_when(inputs, deadline, false);
}

// No answer has come sooner than this, with so many requests in flight. With none, one tries: it may have become
// faster.
Coordinator::Clock::duration Coordinator::least_wait() const {
  if (in_flight_ == 0) return {};
  return std::max(fastest_way_, fastest_period_ * static_cast<Clock::rep>(in_flight_));
}

Expected<std::future<Result>> Coordinator::submit_when(const std::vector<Tensor>& inputs, Clock::time_point deadline,
                                                       bool may_wait) {
  TRY(check_inputs(inputs));
  while (true) {
    if (may_wait) wait_for_room(deadline);  // without the lock that others need who won't wait
    const std::scoped_lock submitting(submit_mutex_);
    std::uint64_t number = 0;
    std::future<Result> future;
    std::shared_ptr<ActiveDeployment> active;
    {
      const std::scoped_lock lock(mutex_);
      if (may_wait && !has_room() && Clock::now() < deadline) continue;  // somebody else was faster
      TRY(check_room(deadline));
      future = add_request(inputs, deadline);
      number = next_ - 1 - current_.begin;
      active = current_.active;
    }
    if (deadline != kNoDeadline) changed_.notify_all();
    // If that fails, the epoch has failed, and the request is sent again in the next one.
    active->send(number, inputs, [this] { return gives_up(); });
    return future;
  }
}

// Or for the end, which is an answer, too.
void Coordinator::wait_for_room(Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  const auto is_over = [&] { return has_room(); };
  if (deadline == kNoDeadline) {
    changed_.wait(lock, is_over);
  } else {
    changed_.wait_until(lock, deadline, is_over);
  }
}

// Why a request with this deadline can't be taken now. The lock is the caller's.
Expected<void> Coordinator::check_room(Clock::time_point deadline) {
  if (end_) return tl::unexpected(*end_);
  const Clock::time_point now = Clock::now();
  if (deadline != kNoDeadline && now + least_wait() > deadline) {
    ++counts_.late;
    const auto ms = [](Clock::duration time) { return std::chrono::duration<double, std::milli>(time).count(); };
    return fail(ErrorCode::kTimeout, "the deadline can't be met: {:.1f} ms are left, {:.1f} ms needed at least",
                ms(deadline - now), ms(least_wait()));
  }
  if (!accepting_) return fail(ErrorCode::kExhausted, "another plan is being deployed");
  if (window_full()) {
    return fail(ErrorCode::kExhausted, "{} requests are in flight, as many as the window allows", window_);
  }
  return {};
}

// The lock is the caller's.
std::future<Result> Coordinator::add_request(const std::vector<Tensor>& inputs, Clock::time_point deadline) {
  const Clock::time_point now = Clock::now();
  if (oldest_ == next_) last_progress_ = now;
  ++next_;
  ++in_flight_;
  Request& added = requests_.emplace_back();
  added.inputs = inputs;
  added.deadline = deadline;
  added.sent = now;
  return added.promise.get_future();
}

void Coordinator::take_result(std::uint64_t generation, std::uint64_t number, std::vector<Tensor> outputs) {
  std::optional<std::promise<Result>> promise;
  {
    const std::scoped_lock lock(mutex_);
    const Epoch* epoch = generation == current_.generation ? &current_ : nullptr;
    if (former_ && generation == former_->generation) epoch = &*former_;
    if (epoch == nullptr) return;
    const std::uint64_t global = epoch->begin + number;
    if (global < oldest_ || global >= next_) return;
    Request& arrived = request(global);
    if (arrived.done) return;
    const Clock::time_point now = Clock::now();
    last_progress_ = now;
    waited_in_vain_ = {};
    has_answered_ = true;
    slowest_way_ = std::max(slowest_way_, now - arrived.sent);
    if (fastest_way_ == Clock::duration{} || now - arrived.sent < fastest_way_) fastest_way_ = now - arrived.sent;
    if (in_flight_ == 1 || !window_full()) last_results_.clear();  // results come as requests do
    last_results_.push_back(now);
    if (last_results_.size() > kFewResults) {
      const Clock::duration period = (now - last_results_.front()) / static_cast<Clock::rep>(kFewResults);
      if (fastest_period_ == Clock::duration{} || period < fastest_period_) fastest_period_ = period;
      last_results_.pop_front();
    }
    if (!arrived.answered) promise = std::move(arrived.promise);
    settle(global);
  }
  changed_.notify_all();
  if (promise) promise->set_value(std::move(outputs));
}

// Nothing more is expected of it.
void Coordinator::settle(std::uint64_t number) {
  request(number).answered = request(number).done = true;
  request(number).inputs.clear();
  --in_flight_;
  while (!requests_.empty() && requests_.front().done) {
    requests_.pop_front();
    ++oldest_;
  }
}

// Answers those whose time is over. Their place in the window stays theirs until the devices are done with them.
void Coordinator::watch_deadlines() {
  std::unique_lock lock(mutex_);
  while (!end_) {
    const Clock::time_point now = Clock::now();
    Clock::time_point next = kNoDeadline;
    std::vector<std::promise<Result>> late;
    for (Request& open : requests_) {
      if (open.answered) continue;
      if (open.deadline > now) {
        next = std::min(next, open.deadline);
        continue;
      }
      open.answered = true;
      open.inputs.clear();
      ++counts_.late;
      late.push_back(std::move(open.promise));
    }
    if (!late.empty()) {
      lock.unlock();
      for (std::promise<Result>& promise : late) {
        promise.set_value(fail(ErrorCode::kTimeout, "the deadline has passed before there was a result"));
      }
      lock.lock();
    } else if (next == kNoDeadline) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, next);
    }
  }
}

// ---- epochs

void Coordinator::take_failure(std::uint64_t generation, const Failure& failure) {
  {
    const std::scoped_lock lock(mutex_);
    const bool is_current = generation == current_.generation;
    const bool is_former = former_ && generation == former_->generation;
    if (generation == beginning_) failed_at_beginning_.push_back(failure);
    if (!is_current && !is_former) return;
    if (failure.goes_on) {
      if (is_current) degraded_.push_back(failure);
      has_missed_ = true;
      last_progress_ = Clock::now();
    } else if (!broken_) {
      broken_ = failure;
      accepting_ = false;
    }
  }
  changed_.notify_all();
}

void Coordinator::supervise() {
  while (true) {
    std::optional<Failure> failure;
    bool is_former_done = false;
    {
      std::unique_lock lock(mutex_);
      const auto former_done = [&] { return former_ && oldest_ >= current_.begin; };
      const auto wants_change = [&] { return !former_ && (members_returned_ || !degraded_.empty()); };
      const auto wakes = [&] { return end_ || broken_ || former_done() || wants_change(); };
      while (!changed_.wait_for(lock, kStallCheck, wakes)) check_stall();
      if (end_) return;
      failure = broken_;
      accepting_ = accepting_ && !failure;
      is_former_done = former_done();
    }
    if (failure) {
      begin_again(std::move(failure));
    } else if (is_former_done) {
      retire_former();
    } else {
      change_over();
    }
  }
}

// Spare parts answer in place of a lost device, but perhaps not to what they were too late for just then; and where
// several devices are late, it may be for different requests (Deployment::send_queue). If nothing comes any more,
// everything is sent again. In other plans that takes a connection that stands still although both its ends answer, and
// has time. The lock is the caller's.
void Coordinator::check_stall() {
  if (broken_ || oldest_ == next_) return;
  const bool may_be_dropped =
      slowest_way_ > Clock::duration{} && current_.active && has_spares(current_.active->plan());
  const auto patience = former_ || has_missed_ || may_be_dropped ? kPatience : options_.stall_timeout;
  const Clock::duration waited = Clock::now() - last_progress_;
  // Perhaps it is only slower than it was: the next epoch has longer.
  if (waited < patience + 3 * std::max(slowest_way_, waited_in_vain_)) return;
  waited_in_vain_ = waited;
  broken_ = Failure{{ErrorCode::kUnavailable, "nothing is answered any more: devices are lost or late"}, {}, {}, {}};
  accepting_ = false;
}

// Asked by who waits to send.
bool Coordinator::gives_up() {
  const std::scoped_lock lock(mutex_);
  check_stall();
  return end_ || broken_;
}

void Coordinator::retire_former() {
  std::optional<Epoch> former;
  {
    const std::scoped_lock lock(mutex_);
    former = std::exchange(former_, {});
  }
  if (former) former->active->end();
}

// What is in flight may as well be finished.
void Coordinator::drain() {
  std::unique_lock lock(mutex_);
  accepting_ = false;
  while (!changed_.wait_for(lock, kStallCheck, [&] { return end_ || broken_ || oldest_ == next_; })) check_stall();
}

WatchOptions Coordinator::later_watch() const {
  // Devices have been talked to already: what doesn't answer soon has gone.
  WatchOptions watch = options_.watch;
  watch.connect_timeout = std::min(watch.connect_timeout, watch.heartbeat_timeout);
  watch.progress = {};
  watch.stop = stop_.get_token();
  return watch;
}

// From an epoch that still works to another one, without a pause where the devices have memory for both.
void Coordinator::change_over() {
  const auto interrupted = [this] {
    const std::scoped_lock lock(mutex_);
    check_stall();  // of the one that still works
    return end_ || broken_;
  };
  WatchOptions watch = later_watch();
  watch.interrupted = interrupted;
  std::vector<Failure> failures;
  std::set<std::string> worked;
  {
    const std::scoped_lock lock(mutex_);
    blame_.forget_if_steady(Clock::now() - epoch_began_);
  }
  while (true) {
    std::uint64_t replaces = 0;
    {
      const std::scoped_lock lock(mutex_);
      if (end_ || broken_) return;
      for (Failure& failure : degraded_) failures.push_back(std::move(failure));
      degraded_.clear();
      members_returned_ = false;
      replaces = current_.active->epoch();
    }
    for (const Failure& failure : std::exchange(failures, {})) {
      if (const auto goes_on = blame(failure); goes_on) continue;
      log_warn("{}; going on as it is", failure.error.message);
      return;
    }
    if (!may_be_better()) return;
    const auto plan = next_plan(interrupted);
    if (interrupted()) return;
    if (!plan) {
      log_warn("{}; going on as it is", plan.error().message);
      return;
    }
    auto epoch = make_epoch(*plan, watch, replaces);
    const std::scoped_lock lock(mutex_);
    if (end_ || broken_) return;  // an epoch that nobody has heard of ends
    if (epoch) {
      former_ = std::move(current_);
      install(std::move(*epoch), next_);
      changed_.notify_all();
      return;
    }
    Failure& failure = epoch.error();
    worked = working();
    if (failure.is_refusal && worked.contains(*failure.lost)) {
      log_info("{}; one epoch after the other", failure.error.message);
      break;
    }
    failures.push_back(with_newcomer_blamed(std::move(failure), worked));
  }
  drain();
  std::optional<Failure> failure;
  {
    const std::scoped_lock lock(mutex_);
    failure = broken_;
  }
  begin_again(std::move(failure), worked);
}

// In the current epoch. The lock is the caller's.
std::set<std::string> Coordinator::working() const {
  std::set<std::string> names;
  for (const Member& member : members_) {
    if (current_.active->works_with(member.name)) names.insert(member.name);
  }
  return names;
}

// Another epoch than the one that works: that one misses a device, or has no share for one that is there.
bool Coordinator::may_be_better() const {
  const std::scoped_lock lock(mutex_);
  if (has_missed_) return true;
  const std::vector<std::string>& devices = current_.active->plan().devices;
  return std::any_of(members_.begin(), members_.end(), [&](const Member& member) {
    return !member.lost && std::find(devices.begin(), devices.end(), member.name) == devices.end();
  });
}

// `worked`: in the epoch before, which ended well.
void Coordinator::begin_again(std::optional<Failure> failure, const std::set<std::string>& worked) {
  const auto interrupted = [this] {
    const std::scoped_lock lock(mutex_);
    return end_.has_value();
  };
  WatchOptions watch = later_watch();
  watch.interrupted = interrupted;
  while (true) {
    std::vector<std::shared_ptr<ActiveDeployment>> old;
    {
      const std::scoped_lock lock(mutex_);
      if (end_) return;
      if (!failure) failure = broken_;
      broken_.reset();
      // What these still say doesn't count.
      if (former_) old.push_back(std::move(former_->active));
      if (current_.active) old.push_back(std::move(current_.active));
      former_.reset();
      current_ = {};
    }
    for (const std::shared_ptr<ActiveDeployment>& deployment : old) deployment->end();
    old.clear();
    if (failure) {
      auto goes_on = blame(*failure);
      if (!goes_on) return cancel(std::move(goes_on.error()));
      failure.reset();
    }
    auto plan = next_plan(interrupted);
    if (!plan) return cancel(std::move(plan.error()));
    auto epoch = make_epoch(*plan, watch);
    if (!epoch) {
      failure = with_newcomer_blamed(std::move(epoch.error()), worked);
      continue;
    }
    {
      const std::scoped_lock lock(mutex_);
      install(std::move(*epoch), oldest_);
    }
    if (resend()) return;
  }
}

// Everything unfinished, in order. False if the epoch broke meanwhile.
bool Coordinator::resend() {
  std::unique_lock lock(mutex_);
  for (std::uint64_t number = oldest_; number < next_; ++number) {
    const auto goes_on = [&] { return end_ || broken_ || number < oldest_ + window_; };
    while (!changed_.wait_for(lock, kStallCheck, goes_on)) check_stall();
    if (end_ || broken_) return end_.has_value();
    if (number < oldest_ || request(number).done) continue;
    if (request(number).answered) {
      settle(number);
      continue;
    }
    request(number).sent = Clock::now();
    const std::vector<Tensor> inputs = request(number).inputs;
    const std::uint64_t in_epoch = number - current_.begin;
    const std::shared_ptr<ActiveDeployment> active = current_.active;
    ++counts_.resent;
    lock.unlock();
    active->send(in_epoch, inputs, [this] { return gives_up(); });
    lock.lock();
  }
  if (broken_) return false;
  accepting_ = !end_.has_value();
  changed_.notify_all();
  return true;
}

// The lock is the caller's.
void Coordinator::add_member(FleetDevice device) {
  Member& member = members_.emplace_back();
  member.name = std::move(device.name);
  member.url = std::move(device.url);
}

Coordinator::Member* Coordinator::find(const std::optional<std::string>& name) {
  const auto found =
      std::find_if(members_.begin(), members_.end(), [&](const Member& member) { return member.name == name; });
  return found == members_.end() ? nullptr : &*found;
}

void Coordinator::lose(Member& member) {
  member.lost = true;
  ++member.losses;
  ++counts_.losses;
  member.ask_at = Clock::now() + pause_before_asking(member);
  members_changed_ = true;
}

Coordinator::Clock::duration Coordinator::pause_before_asking(const Member& member) const {
  return options_.return_period * (1U << std::min(member.losses - 1, kMaxDoublings));
}

// Of those that are due the one that has been due longest: a question to one that stays away takes long, and nobody may
// starve behind it. The lock is the caller's.
std::optional<Coordinator::Candidate> Coordinator::next_to_ask() {
  Member* next = nullptr;
  for (Member& member : members_) {
    if (!member.lost || Clock::now() < member.ask_at) continue;
    if (next == nullptr || member.ask_at < next->ask_at) next = &member;
  }
  if (next == nullptr) return std::nullopt;
  next->ask_at = Clock::now() + pause_before_asking(*next);
  Candidate candidate{next->name, next->url, next->epochs, false};
  // It may have failed to take part in the next epoch only.
  for (const Epoch* epoch : {&current_, former_ ? &*former_ : nullptr}) {
    if (epoch == nullptr || !epoch->active || !epoch->active->works_with(next->name)) continue;
    candidate.works = true;
    std::erase(candidate.to_end, epoch->active->epoch());
  }
  return candidate;
}

// Decides whom to leave out. An error if going on makes no sense.
Expected<void> Coordinator::blame(const Failure& failure) {
  const std::scoped_lock lock(mutex_);
  Blame::Record record;
  if (!failure.at_beginning) {
    record = {Clock::now() - epoch_began_, std::exchange(has_answered_, false), oldest_ == next_};
  }
  const Blame::Verdict verdict = blame_.judge(failure, record);
  Member* left_out = find(verdict.without);
  if (left_out != nullptr) lose(*left_out);
  if (!verdict.goes_on || (left_out != nullptr && !options_.replan)) return tl::unexpected(failure.error);
  if (left_out != nullptr) {
    log_warn("{}; going on without device \"{}\"", failure.error.message, left_out->name);
  } else {
    log_warn("{}; beginning again with everybody", failure.error.message);
  }
  return {};
}

Expected<Plan> Coordinator::next_plan(const std::function<bool()>& interrupted) {
  while (true) {
    auto plan = plan_for_rest(interrupted);
    if (plan || interrupted()) return plan;
    // Newcomers mustn't make things worse: perhaps they lack what a plan needs.
    const std::scoped_lock lock(mutex_);
    bool was_given_up = false;
    for (Member& member : members_) {
      if (member.lost || !member.is_new) continue;
      log_warn("{}; going on without the new device \"{}\"", plan.error().message, member.name);
      lose(member);
      was_given_up = true;
    }
    if (!was_given_up) return plan;
  }
}

Expected<Plan> Coordinator::plan_for_rest(const std::function<bool()>& interrupted) {
  std::vector<std::string> left;
  {
    const std::scoped_lock lock(mutex_);
    members_returned_ = false;
    for (const Member& member : members_) {
      if (!member.lost) left.push_back(member.name);
    }
    if (auto known = known_plan(left)) return std::move(*known);
    plan_is_wanted_ = true;
  }
  const std::scoped_lock planning(plan_mutex_);
  {
    const std::scoped_lock lock(mutex_);
    plan_is_wanted_ = false;
    if (auto known = known_plan(left)) return std::move(*known);
  }
  return make_plan(left, interrupted);
}

// The lock is the caller's.
std::optional<Plan> Coordinator::known_plan(const std::vector<std::string>& left) const {
  const bool knows_all = full_plan_.devices.size() == members_.size();
  if (knows_all && uses_only(full_plan_, left)) return full_plan_;
  if (const auto found = prepared_.find(left); found != prepared_.end()) return found->second;
  return std::nullopt;
}

// Remembers it, or that there is none. plan_mutex_ is the caller's.
Expected<Plan> Coordinator::make_plan(const std::vector<std::string>& left, const std::function<bool()>& interrupted) {
  Expected<Plan> plan = fail(ErrorCode::kUnavailable, "every device is lost");
  if (!left.empty()) {
    plan =
        options_.replan ? options_.replan(left, interrupted) : fail(ErrorCode::kUnavailable, "nothing plans for them");
  }
  if (plan) {
    auto checked = check_plan(*plan, graph_);
    if (!checked) plan = tl::unexpected(std::move(checked.error()));
  }
  if (!plan) {
    plan = fail_in(fmt::format("devices that are left: {}", list_of(left)), std::move(plan.error()));
    if (interrupted()) return plan;
  }
  const std::scoped_lock lock(mutex_);
  if (!plan) {
    no_plan_for_.insert(left);
  } else {
    if (left.size() == members_.size()) full_plan_ = *plan;
    prepared_.emplace(left, *plan);
  }
  return plan;
}

// The loss of one of those that are there, if no plan has been made for it. The lock is the caller's.
std::optional<Coordinator::Loss> Coordinator::next_to_prepare() {
  std::vector<std::string> names;
  for (const Member& member : members_) {
    if (!member.lost) names.push_back(member.name);
  }
  for (const std::string& lost : names) {
    std::vector<std::string> left = names;
    std::erase(left, lost);
    if (!left.empty() && !known_plan(left) && !no_plan_for_.contains(left)) return Loss{lost, std::move(left)};
  }
  members_changed_ = false;
  return std::nullopt;
}

// While everything runs, so that it needn't be waited for when a device is lost; it makes way for whoever needs a plan
// now. True: one more is made.
bool Coordinator::prepare_next_plan() {
  const std::unique_lock planning(plan_mutex_, std::try_to_lock);
  if (!planning) return false;
  std::optional<Loss> loss;
  {
    const std::scoped_lock lock(mutex_);
    const bool everything_runs = !end_ && accepting_ && beginning_ == 0 && !plan_is_wanted_;
    if (everything_runs && members_changed_) loss = next_to_prepare();
  }
  if (!loss) return false;
  const auto interrupted = [this] {
    const std::scoped_lock lock(mutex_);
    return end_.has_value() || plan_is_wanted_;
  };
  const auto plan = make_plan(loss->left, interrupted);
  if (!plan && interrupted()) return false;
  if (!plan) log_info("no plan if device \"{}\" is lost: {}", loss->lost, plan.error().message);
  return true;
}

// Makes plans for losses, one at a time, and asks those that are lost.
void Coordinator::scout() {
  if (!options_.replan) return;
  lower_priority(kLowestPriority);  // nothing waits for these plans
  for (bool goes_on = true;; goes_on = prepare_next_plan()) {
    {
      std::unique_lock lock(mutex_);
      const auto pause =
          goes_on ? Clock::duration{} : std::min<Clock::duration>(options_.return_period / 4, kLookAround);
      changed_.wait_for(lock, pause, [&] { return end_.has_value(); });
      if (end_) return;
    }
    look_for_new_devices();
    ask_lost();
  }
}

void Coordinator::ask_lost() {
  std::optional<Candidate> candidate;
  {
    const std::scoped_lock lock(mutex_);
    candidate = next_to_ask();
  }
  if (!candidate) return;
  if (const auto back = ask(*candidate); !back) return log_debug("{}", back.error().message);
  log_warn("device \"{}\" is back", candidate->name);
  {
    const std::scoped_lock lock(mutex_);
    find(candidate->name)->lost = false;
    ++counts_.returns;
    members_returned_ = members_changed_ = true;
  }
  changed_.notify_all();
}

void Coordinator::look_for_new_devices() {
  if (!options_.devices) return;
  bool is_any_new = false;
  for (FleetDevice& device : options_.devices()) {
    const std::scoped_lock lock(mutex_);
    if (find(device.name) != nullptr) continue;
    log_warn("device \"{}\" is new", device.name);
    add_member(std::move(device));
    members_.back().is_new = true;
    ++counts_.joined;
    members_returned_ = members_changed_ = is_any_new = true;
  }
  if (is_any_new) changed_.notify_all();
}

// Whether it can be deployed to again. What it still has of us it is told to give up.
Expected<void> Coordinator::ask(const Candidate& candidate) const {
  const std::chrono::milliseconds timeout = options_.watch.heartbeat_timeout;
  const std::stop_token end = stop_.get_token();
  TRY_ASSIGN(ControlClient client,
             ControlClient::connect(candidate.name, candidate.url, timeout, options_.watch.identity, {}, end));
  const std::stop_callback closes(end, [&] { client.close(); });
  TRY(client.call("hello", {{"protocol", kProtocolVersion}}, {}, timeout));
  for (const std::uint64_t epoch : candidate.to_end) {
    auto ended = client.call("end", {{"epoch", epoch}}, {}, timeout);
    if (!ended) log_debug("{}", ended.error().message);
  }
  TRY_ASSIGN(const Json status, client.call("status", Json::object(), {}, timeout));
  TRY_ASSIGN(const std::string state, JsonReader(status).string("state"));
  if (state == "idle" || candidate.works) return {};
  return fail(ErrorCode::kUnavailable, "device \"{}\" is {} for somebody else", candidate.name, in_one_line(state));
}

}  // namespace onnx_split
