#include "cli/plan_figures.h"

#include <algorithm>
#include <map>

#include "partition/routing.h"
#include "partition/simulate.h"

namespace onnx_split {
namespace {

constexpr double kElementBytes = 4.0;  // what travels is float32, but for a few indices
// Replicas may be unlike each other: so many requests are looked at.
constexpr std::uint64_t kMostRequests = 32;

class Messages {
 public:
  explicit Messages(const Plan& plan) : plan_(plan), prediction_(*plan.prediction) {
    for (const LinkRates& link : prediction_.links) pairs_[{link.from, link.to}] = link.bytes_per_s;
  }

  // Adds what the messages of a request take to the figures of each part.
  void add(const Transfer& transfer, std::uint64_t request, std::map<PartId, StageFigures>& parts) const {
    const double bytes = static_cast<double>(transfer.what.region.shape().elements()) * kElementBytes;
    std::optional<std::size_t> from;
    if (transfer.source) from = device_for(plan_, *transfer.source, request);
    for (const std::size_t to : receiving_devices(plan_, transfer, request)) {
      if (from == to) continue;
      const double wire_s = wire(from, to, bytes);
      const auto first = std::find_if(transfer.consumers.begin(), transfer.consumers.end(),
                                      [&](PartId part) { return device_for(plan_, part, request) == to; });
      const DeviceRates& rates = prediction_.rates[to];
      parts[*first].receive_s += wire_s + rates.receive_message_s + bytes * rates.receive_byte_s;
      if (from) add_send(parts[*transfer.source], *from, bytes, wire_s);
    }
    if (from && transfer.to_coordinator) add_send(parts[*transfer.source], *from, bytes, wire(from, {}, bytes));
  }

 private:
  void add_send(StageFigures& figures, std::size_t from, double bytes, double wire_s) const {
    const DeviceRates& rates = prediction_.rates[from];
    figures.send_s += wire_s + rates.send_message_s + bytes * rates.send_byte_s;
  }

  double wire(std::optional<std::size_t> from, std::optional<std::size_t> to, double bytes) const {
    double bytes_per_s = 0.0;
    const auto pair = from && to ? pairs_.find({*from, *to}) : pairs_.end();
    if (pair != pairs_.end()) {
      bytes_per_s = pair->second;
    } else {
      const double up = from ? prediction_.rates[*from].up_bytes_per_s : 0.0;
      const double down = to ? prediction_.rates[*to].down_bytes_per_s : 0.0;
      bytes_per_s = up > 0.0 && down > 0.0 ? std::min(up, down) : std::max(up, down);
    }
    return bytes_per_s > 0.0 ? bytes / bytes_per_s : 0.0;
  }

  const Plan& plan_;
  const Prediction& prediction_;
  std::map<std::pair<std::size_t, std::size_t>, double> pairs_;
};

std::int64_t held_bytes(const Plan& plan, PartId id, std::size_t device) {
  const Part& part = plan.stages[id.stage].parts[id.part];
  std::int64_t input_bytes = 0;
  for (const ValueRegion& input : part.inputs) {
    input_bytes += input.region.shape().elements() * static_cast<std::int64_t>(kElementBytes);
  }
  const auto waiting = static_cast<std::int64_t>(most_served(plan, id, device, plan.window));
  return part.weight_bytes + part.activation_bytes + waiting * input_bytes;
}

// Figures from a damaged file may be beyond all numbers.
double share_of(double share) {
  constexpr double kMost = 1e6;
  return share < kMost ? share : kMost;
}

double busiest_s(const DeviceLoad& load) { return std::max({load.busy_s(), load.up_s, load.down_s}); }

}  // namespace

double utilisation(const Plan& plan, std::size_t device) {
  return share_of(plan.prediction->throughput_per_s * plan.prediction->loads[device].busy_s());
}

double link_utilisation(const Plan& plan, std::size_t device) {
  const DeviceLoad& load = plan.prediction->loads[device];
  return share_of(plan.prediction->throughput_per_s * std::max(load.up_s, load.down_s));
}

Expected<std::vector<StageFigures>> stage_figures(const Plan& plan) {
  TRY(check_prediction(plan));
  TRY_ASSIGN(const Routing routing, make_routing(plan, plan.inputs, plan.outputs));
  std::vector<StageFigures> figures(plan.stages.size());
  const Messages messages(plan);
  std::uint64_t requests = 1;
  for (const Stage& stage : plan.stages) requests = std::max<std::uint64_t>(requests, stage.schedule.size());
  for (std::uint64_t r = 0; r < std::min(requests, kMostRequests); ++r) {
    std::map<PartId, StageFigures> parts;
    for (const Transfer& transfer : routing.transfers) messages.add(transfer, r, parts);
    for (const auto& [id, part] : parts) {
      StageFigures& stage = figures[id.stage];
      stage.receive_s = std::max(stage.receive_s, part.receive_s);
      stage.send_s = std::max(stage.send_s, part.send_s);
    }
  }
  for (const PartId id : part_ids(plan)) {
    const Part& part = plan.stages[id.stage].parts[id.part];
    StageFigures& stage = figures[id.stage];
    for (std::size_t replica = 0; replica < part.devices.size(); ++replica) {
      stage.compute_s = std::max(stage.compute_s, part.compute_s[replica]);
      stage.utilisation = std::max(stage.utilisation, utilisation(plan, part.devices[replica]));
    }
    if (!part.devices.empty()) {
      stage.memory_bytes = std::max(stage.memory_bytes, held_bytes(plan, id, part.devices.front()));
    }
  }
  return figures;
}

std::string bottleneck_figures(const Plan& plan) {
  const Prediction& prediction = *plan.prediction;
  const auto busiest =
      std::max_element(prediction.loads.begin(), prediction.loads.end(),
                       [](const DeviceLoad& a, const DeviceLoad& b) { return busiest_s(a) < busiest_s(b); });
  // The medium or the coordinator may be busier than any device.
  const auto& names = plan.devices;
  if (busiest == prediction.loads.end() ||
      prediction.bottleneck.find(names[static_cast<std::size_t>(busiest - prediction.loads.begin())]) ==
          std::string::npos) {
    return "";
  }
  if (busiest->busy_s() >= busiest_s(*busiest)) {
    return fmt::format("for each request {:.4g} ms computing, {:.3g} ms receiving and {:.3g} ms sending",
                       busiest->compute_s * 1e3, busiest->receive_s * 1e3, busiest->send_s * 1e3);
  }
  return fmt::format("for each request {:.4g} ms, while its processor is busy for {:.4g} ms", busiest_s(*busiest) * 1e3,
                     busiest->busy_s() * 1e3);
}

}  // namespace onnx_split
