#include "partition/cost.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <unordered_map>

#include "base/check.h"

namespace onnx_split {
namespace {

constexpr std::size_t kCoordinator = static_cast<std::size_t>(-1);
// Beyond so many pairs of replicas the pairs' own links aren't told apart.
constexpr std::size_t kMostPairs = 64;
// The latency is the mean over at most so many choices of replicas.
constexpr std::size_t kMostSamples = 8;

std::int64_t common_bytes(const ValuePiece& owned, const ValuePiece& need) {
  std::int64_t elements = 1, need_elements = 1;
  for (std::size_t axis = 0; axis < need.region.rank(); ++axis) {
    const Range& a = owned.region[axis];
    const Range& b = need.region[axis];
    const std::int64_t common = std::min(a.end, b.end) - std::max(a.begin, b.begin);
    if (common <= 0) return 0;
    elements *= common;
    need_elements *= b.size();
  }
  return need.bytes / need_elements * elements;
}

}  // namespace

std::vector<double> replica_shares(std::span<const double> replica_s) {
  std::vector<double> shares;
  double total = 0.0;
  for (const double seconds : replica_s) {
    shares.push_back(1.0 / std::max(seconds, 1e-12));
    total += shares.back();
  }
  for (double& share : shares) share /= total;
  return shares;
}

std::size_t least_window(const Candidate& candidate) {
  std::size_t servers = 0;
  std::set<std::size_t> devices;
  for (const CandidateStage& stage : candidate) {
    servers += stage.replicas;
    devices.insert(stage.devices.begin(), stage.devices.end());
  }
  return std::min(servers, devices.size()) + 1;
}

std::size_t largest_useful_window(std::size_t least, double on_way) {
  constexpr std::size_t kMostEach = 6;
  constexpr double kMost = 4096.0;
  return std::max(kMostEach * (least - 1), static_cast<std::size_t>(std::min(kMost, std::ceil(2.0 * on_way))));
}

std::string missing_memory(const ClusterModel& model, std::span<const DeviceLoad> loads) {
  std::string where;
  for (std::size_t d = 0; d < loads.size(); ++d) {
    const DeviceModel& device = model.devices[d];
    const std::int64_t needed = loads[d].memory_bytes;
    if (device.memory_bytes == 0 || needed <= device.memory_bytes) continue;
    where +=
        fmt::format("{}device \"{}\" would need {:.1f} MB and has {:.1f} MB", where.empty() ? "" : ", ", device.name,
                    static_cast<double>(needed) * 1e-6, static_cast<double>(device.memory_bytes) * 1e-6);
  }
  return where;
}

// One candidate's costs.
class CostModel::Evaluation {
 public:
  Evaluation(const ClusterModel& model, StageShapes& shapes, const Candidate& candidate)
      : model_(model), graph_(shapes.graph()), candidate_(candidate) {
    for (const CandidateStage& stage : candidate) {
      shapes_.push_back(shapes.find(stage.begin, stage.end, stage.division));
      CHECK(shapes_.back() != nullptr && stage.devices.size() == stage.division.ways * stage.replicas);
    }
    cost_.devices.resize(model.devices.size());
  }

  Cost evaluate() {
    find_flows();
    index_flows();
    find_rates();
    add_loads();
    find_period();
    const double slowest_s = slowest_way_s();
    find_window(slowest_s);
    find_latency();
    limit_by_window(slowest_s);
    cost_.shares = std::move(rates_);
    return std::move(cost_);
  }

 private:
  // What goes from one part (or the coordinator) to another (or the coordinator), for each request.
  struct Flow {
    std::size_t from_stage = kCoordinator;
    std::size_t from_part = 0;
    std::size_t to_stage = kCoordinator;
    std::size_t to_part = 0;
    double bytes = 0.0;
    double owned_bytes = 0.0;  // what the part gives that it is a piece of
  };

  std::size_t device(std::size_t stage, std::size_t part, std::size_t replica) const {
    const CandidateStage& at = candidate_[stage];
    return at.devices[part * at.replicas + replica];
  }
  bool alone(std::size_t stage) const { return stage != kCoordinator && candidate_[stage].replicas == 1; }

  void find_flows() {
    std::vector<std::size_t> giver(graph_.value_count(), kCoordinator);
    for (std::size_t s = 0; s < shapes_.size(); ++s) {
      for (const ValuePiece& output : shapes_[s]->parts[0].outputs) giver[output.value.index()] = s;
    }
    for (std::size_t s = 0; s < shapes_.size(); ++s) {
      input_bytes_.emplace_back(shapes_[s]->parts.size(), 0);
      copied_bytes_.emplace_back(shapes_[s]->parts.size(), 0.0);
      for (std::size_t p = 0; p < shapes_[s]->parts.size(); ++p) {
        for (const ValuePiece& need : shapes_[s]->parts[p].inputs) {
          const std::size_t from = giver[need.value.index()];
          if (from == kCoordinator) {
            input_bytes_[s][p] += need.bytes;
            add_flow({kCoordinator, 0, s, p, static_cast<double>(need.bytes), 0.0}, nullptr, need);
            continue;
          }
          std::size_t pieces = 0;
          std::int64_t pieces_bytes = 0;
          for (std::size_t q = 0; q < shapes_[from]->parts.size(); ++q) {
            for (const ValuePiece& owned : shapes_[from]->parts[q].outputs) {
              if (owned.value != need.value) continue;
              const std::int64_t bytes = common_bytes(owned, need);
              input_bytes_[s][p] += bytes;
              if (bytes == 0) continue;
              add_flow({from, q, s, p, static_cast<double>(bytes), static_cast<double>(owned.bytes)}, &owned, need);
              ++pieces;
              pieces_bytes += bytes;
            }
          }
          if (pieces > 1) copied_bytes_[s][p] += static_cast<double>(pieces_bytes);  // put together
        }
      }
    }
    for (const ValueId id : graph_.outputs()) {
      const std::size_t from = giver[id.index()];
      if (from == kCoordinator) continue;
      for (std::size_t q = 0; q < shapes_[from]->parts.size(); ++q) {
        for (const ValuePiece& owned : shapes_[from]->parts[q].outputs) {
          const auto bytes = static_cast<double>(owned.bytes);
          if (owned.value == id) add_flow({from, q, kCoordinator, 0, bytes, bytes}, &owned, owned);
        }
      }
    }
    for (const Flow& flow : flows_) {       // cut out
      constexpr double kLess = 1.0 - 1e-9;  // a box's bytes are rounded
      if (flow.bytes < kLess * flow.owned_bytes) copied_bytes_[flow.from_stage][flow.from_part] += flow.bytes;
    }
  }

  // What a part takes for a request, messages aside: it computes, cuts out what it gives, and puts together what it
  // needs.
  double part_s(std::size_t s, std::size_t p, std::size_t d) const {
    const DeviceModel& device = model_.devices[d];
    return shapes_[s]->parts[p].compute_s[device.kind] + copied_bytes_[s][p] * device.times->border_byte_s();
  }

  void index_flows() {
    for (const StageShape* shape : shapes_) outgoing_.emplace_back(shape->parts.size());
    for (std::size_t i = 0; i < flows_.size(); ++i) {
      const bool is_input = flows_[i].from_stage == kCoordinator;
      (is_input ? inputs_ : outgoing_[flows_[i].from_stage][flows_[i].from_part]).push_back(i);
    }
  }

  // What a device gets of one piece of a value (`owned`; null: of a network input) goes there as one box where that
  // isn't more than two, as make_routing has it.
  void add_flow(const Flow& flow, const ValuePiece* owned, const ValuePiece& need) {
    if (alone(flow.to_stage)) {
      const std::size_t to = device(flow.to_stage, flow.to_part, 0);
      const auto [known, is_new] = sent_.try_emplace({need.value, flow.from_stage, flow.from_part, to},
                                                     Carried{flows_.size(), owned, &need, {}});
      if (!is_new && carries_too(known->second, owned, need)) {
        shared_.push_back({flow.to_stage, flow.to_part, known->second.flow});
        return;
      }
    }
    flows_.push_back(flow);
  }

  // A flow to a device, and the box that it carries, once there is a second need of it.
  struct Carried {
    std::size_t flow;
    const ValuePiece* owned;
    const ValuePiece* need;
    std::optional<Region> box;
  };

  bool carries_too(Carried& carried, const ValuePiece* owned, const ValuePiece& need) {
    const auto common = [](const ValuePiece* piece, const ValuePiece& needed) {
      return piece == nullptr ? needed.region : *intersect(piece->region, needed.region);
    };
    const Region first = carried.box ? *carried.box : common(carried.owned, *carried.need);
    const Region second = common(owned, need);
    Region both = bounding_box(first, second);
    const std::int64_t elements = both.shape().elements();
    if (elements > first.shape().elements() + second.shape().elements()) return false;
    flows_[carried.flow].bytes *= static_cast<double>(elements) / static_cast<double>(first.shape().elements());
    carried.box = std::move(both);
    return true;
  }

  // How the requests are shared out among each stage's replicas.
  void find_rates() {
    // Processor time of messages, by stage and part.
    std::vector<std::vector<std::array<double, 4>>> messages(shapes_.size());  // in, bytes in, out, bytes out
    for (std::size_t s = 0; s < shapes_.size(); ++s) messages[s].assign(shapes_[s]->parts.size(), {0, 0, 0, 0});
    for (const Flow& flow : flows_) {
      if (flow.to_stage != kCoordinator) {
        messages[flow.to_stage][flow.to_part][0] += 1.0;
        messages[flow.to_stage][flow.to_part][1] += flow.bytes;
      }
      if (flow.from_stage != kCoordinator) {
        messages[flow.from_stage][flow.from_part][2] += 1.0;
        messages[flow.from_stage][flow.from_part][3] += flow.bytes;
      }
    }
    for (std::size_t s = 0; s < shapes_.size(); ++s) {
      std::vector<double> replica_s(candidate_[s].replicas, 0.0);
      for (std::size_t r = 0; r < replica_s.size() && replica_s.size() > 1; ++r) {
        for (std::size_t p = 0; p < shapes_[s]->parts.size(); ++p) {
          const std::size_t d = device(s, p, r);
          const DeviceModel& at = model_.devices[d];
          const auto& [in, bytes_in, out, bytes_out] = messages[s][p];
          const double busy_s = part_s(s, p, d) + at.receive.of(in, bytes_in) + at.send.of(out, bytes_out);
          const double link_s = std::max(bytes_in / at.down_bytes_per_s, bytes_out / at.up_bytes_per_s);
          replica_s[r] = std::max({replica_s[r], busy_s, link_s});
        }
      }
      rates_.push_back(replica_s.size() == 1 ? std::vector<double>{1.0} : replica_shares(replica_s));
    }
  }

  void add_loads() {
    for (std::size_t s = 0; s < shapes_.size(); ++s) {
      for (std::size_t p = 0; p < shapes_[s]->parts.size(); ++p) {
        for (std::size_t r = 0; r < rates_[s].size(); ++r) {
          const std::size_t d = device(s, p, r);
          cost_.devices[d].compute_s += rates_[s][r] * part_s(s, p, d);
        }
      }
    }
    for (const Flow& flow : flows_) {
      const bool from_part = flow.from_stage != kCoordinator;
      const bool to_part = flow.to_stage != kCoordinator;
      if (from_part && to_part && rates_[flow.from_stage].size() * rates_[flow.to_stage].size() <= kMostPairs) {
        for (std::size_t i = 0; i < rates_[flow.from_stage].size(); ++i) {
          for (std::size_t j = 0; j < rates_[flow.to_stage].size(); ++j) {
            const std::size_t from = device(flow.from_stage, flow.from_part, i);
            const std::size_t to = device(flow.to_stage, flow.to_part, j);
            if (from == to) continue;  // by pointer
            const double weight = rates_[flow.from_stage][i] * rates_[flow.to_stage][j];
            const double bytes_per_s = model_.link(from, to).bytes_per_s;
            add_send(from, weight, flow.bytes, bytes_per_s);
            add_receive(to, weight, flow.bytes, bytes_per_s);
            medium_bytes_ += weight * flow.bytes;
          }
        }
        continue;
      }
      medium_bytes_ += flow.bytes;
      if (!from_part) coordinator_out_ += flow.bytes;
      if (!to_part) coordinator_in_ += flow.bytes;
      for (std::size_t i = 0; from_part && i < rates_[flow.from_stage].size(); ++i) {
        const std::size_t from = device(flow.from_stage, flow.from_part, i);
        add_send(from, rates_[flow.from_stage][i], flow.bytes, model_.devices[from].up_bytes_per_s);
      }
      for (std::size_t j = 0; to_part && j < rates_[flow.to_stage].size(); ++j) {
        const std::size_t to = device(flow.to_stage, flow.to_part, j);
        add_receive(to, rates_[flow.to_stage][j], flow.bytes, model_.devices[to].down_bytes_per_s);
      }
    }
  }

  void add_send(std::size_t from, double weight, double bytes, double bytes_per_s) {
    cost_.devices[from].send_s += weight * model_.devices[from].send.of(1.0, bytes);
    cost_.devices[from].up_s += weight * bytes / bytes_per_s;
  }
  void add_receive(std::size_t to, double weight, double bytes, double bytes_per_s) {
    cost_.devices[to].receive_s += weight * model_.devices[to].receive.of(1.0, bytes);
    cost_.devices[to].down_s += weight * bytes / bytes_per_s;
  }

  void find_period() {
    const auto consider = [&](double seconds, Bottleneck::Kind kind, std::size_t device) {
      if (seconds <= cost_.period_s) return;
      cost_.period_s = seconds;
      cost_.bottleneck = {kind, device};
    };
    for (std::size_t d = 0; d < cost_.devices.size(); ++d) {
      consider(cost_.devices[d].busy_s(), Bottleneck::Kind::kDevice, d);
      consider(cost_.devices[d].up_s, Bottleneck::Kind::kUplink, d);
      consider(cost_.devices[d].down_s, Bottleneck::Kind::kDownlink, d);
    }
    if (model_.medium_bytes_per_s > 0.0) {
      consider(medium_bytes_ / model_.medium_bytes_per_s, Bottleneck::Kind::kMedium, 0);
    }
    if (model_.coordinator_bytes_per_s > 0.0) {
      consider(std::max(coordinator_out_, coordinator_in_) / model_.coordinator_bytes_per_s,
               Bottleneck::Kind::kCoordinator, 0);
    }
  }

  // The largest window for which there is memory, at least one, and no more than could be of use. (How many are of use
  // a simulation finds out when the plan is made.)
  void find_window(double slowest_s) {
    const double on_way = slowest_s / std::max(cost_.period_s, 1e-12);
    std::size_t low = 1, high = largest_useful_window(least_window(candidate_), on_way);
    cost_.missing_bytes = memory_for(low);
    if (cost_.missing_bytes == 0) {
      while (low < high) {
        const std::size_t middle = (low + high + 1) / 2;
        if (memory_for(middle) == 0) {
          low = middle;
        } else {
          high = middle - 1;
        }
      }
    }
    memory_for(low);
    // What doesn't fit is compared as if it did.
    cost_.window = cost_.missing_bytes == 0 ? low : least_window(candidate_);
  }

  // Sets every device's memory and gives the bytes that are too many.
  std::int64_t memory_for(std::size_t window) {
    std::vector<bool> used(model_.devices.size(), false);
    for (DeviceLoad& load : cost_.devices) load.memory_bytes = 0;
    for (std::size_t s = 0; s < shapes_.size(); ++s) {
      for (std::size_t p = 0; p < shapes_[s]->parts.size(); ++p) {
        const PartShape& part = shapes_[s]->parts[p];
        for (std::size_t r = 0; r < rates_[s].size(); ++r) {
          const std::size_t d = device(s, p, r);
          const auto waiting = static_cast<std::int64_t>(std::ceil(static_cast<double>(window) * rates_[s][r] - 1e-6));
          cost_.devices[d].memory_bytes += part.weight_bytes + part.activation_bytes + waiting * input_bytes_[s][p];
          used[d] = true;
        }
      }
    }
    std::int64_t missing = 0;
    for (std::size_t d = 0; d < used.size(); ++d) {
      if (!used[d]) continue;
      cost_.devices[d].memory_bytes += model_.devices[d].idle_bytes;
      const std::int64_t limit = model_.devices[d].memory_bytes;
      if (limit > 0) missing += std::max<std::int64_t>(cost_.devices[d].memory_bytes - limit, 0);
    }
    return missing;
  }

  void find_latency() {
    std::size_t samples = 1;
    for (const CandidateStage& stage : candidate_) samples = std::max(samples, stage.replicas);
    samples = std::min(samples, kMostSamples);
    for (std::size_t i = 0; i < samples; ++i) {
      const double place = (static_cast<double>(i) + 0.5) / static_cast<double>(samples);
      std::vector<std::size_t> replicas;
      for (const std::vector<double>& rates : rates_) {
        std::size_t replica = 0;
        double sum = rates[0];
        while (replica + 1 < rates.size() && sum < place) sum += rates[++replica];
        replicas.push_back(replica);
      }
      cost_.latency_s += trace(replicas) / static_cast<double>(samples);
    }
  }

  // One request's way through the slowest replicas, while the devices work on others too.
  double slowest_way_s() const {
    std::vector<std::size_t> slowest;
    for (const std::vector<double>& rates : rates_) {
      slowest.push_back(static_cast<std::size_t>(std::min_element(rates.begin(), rates.end()) - rates.begin()));
    }
    return trace(slowest) + waiting_s(slowest);
  }

  // A part that is ready waits until its device is done with what it computes: half of the longest part of another
  // stage, on the device of the stage where that is most.
  double waiting_s(const std::vector<std::size_t>& replicas) const {
    struct Longest {
      std::size_t stage = kCoordinator;
      double of_stage_s = 0.0;
      double of_others_s = 0.0;
    };
    std::vector<Longest> longest(model_.devices.size());
    for (std::size_t s = 0; s < shapes_.size(); ++s) {
      for (std::size_t i = 0; i < candidate_[s].devices.size(); ++i) {
        const std::size_t d = candidate_[s].devices[i];
        const double seconds = part_s(s, i / candidate_[s].replicas, d);
        Longest& at = longest[d];
        if (at.stage == s) {
          at.of_stage_s = std::max(at.of_stage_s, seconds);
        } else if (seconds > at.of_stage_s) {
          at = {s, seconds, at.of_stage_s};
        } else {
          at.of_others_s = std::max(at.of_others_s, seconds);
        }
      }
    }
    double sum = 0.0;
    for (std::size_t s = 0; s < shapes_.size(); ++s) {
      double most = 0.0;
      for (std::size_t p = 0; p < shapes_[s]->parts.size(); ++p) {
        const Longest& at = longest[device(s, p, replicas[s])];
        most = std::max(most, at.stage == s ? at.of_others_s : at.of_stage_s);
      }
      sum += most / 2.0;
    }
    return sum;
  }

  // Requests leave the window in order, so the slowest way, once for each window, is a period.
  void limit_by_window(double slowest_s) {
    const double seconds = slowest_s / static_cast<double>(cost_.window);
    if (seconds <= cost_.period_s) return;
    cost_.period_s = seconds;
    cost_.bottleneck = {Bottleneck::Kind::kWindow, 0};
  }

  struct LinkUse {
    double* until = nullptr;
    double bytes_per_s = 0.0;
  };

  // When a message is through that is on all these links at once: the slowest decides.
  static double pass(std::span<const LinkUse> links, double bytes, double now) {
    for (const LinkUse& link : links) now = std::max(now, *link.until);
    double end = now;
    for (const LinkUse& link : links) end = std::max(end, *link.until = now + bytes / link.bytes_per_s);
    return end;
  }

  // One request on its way, nothing else being busy: when the last output is back. Each device computes one part after
  // the other; each link carries one message after the other, while the processor goes on.
  double trace(const std::vector<std::size_t>& replicas) const {
    const std::size_t devices = model_.devices.size();
    std::vector<double> computing(devices, 0.0), receiving(devices, 0.0), up(devices, 0.0), down(devices, 0.0);
    double medium = 0.0, coordinator_out = 0.0, coordinator_in = 0.0, done = 0.0;
    std::vector<double> arrived(flows_.size(), 0.0);
    std::vector<std::vector<double>> ready(shapes_.size());
    for (std::size_t s = 0; s < shapes_.size(); ++s) ready[s].assign(shapes_[s]->parts.size(), 0.0);

    const auto carry = [&](std::size_t index, std::size_t from, double& now) {
      const Flow& flow = flows_[index];
      const std::size_t to =
          flow.to_stage == kCoordinator ? kCoordinator : device(flow.to_stage, flow.to_part, replicas[flow.to_stage]);
      double at = now;
      if (from != to) {
        double bytes_per_s = 0.0, latency_s = 0.0;
        if (from == kCoordinator) {
          bytes_per_s = model_.devices[to].down_bytes_per_s;
          latency_s = model_.devices[to].latency_s;
        } else {
          now += model_.devices[from].send.of(1.0, flow.bytes);
          const PairLink link = to == kCoordinator
                                    ? PairLink{model_.devices[from].up_bytes_per_s, model_.devices[from].latency_s}
                                    : model_.link(from, to);
          bytes_per_s = link.bytes_per_s;
          latency_s = link.latency_s;
        }
        std::array<LinkUse, 4> links;
        std::size_t count = 0;
        if (from != kCoordinator) links[count++] = {&up[from], bytes_per_s};
        if (to != kCoordinator) links[count++] = {&down[to], bytes_per_s};
        if (model_.medium_bytes_per_s > 0.0) links[count++] = {&medium, model_.medium_bytes_per_s};
        if (model_.coordinator_bytes_per_s > 0.0 && (from == kCoordinator || to == kCoordinator)) {
          links[count++] = {from == kCoordinator ? &coordinator_out : &coordinator_in, model_.coordinator_bytes_per_s};
        }
        at = pass(std::span(links.data(), count), flow.bytes, now) + latency_s;
        if (to != kCoordinator) {
          // Bytes are received while they come.
          const MessageTime& receive = model_.devices[to].receive;
          const double begin = std::max(receiving[to], at - flow.bytes / bytes_per_s);
          receiving[to] = std::max(at, begin + receive.of(0.0, flow.bytes)) + receive.message_s;
          at = receiving[to];
        }
      }
      arrived[index] = at;
      if (flow.to_stage == kCoordinator) {
        done = std::max(done, at);
      } else {
        ready[flow.to_stage][flow.to_part] = std::max(ready[flow.to_stage][flow.to_part], at);
      }
    };

    double start = 0.0;
    for (const std::size_t flow : inputs_) carry(flow, kCoordinator, start);
    for (std::size_t s = 0; s < shapes_.size(); ++s) {
      for (const Shared& shared : shared_) {
        if (shared.stage == s) ready[s][shared.part] = std::max(ready[s][shared.part], arrived[shared.flow]);
      }
      for (std::size_t p = 0; p < shapes_[s]->parts.size(); ++p) {
        const std::size_t d = device(s, p, replicas[s]);
        double now = std::max(ready[s][p], computing[d]) + part_s(s, p, d);
        for (const std::size_t flow : outgoing_[s][p]) carry(flow, d, now);
        computing[d] = now;
      }
    }
    return done;
  }

  // A part that reads what another part of its device receives.
  struct Shared {
    std::size_t stage;
    std::size_t part;
    std::size_t flow;
  };

  const ClusterModel& model_;
  const Graph& graph_;
  const Candidate& candidate_;
  std::vector<const StageShape*> shapes_;  // by stage
  std::vector<Flow> flows_;
  std::vector<std::vector<std::int64_t>> input_bytes_;  // that wait for a request, by stage and part: each addend
  std::vector<std::vector<double>> copied_bytes_;       // by stage and part
  // The flow by which a device gets a piece of a value: by value, source and device.
  struct Sent {
    ValueId value;
    std::size_t from_stage;
    std::size_t from_part;
    std::size_t device;
    bool operator==(const Sent&) const = default;
  };
  struct SentHash {
    std::size_t operator()(const Sent& sent) const {
      return ((sent.value.index() * 1'000'003 + sent.from_stage) * 1'000'003 + sent.from_part) * 1'000'003 +
             sent.device;
    }
  };
  std::unordered_map<Sent, Carried, SentHash> sent_;
  std::vector<Shared> shared_;
  std::vector<std::size_t> inputs_;                              // flows from the coordinator
  std::vector<std::vector<std::vector<std::size_t>>> outgoing_;  // flows, by stage and part
  std::vector<std::vector<double>> rates_;                       // by stage and replica
  double medium_bytes_ = 0.0;
  double coordinator_out_ = 0.0;
  double coordinator_in_ = 0.0;
  Cost cost_;
};

CostModel::CostModel(const ClusterModel& model, StageShapes& shapes) : model_(model), shapes_(shapes) {}

Cost CostModel::of(const Candidate& candidate) const { return Evaluation(model_, shapes_, candidate).evaluate(); }

}  // namespace onnx_split
