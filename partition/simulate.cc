#include "partition/simulate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <queue>

#include "base/check.h"
#include "base/hash.h"
#include "base/random.h"
#include "partition/routing.h"

namespace onnx_split {
namespace {

constexpr double kElementBytes = 4.0;  // what travels is float32, but for a few indices
constexpr double kLongest_s = 1e9;
constexpr std::size_t kMostWaiting = 1 << 26;  // parts of requests in flight
constexpr std::size_t kTheCoordinator = std::numeric_limits<std::size_t>::max();

struct Event {
  enum class Kind : std::uint8_t { kArrival, kHop, kReached, kDelivered, kStep };
  double time = 0.0;
  std::uint64_t number = 0;  // among equal times the first that was made
  std::size_t index = 0;     // kArrival: none; kStep: the device; else the message
  Kind kind = Kind::kArrival;

  bool operator<(const Event& other) const {  // std::priority_queue has the largest in front
    return time != other.time ? time > other.time : number > other.number;
  }
};

// A part's work for a request; the oldest request first, within it the earliest part.
struct Job {
  std::uint64_t request = 0;
  std::size_t part = 0;
  bool operator<(const Job& other) const {
    return request != other.request ? request > other.request : part > other.part;
  }
};

class Simulation {
 public:
  Simulation(const Plan& plan, const SimulationOptions& options, Trace* trace)
      : plan_(plan),
        options_(options),
        prediction_(*plan.prediction),
        rates_(prediction_.rates),
        trace_(trace),
        jitter_(options.seed + 1) {}

  // Once.
  Expected<SimulationReport> run() {
    TRY(prepare());
    submit(0.0);
    std::uint64_t events = 0;
    double now = 0.0;
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      if (!(event.time <= kLongest_s))
        return fail(ErrorCode::kInvalid, "{} requests take too long: {:g} s", options_.requests, event.time);
      now = event.time;
      ++events;
      handle(event);
    }
    CHECK(done_s_.size() == options_.requests);
    SimulationReport report;
    report.requests = options_.requests;
    report.events_per_request = static_cast<double>(events) / static_cast<double>(options_.requests);
    report.throughput_per_s = throughput();
    report.latency_s = std::move(latency_s_);
    std::sort(report.latency_s.begin(), report.latency_s.end());
    for (const DeviceState& device : devices_) report.busy.push_back(now > 0.0 ? device.busy_s / now : 0.0);
    return report;
  }

 private:
  struct PartInfo {
    PartId id;
    const Stage* stage = nullptr;
    const Part* part = nullptr;
    std::size_t needs = 0;              // tensors
    std::vector<std::size_t> outgoing;  // transfers
  };
  struct TransferInfo {
    double bytes = 0.0;
    bool to_coordinator = false;
    std::vector<std::size_t> consumers;  // parts
  };
  struct Slot {
    std::vector<std::uint32_t> missing;  // by part: tensors that haven't arrived
    std::size_t results = 0;             // that haven't
    bool open = false;
  };
  struct Send {
    std::size_t transfer = 0;
    std::size_t to = kTheCoordinator;
  };
  // What a processor works on ends at `until`; whatever it receives meanwhile puts that off.
  struct DeviceState {
    std::priority_queue<Job> ready;
    bool works = false;
    Job job;                  // if it works
    std::vector<Send> sends;  // what follows the job's computing
    std::size_t step = 0;     // 0: computes; i: sends sends[i - 1]
    double begun = 0.0;       // the step
    double until = 0.0;
    double receives_until = 0.0;
    double idle_from = 0.0;  // if it doesn't work
    // Of a quota: where its periods begin, the last one in which the processor worked, and for how long.
    double phase_s = 0.0;
    double period = -1.0;
    double used_s = 0.0;
    double up_until = 0.0;
    double down_until = 0.0;
    double busy_s = 0.0;
  };
  struct Message {
    std::size_t transfer = 0;
    std::uint64_t request = 0;
    std::size_t from = kTheCoordinator;
    std::size_t to = kTheCoordinator;
    double bytes_per_s = 0.0;  // of the devices' links
    double latency_s = 0.0;
    std::size_t hop = 0;
    double begun = 0.0;
    double end = 0.0;
  };

  Expected<void> prepare() {
    TRY_ASSIGN(const Routing routing, make_routing(plan_, plan_.inputs, plan_.outputs));
    std::map<PartId, std::size_t> index;
    for (const PartId id : part_ids(plan_)) {
      index[id] = parts_.size();
      parts_.push_back({id, &plan_.stages[id.stage], &plan_.stages[id.stage].parts[id.part], 0, {}});
    }
    for (const Transfer& transfer : routing.transfers) {
      const std::size_t t = transfers_.size();
      TransferInfo& info = transfers_.emplace_back();
      info.bytes = static_cast<double>(transfer.what.region.shape().elements()) * kElementBytes;
      info.to_coordinator = transfer.to_coordinator;
      (transfer.source ? parts_[index.at(*transfer.source)].outgoing : inputs_).push_back(t);
      for (const PartId consumer : transfer.consumers) {
        info.consumers.push_back(index.at(consumer));
        ++parts_[info.consumers.back()].needs;
      }
      results_ += transfer.to_coordinator ? 1 : 0;
    }
    for (const PartInfo& part : parts_) {
      if (part.outgoing.empty() || part.needs > 0) continue;
      return fail(ErrorCode::kInvalid, "{}: no inputs: nothing would tell it of a request", to_string(part.id));
    }
    const std::size_t in_flight = std::min(plan_.window, options_.requests);
    if (in_flight > kMostWaiting / parts_.size()) {
      return fail(ErrorCode::kUnsupported, "{} requests in flight in {} parts are too many to simulate", in_flight,
                  parts_.size());
    }
    slots_.resize(in_flight);
    devices_.resize(plan_.devices.size());
    for (std::size_t d = 0; d < devices_.size(); ++d) {  // whatever the order in which they are listed
      Random phase(hash64(plan_.devices[d], options_.seed));
      devices_[d].phase_s = static_cast<double>(phase.uniform()) * rates_[d].period_s;
    }
    for (const LinkRates& link : prediction_.links) pairs_[{link.from, link.to}] = link;
    arrival_s_.assign(options_.requests, 0.0);
    if (options_.scenario == Scenario::kServer) draw_arrivals();
    return {};
  }

  void draw_arrivals() {
    Random random(options_.seed);
    double now = 0.0;
    for (double& arrival : arrival_s_) {
      now -= std::log(1.0 - static_cast<double>(random.uniform())) / options_.rate_per_s;
      arrival = now;
      push(now, Event::Kind::kArrival, 0);
    }
  }

  void push(double time, Event::Kind kind, std::size_t index) { events_.push({time, ++numbers_, index, kind}); }

  std::size_t replica_of(const PartInfo& part, std::uint64_t request) const {
    return part.stage->schedule[request % part.stage->schedule.size()];
  }
  std::size_t device_of(std::size_t part, std::uint64_t request) const {
    return parts_[part].part->devices[replica_of(parts_[part], request)];
  }

  // The devices that need a transfer of a request, each once. Valid until the next call.
  const std::vector<std::size_t>& receivers(const TransferInfo& transfer, std::uint64_t request) {
    receivers_.clear();
    for (const std::size_t part : transfer.consumers) receivers_.push_back(device_of(part, request));
    std::sort(receivers_.begin(), receivers_.end());
    receivers_.erase(std::unique(receivers_.begin(), receivers_.end()), receivers_.end());
    return receivers_;
  }

  // Without the first window, in which the pipeline fills, and offline without the last, in which it drains.
  double throughput() const {
    std::vector<double> done = done_s_;
    std::sort(done.begin(), done.end());
    const std::size_t first = std::min(plan_.window, (done.size() - 1) / 4);
    const std::size_t last = done.size() - (options_.scenario == Scenario::kOffline ? first : 0);
    const double rate = steady_rate(std::span(done).subspan(first, last - first), schedule_round(plan_, done.size()));
    if (rate > 0.0) return rate;
    return done.back() > 0.0 ? static_cast<double>(done.size()) / done.back() : 0.0;
  }

  bool may_submit(double now) const {
    if (next_ >= options_.requests || next_ - oldest_open_ >= plan_.window) return false;
    if (options_.scenario == Scenario::kSingleStream) return next_ == oldest_open_;
    return arrival_s_[next_] <= now;
  }

  void submit(double now) {
    while (may_submit(now)) {
      const std::uint64_t request = next_++;
      Slot& slot = slots_[request % slots_.size()];
      slot.open = true;
      slot.results = results_;
      slot.missing.clear();
      for (const PartInfo& part : parts_) slot.missing.push_back(static_cast<std::uint32_t>(part.needs));
      if (options_.scenario != Scenario::kServer) arrival_s_[request] = now;
      for (const std::size_t t : inputs_) {
        for (const std::size_t to : receivers(transfers_[t], request)) carry(t, request, kTheCoordinator, to, now);
      }
    }
  }

  // Hands a message to the first of its links.
  void carry(std::size_t transfer, std::uint64_t request, std::size_t from, std::size_t to, double now) {
    if (free_messages_.empty()) {
      free_messages_.push_back(messages_.size());
      messages_.emplace_back();
    }
    const std::size_t m = free_messages_.back();
    free_messages_.pop_back();
    Message& message = messages_[m];
    message = {transfer, request, from, to, 0.0, 0.0, 0, 0.0, now};
    const double up = from != kTheCoordinator ? rates_[from].up_bytes_per_s : 0.0;
    const double down = to != kTheCoordinator ? rates_[to].down_bytes_per_s : 0.0;
    message.bytes_per_s = up > 0.0 && down > 0.0 ? std::min(up, down) : std::max(up, down);
    message.latency_s = rates_[from != kTheCoordinator ? from : to].latency_s;
    if (!pairs_.empty()) {
      if (const auto pair = pairs_.find({from, to}); pair != pairs_.end()) {
        message.bytes_per_s = pair->second.bytes_per_s;
        message.latency_s = pair->second.latency_s;
      }
    }
    hop(m, now);
  }

  // The sender's link, the medium, the receiver's link: a message is on all of them at once, unless it must wait for
  // one; each takes messages in the order in which they come to it.
  void hop(std::size_t m, double now) {
    constexpr std::size_t kHops = 3;
    Message& message = messages_[m];
    const double bytes = transfers_[message.transfer].bytes;
    while (message.hop < kHops) {
      double* until = nullptr;
      double bytes_per_s = message.bytes_per_s;
      if (message.hop == 1) {
        until = &medium_until_;
        bytes_per_s = prediction_.medium_bytes_per_s;
      } else if (const std::size_t end = message.hop == 0 ? message.from : message.to; end != kTheCoordinator) {
        until = message.hop == 0 ? &devices_[end].up_until : &devices_[end].down_until;
      } else {
        until = message.hop == 0 ? &coordinator_out_until_ : &coordinator_in_until_;
        bytes_per_s = prediction_.coordinator_bytes_per_s;
      }
      if (message.hop++ == 0) message.begun = std::max(now, *until);
      if (bytes_per_s <= 0.0) continue;  // no limit
      const double begin = std::max(now, *until);
      *until = begin + bytes / bytes_per_s;
      message.end = std::max(message.end, *until);
      if (begin > now) return push(begin, Event::Kind::kHop, m);
    }
    push(std::max(now, message.end) + message.latency_s, Event::Kind::kReached, m);
  }

  void handle(const Event& event) {
    switch (event.kind) {
      case Event::Kind::kArrival: submit(event.time); break;
      case Event::Kind::kHop: hop(event.index, event.time); break;
      case Event::Kind::kReached: reach(event.index, event.time); break;
      case Event::Kind::kDelivered: {
        const Message message = messages_[event.index];
        free_messages_.push_back(event.index);
        deliver(message.transfer, message.request, message.to);
        start_next(message.to, event.time);
        break;
      }
      case Event::Kind::kStep: step(event.index, event.time); break;
    }
  }

  // Receiving comes before whatever else the processor does. One that has nothing else to do receives a message's bytes
  // while they come.
  void reach(std::size_t m, double now) {
    const Message message = messages_[m];
    if (trace_ != nullptr) {
      const auto end = [](std::size_t d) { return d == kTheCoordinator ? std::nullopt : std::optional(d); };
      trace_->messages.push_back({end(message.from), end(message.to), message.begun, now});
    }
    if (message.to == kTheCoordinator) {
      free_messages_.push_back(m);
      return take_result(message.request, now);
    }
    DeviceState& device = devices_[message.to];
    const TransferInfo& transfer = transfers_[message.transfer];
    const DeviceRates& rates = rates_[message.to];
    const double bytes_s = transfer.bytes * rates.receive_byte_s;
    const double cost_s = rates.receive_message_s + bytes_s;
    double begin = std::max(device.receives_until, now);
    if (device.works) {  // it interrupts that
      device.receives_until = begin + cost_s;
      device.until = spend(message.to, device.until, cost_s);
    } else {
      const double comes_s = message.bytes_per_s > 0.0 ? transfer.bytes / message.bytes_per_s : 0.0;
      begin = std::max({device.receives_until, device.idle_from, now - comes_s});
      const double received = bytes_s > 0.0 ? std::max(now, spend(message.to, begin, bytes_s)) : std::max(begin, now);
      device.receives_until = spend(message.to, received, rates.receive_message_s);
    }
    device.busy_s += cost_s;
    if (trace_ != nullptr && cost_s > 0.0) {
      const auto first = std::find_if(transfer.consumers.begin(), transfer.consumers.end(),
                                      [&](std::size_t part) { return device_of(part, message.request) == message.to; });
      trace_->spans.push_back({TraceSpan::Kind::kReceive, message.to, parts_[*first].id, begin, device.receives_until});
    }
    push(device.receives_until, Event::Kind::kDelivered, m);
  }

  // What the device's parts need of it.
  void deliver(std::size_t transfer, std::uint64_t request, std::size_t d) {
    Slot& slot = slots_[request % slots_.size()];
    for (const std::size_t part : transfers_[transfer].consumers) {
      if (device_of(part, request) == d && --slot.missing[part] == 0) devices_[d].ready.push({request, part});
    }
  }

  void start_next(std::size_t d, double now) {
    DeviceState& device = devices_[d];
    if (device.works || device.ready.empty()) return;
    device.works = true;
    device.job = device.ready.top();
    device.ready.pop();
    device.step = 0;
    device.sends.clear();
    const PartInfo& part = parts_[device.job.part];
    double seconds = part.part->compute_s[replica_of(part, device.job.request)];
    if (options_.jitter > 0.0) {
      seconds *= 1.0 + options_.jitter * (2.0 * static_cast<double>(jitter_.uniform()) - 1.0);
    }
    work(d, now, seconds);
  }

  // When work that takes `seconds` by the clock on average is done. With a quota the processor works faster than that,
  // until it has worked long enough for the period.
  double spend(std::size_t d, double now, double seconds) {
    const DeviceRates& rates = rates_[d];
    if (!(rates.period_s > 0.0) || !(rates.quota_s > 0.0) || rates.quota_s >= rates.period_s) return now + seconds;
    DeviceState& device = devices_[d];
    double left_s = seconds * rates.quota_s / rates.period_s;  // of the processor
    const double period = std::floor((now - device.phase_s) / rates.period_s);
    if (period > device.period) {
      device.period = period;
      device.used_s = 0.0;
    }
    const double end_s = device.phase_s + (device.period + 1.0) * rates.period_s;
    const double rest_s = std::clamp(end_s - now, 0.0, rates.quota_s - device.used_s);
    if (left_s <= rest_s) {
      device.used_s += left_s;
      return now + left_s;
    }
    left_s -= rest_s;
    // A last bit is left for the last period, so that the work ends in it.
    const double whole = std::ceil(left_s / rates.quota_s) - 1.0;
    device.period += 1.0 + whole;
    device.used_s = left_s - whole * rates.quota_s;
    return device.phase_s + device.period * rates.period_s + device.used_s;
  }

  void work(std::size_t d, double now, double seconds) {
    DeviceState& device = devices_[d];
    device.begun = std::max(now, device.receives_until);
    device.until = spend(d, device.begun, seconds);
    device.busy_s += seconds;
    push(device.until, Event::Kind::kStep, d);
  }

  // A step of the device's job may be done: first the computing, then one message after the other.
  void step(std::size_t d, double now) {
    DeviceState& device = devices_[d];
    if (device.until > now) return push(device.until, Event::Kind::kStep, d);
    const PartInfo& part = parts_[device.job.part];
    if (trace_ != nullptr && now > device.begun) {
      const auto kind = device.step == 0 ? TraceSpan::Kind::kCompute : TraceSpan::Kind::kSend;
      trace_->spans.push_back({kind, d, part.id, device.begun, now});
    }
    if (device.step == 0) {
      for (const std::size_t t : part.outgoing) {
        for (const std::size_t to : receivers(transfers_[t], device.job.request)) {
          if (to != d) device.sends.push_back({t, to});
        }
        if (transfers_[t].to_coordinator) device.sends.push_back({t, kTheCoordinator});
      }
    } else {
      const Send& sent = device.sends[device.step - 1];
      carry(sent.transfer, device.job.request, d, sent.to, now);
    }
    if (device.step < device.sends.size()) {
      const double bytes = transfers_[device.sends[device.step++].transfer].bytes;
      return work(d, now, rates_[d].send_message_s + bytes * rates_[d].send_byte_s);
    }
    // What stays on the device is there.
    device.works = false;
    device.idle_from = now;
    for (const std::size_t t : part.outgoing) deliver(t, device.job.request, d);
    start_next(d, now);
  }

  void take_result(std::uint64_t request, double now) {
    Slot& slot = slots_[request % slots_.size()];
    if (--slot.results > 0) return;
    slot.open = false;
    latency_s_.push_back(now - arrival_s_[request]);
    done_s_.push_back(now);
    while (oldest_open_ < next_ && !slots_[oldest_open_ % slots_.size()].open) ++oldest_open_;
    submit(now);
  }

  const Plan& plan_;
  const SimulationOptions& options_;
  const Prediction& prediction_;
  const std::vector<DeviceRates>& rates_;
  Trace* trace_;  // may be null
  Random jitter_;
  std::vector<PartInfo> parts_;
  std::vector<TransferInfo> transfers_;
  std::vector<std::size_t> inputs_;  // transfers from the coordinator
  std::size_t results_ = 0;
  std::map<std::pair<std::size_t, std::size_t>, LinkRates> pairs_;
  std::vector<std::size_t> receivers_;

  std::priority_queue<Event> events_;
  std::uint64_t numbers_ = 0;
  std::vector<DeviceState> devices_;
  std::vector<Slot> slots_;
  std::vector<Message> messages_;
  std::vector<std::size_t> free_messages_;
  std::vector<double> arrival_s_;
  std::vector<double> latency_s_;
  std::vector<double> done_s_;
  double medium_until_ = 0.0;
  double coordinator_out_until_ = 0.0;
  double coordinator_in_until_ = 0.0;
  std::uint64_t next_ = 0;
  std::uint64_t oldest_open_ = 0;
};

}  // namespace

Expected<SimulationReport> simulate(const Plan& plan, const SimulationOptions& options) {
  TRY(check_prediction(plan));
  if (options.requests == 0 || options.requests > kMostSimulatedRequests) {
    return fail(ErrorCode::kInvalid, "expected 1 to {} requests, found {}", kMostSimulatedRequests, options.requests);
  }
  if (!(options.jitter >= 0.0 && options.jitter < 1.0)) {
    return fail(ErrorCode::kInvalid, "expected a jitter from 0 to below 1, found {}", options.jitter);
  }
  if (options.scenario == Scenario::kServer && !(options.rate_per_s > 0.0)) {
    return fail(ErrorCode::kInvalid, "scenario server needs a rate above 0, found {}", options.rate_per_s);
  }
  return Simulation(plan, options, nullptr).run();
}

Expected<Trace> trace_request(const Plan& plan) {
  TRY(check_prediction(plan));
  Trace trace;
  SimulationOptions options;
  options.scenario = Scenario::kSingleStream;
  options.requests = 1;
  TRY_ASSIGN(const SimulationReport report, Simulation(plan, options, &trace).run());
  trace.latency_s = report.latency_s.front();
  return trace;
}

}  // namespace onnx_split
