#include "partition/cluster_model.h"

#include <algorithm>
#include <numeric>

namespace onnx_split {
namespace {

constexpr double kAlike = 1.15;
// A processor that isn't slower than this by the clock isn't slowed by its quota, if it has one.
constexpr double kQuotaSlowdown = 1.2;
constexpr double kMbps = 1e6 / 8.0;  // bytes a second

struct Measured {
  std::size_t device = 0;  // index into the cluster
  const DeviceProfile* profile = nullptr;
  double total_s = 0.0;  // all nodes and their shares, by the clock
};

double total_s(const DeviceProfile& profile) {
  double ms = 0.0;
  for (const auto& [node, timing] : profile.nodes) ms += timing.median_ms;
  for (const SliceTiming& slice : profile.slices) ms += slice.time.median_ms;
  return ms * 1e-3 * profile.slowdown;
}

bool same_machine(const Device& a, const DeviceProfile& pa, const Device& b, const DeviceProfile& pb) {
  return pa.machine == pb.machine && pa.core_type == pb.core_type && pa.version == pb.version &&
         pa.threads == pb.threads && a.memory_bytes == b.memory_bytes;
}

MessageTime mean_message(const std::vector<const DeviceProfile*>& devices, MessageCost DeviceProfile::*cost) {
  MessageTime mean;
  for (const DeviceProfile* device : devices) {
    const double share = device->slowdown / static_cast<double>(devices.size());
    mean.message_s += share * (device->*cost).message_us * 1e-6;
    mean.byte_s += share * (device->*cost).byte_ns * 1e-9;
  }
  return mean;
}

class ModelMaker {
 public:
  ModelMaker(const Graph& graph, const Cluster& cluster, const Profile* profile, const ModelDefaults& defaults)
      : graph_(graph), cluster_(cluster), profile_(profile), defaults_(defaults) {}

  Expected<ClusterModel> make() {
    model_.devices.resize(cluster_.devices.size());
    ends_s_.resize(cluster_.devices.size(), 0.0);
    for (std::size_t d = 0; d < cluster_.devices.size(); ++d) {
      DeviceModel& device = model_.devices[d];
      device.name = cluster_.devices[d].name;
      device.memory_bytes = static_cast<std::int64_t>(cluster_.devices[d].memory_bytes);
    }
    if (profile_ != nullptr) {
      TRY(use_profile());
    } else {
      use_defaults();
    }
    add_links();
    number_kinds();
    return std::move(model_);
  }

 private:
  Expected<const DeviceProfile*> profile_of(const std::string& name) const {
    if (profile_->devices.size() == 1) return &profile_->devices.front();
    for (const DeviceProfile& device : profile_->devices) {
      if (device.name == name) return &device;
    }
    return fail(ErrorCode::kNotFound, "devices: the profile has no device \"{}\"", name);
  }

  Expected<void> use_profile() {
    std::vector<Measured> measured;
    for (std::size_t d = 0; d < cluster_.devices.size(); ++d) {
      TRY_ASSIGN(const DeviceProfile* found, profile_of(cluster_.devices[d].name));
      measured.push_back({d, found, total_s(*found)});
    }
    // Whatever the order in which they are listed.
    std::sort(measured.begin(), measured.end(), [&](const Measured& a, const Measured& b) {
      return std::tie(a.total_s, cluster_.devices[a.device].name) <
             std::tie(b.total_s, cluster_.devices[b.device].name);
    });
    std::vector<bool> placed(measured.size(), false);
    for (std::size_t i = 0; i < measured.size(); ++i) {
      if (placed[i]) continue;
      std::vector<std::size_t> alike;
      std::vector<const DeviceProfile*> profiles;
      for (std::size_t j = i; j < measured.size(); ++j) {
        if (placed[j] || measured[j].total_s > kAlike * measured[i].total_s ||
            !same_machine(cluster_.devices[measured[i].device], *measured[i].profile,
                          cluster_.devices[measured[j].device], *measured[j].profile)) {
          continue;
        }
        placed[j] = true;
        alike.push_back(measured[j].device);
        profiles.push_back(measured[j].profile);
      }
      set_alike(alike, profiles);
    }
    return {};
  }

  // The shortest period of the quotas that explain the slowdown; 0: none.
  static double quota_period_s(const std::vector<const DeviceProfile*>& profiles) {
    constexpr double kFits = 1.5;
    double shortest_s = 0.0;
    for (const DeviceProfile* profile : profiles) {
      if (profile->period_ms <= 0.0 || profile->quota_ms <= 0.0 || profile->slowdown <= kQuotaSlowdown) continue;
      const double ratio = profile->period_ms / profile->quota_ms / profile->slowdown;
      if (ratio < 1.0 / kFits || ratio > kFits) continue;
      const double period_s = profile->period_ms * 1e-3;
      shortest_s = shortest_s == 0.0 ? period_s : std::min(shortest_s, period_s);
    }
    return shortest_s;
  }

  void set_alike(const std::vector<std::size_t>& devices, const std::vector<const DeviceProfile*>& profiles) {
    const auto times = std::make_shared<const NodeTimes>(NodeTimes::from_profiles(graph_, profiles));
    std::int64_t idle_bytes = 0;
    double slowdown = 0.0;
    double ends_s = 0.0;
    for (const DeviceProfile* profile : profiles) {
      ends_s += (profile->send.message_us + profile->receive.message_us) * 1e-6 / static_cast<double>(profiles.size());
      idle_bytes = std::max(idle_bytes, profile->idle_memory_bytes);
      slowdown += profile->slowdown / static_cast<double>(profiles.size());
    }
    double period_s = quota_period_s(profiles);
    const bool has_quota = slowdown > kQuotaSlowdown && period_s > 0.0;
    if (!has_quota) period_s = 0.0;
    for (const std::size_t d : devices) {
      DeviceModel& device = model_.devices[d];
      device.times = times;
      device.send = mean_message(profiles, &DeviceProfile::send);
      device.receive = mean_message(profiles, &DeviceProfile::receive);
      device.idle_bytes = idle_bytes;
      ends_s_[d] = ends_s;
      device.period_s = period_s;
      device.quota_s = has_quota ? period_s / slowdown : 0.0;
    }
  }

  void use_defaults() {
    std::map<std::tuple<double, double, double>, std::shared_ptr<const NodeTimes>> by_speed;
    for (std::size_t d = 0; d < cluster_.devices.size(); ++d) {
      DeviceModel& device = model_.devices[d];
      const Device& from = cluster_.devices[d];
      Roofline roofline = defaults_.roofline;
      if (from.gflops > 0.0) {
        // Memory and messages are taken to be as much faster as the arithmetic is.
        const double ratio = from.gflops / roofline.gflops;
        roofline.gflops *= ratio;
        roofline.memory_bytes_per_s *= ratio;
        roofline.node_s /= ratio;
      } else {
        roofline.gflops *= from.threads;
      }
      std::shared_ptr<const NodeTimes>& times =
          by_speed[{roofline.gflops, roofline.memory_bytes_per_s, roofline.node_s}];
      if (!times) times = std::make_shared<const NodeTimes>(NodeTimes::from_roofline(graph_, roofline));
      device.times = times;
      device.send = defaults_.send;
      device.receive = defaults_.receive;
      device.idle_bytes = defaults_.idle_bytes;
    }
  }

  // The profile's links where it has any, else the cluster file's, else the defaults.
  void add_links() {
    std::map<std::string, std::size_t> index;
    for (std::size_t d = 0; d < model_.devices.size(); ++d) index[model_.devices[d].name] = d;
    const double given_mbps =
        cluster_.link.bandwidth_mbps > 0.0 ? cluster_.link.bandwidth_mbps : defaults_.bandwidth_mbps;
    const bool is_given = cluster_.link.bandwidth_mbps > 0.0 || cluster_.link.latency_ms > 0.0;
    const double latency_ms = is_given ? cluster_.link.latency_ms : defaults_.latency_ms;
    for (DeviceModel& device : model_.devices) {
      device.up_bytes_per_s = device.down_bytes_per_s = given_mbps * kMbps;
      device.latency_s = latency_ms * 1e-3;
    }
    if (profile_ != nullptr && !profile_->links.empty()) add_measured_links(index);
    for (const LinkException& link : cluster_.links) {
      const auto from = index.at(link.from);
      const auto to = index.at(link.to);
      PairLink pair = model_.link(from, to);
      if (link.link.bandwidth_mbps > 0.0) pair.bytes_per_s = link.link.bandwidth_mbps * kMbps;
      if (link.link.latency_ms > 0.0) pair.latency_s = link.link.latency_ms * 1e-3;
      model_.pairs[{from, to}] = pair;
    }
    if (cluster_.shared) model_.medium_bytes_per_s = fastest_link_bytes_per_s();
    model_.coordinator_bytes_per_s = cluster_.coordinator.bandwidth_mbps * kMbps;
  }

  // Of a shared medium: whoever has it alone has all of it.
  double fastest_link_bytes_per_s() const {
    double fastest = 0.0;
    for (const DeviceModel& device : model_.devices)
      fastest = std::max({fastest, device.up_bytes_per_s, device.down_bytes_per_s});
    return fastest;
  }

  // A device's own link is the median of what was measured through it; pairs that got much less are exceptions.
  void add_measured_links(const std::map<std::string, std::size_t>& index) {
    std::map<std::size_t, std::vector<double>> up, down, latency;
    std::vector<std::tuple<std::size_t, std::size_t, PairLink>> measured;
    for (const LinkProfile& link : profile_->links) {
      const auto from = index.find(link.from);
      const auto to = index.find(link.to);
      if (from == index.end() || to == index.end()) continue;
      const PairLink pair{link.bandwidth_mbps * kMbps, link.latency_ms * 1e-3};
      up[from->second].push_back(pair.bytes_per_s);
      down[to->second].push_back(pair.bytes_per_s);
      latency[from->second].push_back(pair.latency_s);
      measured.emplace_back(from->second, to->second, pair);
    }
    const auto median = [](std::vector<double>& values) {
      const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
      std::nth_element(values.begin(), middle, values.end());
      return *middle;
    };
    for (auto& [d, values] : up) model_.devices[d].up_bytes_per_s = median(values);
    for (auto& [d, values] : down) model_.devices[d].down_bytes_per_s = median(values);
    for (auto& [d, values] : latency) model_.devices[d].latency_s = median(values);
    // Links of devices that are alike differ by chance, too.
    level([](DeviceModel& device) -> double& { return device.up_bytes_per_s; });
    level([](DeviceModel& device) -> double& { return device.down_bytes_per_s; });
    level([](DeviceModel& device) -> double& { return device.latency_s; });
    // Without what both ends' processors do meanwhile, for which messages are charged anyway. The other end of a
    // device's link is any other device: equal ones stay equal.
    const double all_ends_s = std::accumulate(ends_s_.begin(), ends_s_.end(), 0.0);
    const auto others = static_cast<double>(ends_s_.size() - 1);
    for (const auto& [d, values] : latency) {
      double& latency_s = model_.devices[d].latency_s;
      latency_s = std::max(0.0, latency_s - (ends_s_[d] + (all_ends_s - ends_s_[d]) / others) / 2.0);
    }
    constexpr double kMuchLess = 0.6;
    for (auto& [from, to, pair] : measured) {
      if (pair.bytes_per_s >= kMuchLess * model_.link(from, to).bytes_per_s) continue;
      pair.latency_s = std::max(0.0, pair.latency_s - (ends_s_[from] + ends_s_[to]) / 2.0);
      model_.pairs[{from, to}] = pair;
    }
  }

  // Values within 30 % of the group's median become that median: devices in order of the value, then of the name.
  template <class Field>
  void level(const Field& field) {
    constexpr double kSimilar = 1.3;
    std::vector<DeviceModel*> order;
    for (DeviceModel& device : model_.devices) order.push_back(&device);
    std::sort(order.begin(), order.end(), [&](DeviceModel* a, DeviceModel* b) {
      return field(*a) != field(*b) ? field(*a) < field(*b) : a->name < b->name;
    });
    for (std::size_t begin = 0; begin < order.size();) {
      std::size_t end = begin;
      while (end < order.size() && field(*order[end]) <= kSimilar * field(*order[begin])) ++end;
      const double middle = field(*order[begin + (end - begin) / 2]);
      for (std::size_t i = begin; i < end; ++i) field(*order[i]) = middle;
      begin = end;
    }
  }

  // Equal in everything: one kind. Numbered in an order that doesn't depend on how the devices are listed.
  void number_kinds() {
    std::vector<std::size_t> order(model_.devices.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return model_.devices[a].name < model_.devices[b].name; });
    std::vector<std::size_t> representatives;
    for (const std::size_t d : order) {
      DeviceModel& device = model_.devices[d];
      const auto has_pairs = [&](std::size_t x) {
        return std::any_of(model_.pairs.begin(), model_.pairs.end(),
                           [&](const auto& pair) { return pair.first.first == x || pair.first.second == x; });
      };
      const auto equal = [&](std::size_t r) {
        const DeviceModel& other = model_.devices[r];
        return other.times == device.times && other.send == device.send && other.receive == device.receive &&
               other.up_bytes_per_s == device.up_bytes_per_s && other.down_bytes_per_s == device.down_bytes_per_s &&
               other.latency_s == device.latency_s && other.memory_bytes == device.memory_bytes &&
               other.idle_bytes == device.idle_bytes && !has_pairs(r) && !has_pairs(d);
      };
      const auto found = std::find_if(representatives.begin(), representatives.end(), equal);
      device.kind = static_cast<std::size_t>(found - representatives.begin());
      if (found == representatives.end()) representatives.push_back(d);
    }
    model_.kinds = representatives.size();
  }

  const Graph& graph_;
  const Cluster& cluster_;
  const Profile* profile_;
  const ModelDefaults& defaults_;
  ClusterModel model_;
  std::vector<double> ends_s_;  // by device: of an empty message that is sent and received, without being slowed down
};

}  // namespace

PairLink ClusterModel::link(std::size_t from, std::size_t to) const {
  if (!pairs.empty()) {
    if (const auto found = pairs.find({from, to}); found != pairs.end()) return found->second;
  }
  return {std::min(devices[from].up_bytes_per_s, devices[to].down_bytes_per_s), devices[from].latency_s};
}

Expected<ClusterModel> make_cluster_model(const Graph& graph, const Cluster& cluster, const Profile* profile,
                                          const ModelDefaults& defaults) {
  return ModelMaker(graph, cluster, profile, defaults).make();
}

}  // namespace onnx_split
