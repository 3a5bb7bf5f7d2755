#include "partition/predict.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "partition/routing.h"
#include "partition/simulate.h"
#include "partition/stage_shapes.h"

namespace onnx_split {
namespace {

class Predictor {
 public:
  Predictor(const Graph& graph, const ClusterModel& model, Plan& plan) : graph_(graph), model_(model), plan_(plan) {}

  Expected<void> run() {
    if (model_.devices.size() != plan_.devices.size()) {
      return fail(ErrorCode::kInvalid, "the plan is for {} devices, the cluster has {}", plan_.devices.size(),
                  model_.devices.size());
    }
    TRY_ASSIGN(routing_, make_routing(plan_, plan_.inputs, plan_.outputs));
    TRY(find_bytes());
    TRY(set_compute_times());
    set_rates();
    add_loads();
    add_memory();
    find_bottleneck();
    Prediction& prediction = *plan_.prediction;
    TRY_ASSIGN(prediction.latency_s, mean_latency_s());
    // The averages say what is possible; whether the window is enough for it, the simulation does.
    SimulationOptions offline{Scenario::kOffline, 0.0, offline_requests(plan_.window), 1, kJitter};
    TRY_ASSIGN(const SimulationReport busy, simulate(plan_, offline));
    if (busy.throughput_per_s < kAsPossible * prediction.throughput_per_s) {
      prediction.throughput_per_s = busy.throughput_per_s;
      prediction.bottleneck += fmt::format(", and the window of {} requests", plan_.window);
    }
    return {};
  }

 private:
  // Below this share of what the averages say, the window (or how messages get in each other's way) limits.
  static constexpr double kAsPossible = 0.98;

  std::size_t most_replicas() const {
    constexpr std::size_t kMost = 256;
    std::size_t longest = 1;
    for (const Stage& stage : plan_.stages) longest = std::max(longest, stage.schedule.size());
    return std::min(longest, kMost);
  }

  // Of a request alone. Where devices have quotas, it depends on how their periods lie to each other, which is chance:
  // the mean over many such cases, and in each over some requests. Times vary there as they do offline: of requests
  // that are exactly equal, all or none would need one period more.
  Expected<double> mean_latency_s() const {
    constexpr std::uint64_t kCases = 16;
    constexpr std::size_t kRequests = 8;
    const bool has_quota = std::any_of(model_.devices.begin(), model_.devices.end(),
                                       [](const DeviceModel& device) { return device.period_s > 0.0; });
    const std::uint64_t cases = has_quota ? kCases : 1;
    const std::size_t requests = std::max(most_replicas(), has_quota ? kRequests : 1);
    const double jitter = has_quota ? kJitter : 0.0;
    double sum = 0.0;
    for (std::uint64_t seed = 1; seed <= cases; ++seed) {
      TRY_ASSIGN(const SimulationReport report,
                 simulate(plan_, {Scenario::kSingleStream, 0.0, requests, seed, jitter}));
      sum = std::accumulate(report.latency_s.begin(), report.latency_s.end(), sum);
    }
    return sum / static_cast<double>(cases * requests);
  }

  Expected<void> set_compute_times() {
    const std::vector<std::int64_t> units = channel_units(graph_);
    std::vector<const NodeTimes*> times(model_.kinds, nullptr);
    for (const DeviceModel& device : model_.devices) times[device.kind] = device.times.get();
    for (std::size_t s = 0; s < plan_.stages.size(); ++s) {
      Stage& stage = plan_.stages[s];
      StageNodes nodes;
      for (const std::string& name : stage.nodes) {
        const auto node = graph_.find_node(name);
        if (!node) return fail(ErrorCode::kInvalid, "stage {}: no node \"{}\" in the model", s, name);
        nodes.push_back(*node);
      }
      const auto shape = divided_shape(graph_, nodes, division_of(stage), units, times, model_.laid_out_weight_bytes);
      if (!shape || shape->parts.size() != stage.ways()) {
        return fail(ErrorCode::kInvalid, "stage {}: it can't be divided as the plan says", s);
      }
      for (std::size_t p = 0; p < stage.parts.size(); ++p) {
        stage.parts[p].compute_s.clear();
        const PartShape& part = shape->parts[stage.model_of(p)];
        const double copied = copied_bytes({s, p});
        for (const std::size_t d : stage.parts[p].devices) {
          const DeviceModel& device = model_.devices[d];
          stage.parts[p].compute_s.push_back(part.compute_s[device.kind] + copied * device.times->border_byte_s());
        }
      }
    }
    return {};
  }

  // What a part puts together from pieces, and what it cuts out of what it gives.
  double copied_bytes(PartId id) const {
    const Part& part = plan_.stages[id.stage].parts[id.part];
    std::int64_t bytes = 0;
    for (const ValueRegion& input : part.inputs) {
      std::size_t pieces = 0;
      std::int64_t pieces_bytes = 0;
      bool is_input = false;  // the last one, as it is
      for (const std::size_t i : routing_.pieces_of(id, input)) {
        const Transfer& transfer = routing_.transfers[i];
        const bool is_spare = transfer.source && transfer.source->part >= plan_.stages[transfer.source->stage].ways();
        const auto common = intersect(transfer.what.region, input.region);
        if (is_spare || !common) continue;
        ++pieces;
        is_input = transfer.what.region == input.region;
        pieces_bytes += bytes_[i] / transfer.what.region.shape().elements() * common->shape().elements();
      }
      if (pieces != 1 || !is_input) bytes += pieces_bytes;
    }
    for (const std::size_t i : routing_.from(id)) {
      const ValueRegion& what = routing_.transfers[i].what;
      const auto output = std::find_if(part.outputs.begin(), part.outputs.end(),
                                       [&](const ValueRegion& owned) { return owned.value == what.value; });
      if (output != part.outputs.end() && output->region != what.region) bytes += bytes_[i];
    }
    return static_cast<double>(bytes);
  }

  void set_rates() {
    Prediction& prediction = plan_.prediction.emplace();
    for (const DeviceModel& device : model_.devices) {
      prediction.rates.push_back({device.send.message_s, device.send.byte_s, device.receive.message_s,
                                  device.receive.byte_s, device.up_bytes_per_s, device.down_bytes_per_s,
                                  device.latency_s, device.quota_s, device.period_s});
    }
    for (const auto& [pair, link] : model_.pairs) {
      prediction.links.push_back({pair.first, pair.second, link.bytes_per_s, link.latency_s});
    }
    prediction.medium_bytes_per_s = model_.medium_bytes_per_s;
    prediction.coordinator_bytes_per_s = model_.coordinator_bytes_per_s;
    prediction.loads.resize(model_.devices.size());
  }

  Expected<void> find_bytes() {
    for (const Transfer& transfer : routing_.transfers) {
      const auto value = graph_.find_value(transfer.what.value);
      if (!value) return fail(ErrorCode::kInvalid, "no value \"{}\" in the model", transfer.what.value);
      bytes_.push_back(transfer.what.region.shape().elements() *
                       static_cast<std::int64_t>(element_bytes(graph_.value(*value).type.type)));
    }
    return {};
  }

  // Averages over so many requests that every schedule has gone round.
  void add_loads() {
    constexpr std::size_t kMostRequests = 1 << 16;
    const std::size_t round = schedule_round(plan_, kMostRequests);
    const double weight = 1.0 / static_cast<double>(round);
    std::vector<DeviceLoad>& loads = plan_.prediction->loads;
    for (const PartId id : part_ids(plan_)) {
      const Stage& stage = plan_.stages[id.stage];
      const Part& part = stage.parts[id.part];
      const double share = 1.0 / static_cast<double>(stage.schedule.size());
      for (const std::size_t replica : stage.schedule)
        loads[part.devices[replica]].compute_s += share * part.compute_s[replica];
    }
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      for (std::size_t r = 0; r < round; ++r)
        add_transfer(routing_.transfers[i], r, static_cast<double>(bytes_[i]), weight);
    }
  }

  void add_transfer(const Transfer& transfer, std::size_t request, double bytes, double weight) {
    std::vector<DeviceLoad>& loads = plan_.prediction->loads;
    std::optional<std::size_t> from;
    if (transfer.source) from = device_for(plan_, *transfer.source, request);
    const auto send = [&](double bytes_per_s) {
      if (!from) {
        coordinator_out_ += weight * bytes;
        return;
      }
      loads[*from].send_s += weight * model_.devices[*from].send.of(1.0, bytes);
      loads[*from].up_s += weight * bytes / bytes_per_s;
    };
    for (const std::size_t to : receiving_devices(plan_, transfer, request)) {
      if (from == to) continue;
      const double bytes_per_s = from ? model_.link(*from, to).bytes_per_s : model_.devices[to].down_bytes_per_s;
      send(bytes_per_s);
      loads[to].receive_s += weight * model_.devices[to].receive.of(1.0, bytes);
      loads[to].down_s += weight * bytes / bytes_per_s;
      medium_ += weight * bytes;
    }
    if (transfer.to_coordinator) {
      send(model_.devices[*from].up_bytes_per_s);
      coordinator_in_ += weight * bytes;
      medium_ += weight * bytes;
    }
  }

  void add_memory() {
    std::vector<DeviceLoad>& loads = plan_.prediction->loads;
    for (std::size_t d = 0; d < loads.size(); ++d) loads[d].memory_limit_bytes = model_.devices[d].memory_bytes;
    // By device and transfer: for how many requests it may wait there at once, as a runner's join table has it.
    std::map<std::pair<std::size_t, std::size_t>, std::size_t> waiting;
    std::map<PartId, std::vector<std::size_t>> needed;
    for (std::size_t i = 0; i < routing_.transfers.size(); ++i) {
      for (const PartId consumer : routing_.transfers[i].consumers) {
        std::vector<std::size_t>& transfers = needed[consumer];
        if (transfers.empty() || transfers.back() != i) transfers.push_back(i);
      }
    }
    for (const PartId id : part_ids(plan_)) {
      const Part& part = plan_.stages[id.stage].parts[id.part];
      for (const std::size_t d : std::set<std::size_t>(part.devices.begin(), part.devices.end())) {
        loads[d].memory_bytes += part.weight_bytes + part.activation_bytes;
        const std::size_t served = most_served(plan_, id, d, plan_.window);
        for (const std::size_t transfer : needed[id]) {
          std::size_t& most = waiting[{d, transfer}];
          most = std::min(plan_.window, most + served);
        }
      }
    }
    for (const auto& [at, requests] : waiting)
      loads[at.first].memory_bytes += static_cast<std::int64_t>(requests) * bytes_[at.second];
    for (std::size_t d = 0; d < loads.size(); ++d) {
      if (loads[d].memory_bytes > 0) loads[d].memory_bytes += model_.devices[d].idle_bytes;
    }
  }

  void find_bottleneck() {
    Prediction& prediction = *plan_.prediction;
    double period_s = 0.0;
    const auto consider = [&](double seconds, const std::string& what) {
      if (seconds <= period_s) return;
      period_s = seconds;
      prediction.bottleneck = what;
    };
    for (std::size_t d = 0; d < prediction.loads.size(); ++d) {
      const DeviceLoad& load = prediction.loads[d];
      const std::string name = fmt::format("device \"{}\"", plan_.devices[d]);
      consider(load.busy_s(), name + "'s processor");
      consider(load.up_s, name + "'s link, sending");
      consider(load.down_s, name + "'s link, receiving");
    }
    if (model_.medium_bytes_per_s > 0.0) consider(medium_ / model_.medium_bytes_per_s, "the shared medium");
    if (model_.coordinator_bytes_per_s > 0.0) {
      consider(std::max(coordinator_out_, coordinator_in_) / model_.coordinator_bytes_per_s, "the coordinator's link");
    }
    prediction.throughput_per_s = period_s > 0.0 ? 1.0 / period_s : 0.0;
  }

  const Graph& graph_;
  const ClusterModel& model_;
  Plan& plan_;
  Routing routing_;
  std::vector<std::int64_t> bytes_;  // by transfer
  double medium_ = 0.0;
  double coordinator_out_ = 0.0;
  double coordinator_in_ = 0.0;
};

}  // namespace

std::size_t offline_requests(std::size_t window) { return std::clamp<std::size_t>(8 * window, 100, 8192); }

Expected<void> predict(const Graph& graph, const ClusterModel& model, Plan& plan) {
  return Predictor(graph, model, plan).run();
}

}  // namespace onnx_split
