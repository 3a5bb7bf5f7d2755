#include "partition/simulate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <queue>
#include <set>

#include "base/check.h"
#include "base/random.h"
#include "partition/routing.h"

namespace onnx_split {
namespace {

constexpr double kElementBytes = 4.0;  // what travels is float32, but for a few indices

struct Event {
  enum class Kind : std::uint8_t { kArrival, kDelivered, kComputed, kSent, kResult };
  double time = 0.0;
  std::uint64_t number = 0;  // among equal times the first that was made
  Kind kind = Kind::kArrival;
  std::uint64_t request = 0;
  std::size_t device = 0;
  std::size_t index = 0;  // the transfer, or the part

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
  Simulation(const Plan& plan, const SimulationOptions& options, const Routing& routing)
      : plan_(plan),
        options_(options),
        rates_(plan.prediction->rates),
        prediction_(*plan.prediction),
        ids_(part_ids(plan)) {
    for (std::size_t i = 0; i < ids_.size(); ++i) index_[ids_[i]] = i;
    outgoing_.resize(ids_.size());
    needs_.assign(ids_.size(), 0);
    for (const Transfer& transfer : routing.transfers) {
      const std::size_t t = transfers_.size();
      transfers_.push_back(
          {&transfer, static_cast<double>(transfer.what.region.shape().elements()) * kElementBytes, {}});
      (transfer.source ? outgoing_[index_.at(*transfer.source)] : inputs_).push_back(t);
      for (const PartId consumer : transfer.consumers) {
        transfers_.back().consumers.push_back(index_.at(consumer));
        ++needs_[index_.at(consumer)];
      }
      results_ += transfer.to_coordinator ? 1 : 0;
    }
    for (const LinkRates& link : prediction_.links) pairs_[{link.from, link.to}] = link;
    devices_.resize(plan.devices.size());
    slots_.resize(plan.window);
    for (Slot& slot : slots_) slot.missing.resize(ids_.size());
  }

  SimulationReport run() {
    arrivals_ = arrival_times();
    for (std::uint64_t r = 0; r < options_.requests && options_.scenario == Scenario::kServer; ++r) {
      push({arrivals_[r], 0, Event::Kind::kArrival, r, 0, 0});
    }
    submit(0.0);
    std::uint64_t events = 0;
    double now = 0.0;
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      now = event.time;
      ++events;
      handle(event);
    }
    CHECK(latencies_.size() == options_.requests);
    SimulationReport report;
    report.requests = options_.requests;
    report.events_per_request = static_cast<double>(events) / static_cast<double>(options_.requests);
    report.throughput_per_s = steady_rate();
    report.latency_s = latencies_;
    std::sort(report.latency_s.begin(), report.latency_s.end());
    for (const DeviceState& device : devices_) report.busy.push_back(now > 0.0 ? device.busy_s / now : 0.0);
    return report;
  }

 private:
  struct TransferInfo {
    const Transfer* transfer;
    double bytes;
    std::vector<std::size_t> consumers;  // parts
  };
  struct Slot {
    std::vector<std::size_t> missing;  // by part: tensors that haven't arrived
    std::size_t results = 0;           // that haven't
    bool open = false;
  };
  struct DeviceState {
    std::priority_queue<Job> ready;
    bool computing = false;
    double debt_s = 0.0;  // of processor time for messages that came while it computed
    double receiving_until = 0.0;
    double up_until = 0.0;
    double down_until = 0.0;
    double busy_s = 0.0;
  };

  std::vector<double> arrival_times() const {
    if (options_.scenario != Scenario::kServer) return std::vector<double>(options_.requests, 0.0);
    Random random(options_.seed);
    std::vector<double> times;
    double now = 0.0;
    for (std::size_t i = 0; i < options_.requests; ++i) {
      now -= std::log(1.0 - static_cast<double>(random.uniform(0.0F, 0.999999F))) / options_.rate_per_s;
      times.push_back(now);
    }
    return times;
  }

  void push(Event event) {
    event.number = ++numbers_;
    events_.push(event);
  }

  std::size_t device_of(std::size_t part, std::uint64_t request) const {
    return device_for(plan_, ids_[part], request);
  }

  // The steady state: without the first window, in which the pipeline fills, and without the last, in which it drains.
  double steady_rate() const {
    std::vector<double> done = done_;
    std::sort(done.begin(), done.end());
    const std::size_t window = std::min(plan_.window, (done.size() - 1) / 4);
    const std::size_t first = window, last = done.size() - 1 - (options_.scenario == Scenario::kOffline ? window : 0);
    if (last <= first || done[last] <= done[first]) {
      return done.back() > 0.0 ? static_cast<double>(done.size()) / done.back() : 0.0;
    }
    return static_cast<double>(last - first) / (done[last] - done[first]);
  }

  bool may_submit(double now) const {
    if (next_ >= options_.requests || next_ - oldest_open_ >= plan_.window) return false;
    if (options_.scenario == Scenario::kSingleStream) return next_ == oldest_open_;
    return arrivals_[next_] <= now;
  }

  void submit(double now) {
    while (may_submit(now)) {
      const std::uint64_t request = next_++;
      Slot& slot = slots_[request % slots_.size()];
      slot.open = true;
      slot.missing = needs_;
      slot.results = results_;
      if (options_.scenario != Scenario::kServer) arrivals_[request] = now;
      for (const std::size_t t : inputs_) {
        for (const std::size_t to : receiving_devices(plan_, *transfers_[t].transfer, request)) {
          carry(t, request, std::nullopt, to, now);
        }
      }
    }
  }

  // One message over the links: nothing stands for the coordinator.
  void carry(std::size_t t, std::uint64_t request, std::optional<std::size_t> from, std::optional<std::size_t> to,
             double now) {
    const double bytes = transfers_[t].bytes;
    double bytes_per_s = 0.0, latency_s = 0.0;
    if (from && to) {
      const auto pair = pairs_.find({*from, *to});
      bytes_per_s = pair != pairs_.end() ? pair->second.bytes_per_s
                                         : std::min(rates_[*from].up_bytes_per_s, rates_[*to].down_bytes_per_s);
      latency_s = pair != pairs_.end() ? pair->second.latency_s : rates_[*from].latency_s;
    } else {
      bytes_per_s = from ? rates_[*from].up_bytes_per_s : rates_[*to].down_bytes_per_s;
      latency_s = from ? rates_[*from].latency_s : rates_[*to].latency_s;
    }
    double begin = now;
    if (from) begin = std::max(begin, devices_[*from].up_until);
    if (to) begin = std::max(begin, devices_[*to].down_until);
    double* const coordinator = !from ? &coordinator_out_until_ : !to ? &coordinator_in_until_ : nullptr;
    if (coordinator != nullptr && prediction_.coordinator_bytes_per_s > 0.0) begin = std::max(begin, *coordinator);
    if (prediction_.medium_bytes_per_s > 0.0) {
      begin = std::max(begin, medium_until_);
      medium_until_ = begin + bytes / prediction_.medium_bytes_per_s;
    }
    const double end = bytes_per_s > 0.0 ? begin + bytes / bytes_per_s : begin;
    if (from) devices_[*from].up_until = end;
    if (to) devices_[*to].down_until = end;
    if (coordinator != nullptr && prediction_.coordinator_bytes_per_s > 0.0) {
      *coordinator = begin + bytes / prediction_.coordinator_bytes_per_s;
    }
    const double arrival = end + latency_s;
    if (!to) return push({arrival, 0, Event::Kind::kResult, request, 0, t});
    // Reception takes processor time; a part that is being computed is done the later.
    DeviceState& device = devices_[*to];
    const double cost_s = rates_[*to].receive_message_s + bytes * rates_[*to].receive_byte_s;
    device.receiving_until = std::max(device.receiving_until, arrival) + cost_s;
    push({device.receiving_until, 0, Event::Kind::kDelivered, request, *to, t});
  }

  void handle(const Event& event) {
    switch (event.kind) {
      case Event::Kind::kArrival: submit(event.time); break;
      case Event::Kind::kDelivered: {
        const double cost_s = rates_[event.device].receive_message_s +
                              transfers_[event.index].bytes * rates_[event.device].receive_byte_s;
        devices_[event.device].busy_s += cost_s;
        if (devices_[event.device].computing) devices_[event.device].debt_s += cost_s;
        deliver(event.index, event.request, event.device, event.time);
        break;
      }
      case Event::Kind::kComputed: finish_job(event); break;
      case Event::Kind::kSent: finish_sending(event); break;
      case Event::Kind::kResult: take_result(event); break;
    }
  }

  void deliver(std::size_t t, std::uint64_t request, std::size_t d, double now) {
    Slot& slot = slots_[request % slots_.size()];
    for (const std::size_t part : transfers_[t].consumers) {
      if (device_of(part, request) != d || --slot.missing[part] > 0) continue;
      devices_[d].ready.push({request, part});
    }
    start_next(d, now);
  }

  void start_next(std::size_t d, double now) {
    DeviceState& device = devices_[d];
    if (device.computing || device.ready.empty()) return;
    const Job job = device.ready.top();
    device.ready.pop();
    device.computing = true;
    const PartId id = ids_[job.part];
    const Stage& stage = plan_.stages[id.stage];
    const double compute_s = stage.parts[id.part].compute_s[stage.schedule[job.request % stage.schedule.size()]];
    device.busy_s += compute_s;
    push({now + compute_s, 0, Event::Kind::kComputed, job.request, d, job.part});
  }

  // What came meanwhile took its time from the job's.
  bool postpone(const Event& event) {
    const double debt_s = std::exchange(devices_[event.device].debt_s, 0.0);
    if (debt_s <= 0.0) return false;
    Event later = event;
    later.time += debt_s;
    push(later);
    return true;
  }

  void finish_job(const Event& event) {
    if (postpone(event)) return;
    double now = event.time;
    for (const std::size_t t : outgoing_[event.index]) {
      const TransferInfo& info = transfers_[t];
      const double cost_s = rates_[event.device].send_message_s + info.bytes * rates_[event.device].send_byte_s;
      const auto send = [&](std::optional<std::size_t> to) {
        now += cost_s;
        devices_[event.device].busy_s += cost_s;
        carry(t, event.request, event.device, to, now);
      };
      for (const std::size_t to : receiving_devices(plan_, *info.transfer, event.request)) {
        if (to != event.device) send(to);
      }
      if (info.transfer->to_coordinator) send(std::nullopt);
    }
    push({now, 0, Event::Kind::kSent, event.request, event.device, event.index});
  }

  // The processor is free again; what stays on the device is there.
  void finish_sending(const Event& event) {
    if (postpone(event)) return;
    devices_[event.device].computing = false;
    for (const std::size_t t : outgoing_[event.index]) {
      const std::vector<std::size_t> receivers = receiving_devices(plan_, *transfers_[t].transfer, event.request);
      if (std::find(receivers.begin(), receivers.end(), event.device) == receivers.end()) continue;
      deliver(t, event.request, event.device, event.time);
    }
    start_next(event.device, event.time);
  }

  void take_result(const Event& event) {
    Slot& slot = slots_[event.request % slots_.size()];
    if (--slot.results > 0) return;
    slot.open = false;
    latencies_.push_back(event.time - arrivals_[event.request]);
    done_.push_back(event.time);
    while (oldest_open_ < next_ && !slots_[oldest_open_ % slots_.size()].open) ++oldest_open_;
    submit(event.time);
  }

  const Plan& plan_;
  const SimulationOptions& options_;
  const std::vector<DeviceRates>& rates_;
  const Prediction& prediction_;
  std::vector<PartId> ids_;
  std::map<PartId, std::size_t> index_;
  std::vector<TransferInfo> transfers_;
  std::vector<std::size_t> inputs_;                 // transfers from the coordinator
  std::vector<std::vector<std::size_t>> outgoing_;  // transfers, by part
  std::vector<std::size_t> needs_;                  // by part: how many tensors it waits for
  std::size_t results_ = 0;
  std::map<std::pair<std::size_t, std::size_t>, LinkRates> pairs_;

  std::priority_queue<Event> events_;
  std::uint64_t numbers_ = 0;
  std::vector<DeviceState> devices_;
  std::vector<Slot> slots_;
  std::vector<double> arrivals_;
  std::vector<double> latencies_;
  std::vector<double> done_;
  double medium_until_ = 0.0;
  double coordinator_out_until_ = 0.0;
  double coordinator_in_until_ = 0.0;
  std::uint64_t next_ = 0;
  std::uint64_t oldest_open_ = 0;
};

Expected<void> check_prediction(const Plan& plan) {
  if (!plan.prediction)
    return fail(ErrorCode::kInvalid, "the plan has no prediction: make it with this version's plan");
  const std::size_t devices = plan.devices.size();
  if (plan.prediction->rates.size() != devices || plan.window == 0) {
    return fail(ErrorCode::kInvalid, "prediction.rates: expected one for each of {} devices", devices);
  }
  for (const PartId id : part_ids(plan)) {
    const Stage& stage = plan.stages[id.stage];
    const Part& part = stage.parts[id.part];
    if (part.compute_s.size() != part.devices.size()) {
      return fail(ErrorCode::kInvalid, "{}: compute_s: expected one for each of {} replicas", to_string(id),
                  part.devices.size());
    }
    if (stage.schedule.empty()) return fail(ErrorCode::kInvalid, "{}: an empty schedule", to_string(id));
    for (const std::size_t replica : stage.schedule) {
      if (replica >= part.devices.size() || part.devices[replica] >= devices) {
        return fail(ErrorCode::kInvalid, "{}: the schedule names replica {} of {}", to_string(id), replica,
                    part.devices.size());
      }
    }
  }
  for (const LinkRates& link : plan.prediction->links) {
    if (link.from >= devices || link.to >= devices) {
      return fail(ErrorCode::kInvalid, "prediction.links: from {} to {}: there are {} devices", link.from, link.to,
                  devices);
    }
  }
  return {};
}

}  // namespace

Expected<SimulationReport> simulate(const Plan& plan, const SimulationOptions& options) {
  TRY(check_prediction(plan));
  if (options.requests == 0) return fail(ErrorCode::kInvalid, "no requests to simulate");
  if (options.scenario == Scenario::kServer && !(options.rate_per_s > 0.0)) {
    return fail(ErrorCode::kInvalid, "scenario server needs a rate");
  }
  TRY_ASSIGN(const Routing routing, make_routing(plan, plan.inputs, plan.outputs));
  return Simulation(plan, options, routing).run();
}

}  // namespace onnx_split
