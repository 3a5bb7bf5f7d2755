#include "cli/draw_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "cli/plan_figures.h"
#include "cli/plan_words.h"
#include "cli/svg.h"
#include "partition/simulate.h"

namespace onnx_split {
namespace {

constexpr std::size_t kMostLanes = 32;  // of a device each
// So many requests are traced to find one for each replica.
constexpr std::uint64_t kMostTraced = 128;

constexpr double kLeft = 190.0;   // of the time axis
constexpr double kChart = 700.0;  // its width
constexpr double kBarLeft = 930.0;
constexpr double kBar = 130.0;  // 100 %
constexpr double kMemoryRight = 1230.0;
constexpr double kWidth = 1250.0;
constexpr double kTop = 104.0;  // of the coordinator's lane
constexpr double kLane = 34.0;
constexpr double kBlock = 22.0;     // height in the lane
constexpr double kCharacter = 6.4;  // width, about

constexpr std::array kColours = {"#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e4b63a", "#72b7b2",
                                 "#d37295", "#9d755d", "#6a6fb3", "#8cb369", "#c1666b", "#5b8e7d"};
constexpr const char* kAlarm = "#c62828";
constexpr const char* kReceiveFill = "#9fb3c8";
constexpr const char* kComputeFill = "#3d5a80";
constexpr const char* kSendFill = "#c3cfdd";
constexpr const char* kLinkFill = "#e09f3e";
constexpr const char* kInk = "fill=\"#222\"";
constexpr const char* kFaint = "fill=\"#777\" font-size=\"11\"";

// Devices that share a lane; the first stands for them.
struct Lane {
  std::vector<std::size_t> devices;
  std::string name;
};

// Cut behind so many characters of UTF-8.
std::string shortened(const std::string& text, double width) {
  const auto most = static_cast<std::size_t>(std::max(width / kCharacter, 1.0));
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((text[i] & 0xc0) == 0x80) continue;
    if (++characters > most) return text.substr(0, i) + "…";
  }
  return text;
}

double text_width(const std::string& text) {
  return kCharacter *
         static_cast<double>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// 1, 2 or 5 times a power of ten, so that there are some 5 to 10 of it.
double tick_of(double whole) {
  const double rough = whole / 8.0;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double step : {1.0, 2.0, 5.0}) {
    if (step * power >= rough) return step * power;
  }
  return 10.0 * power;
}

// The plan as a later request finds it: as if that were the first.
Plan from_request(Plan plan, std::uint64_t request) {
  for (Stage& stage : plan.stages) {
    const auto shift = static_cast<std::ptrdiff_t>(request % stage.schedule.size());
    std::rotate(stage.schedule.begin(), stage.schedule.begin() + shift, stage.schedule.end());
  }
  return plan;
}

class Drawing {
 public:
  explicit Drawing(const Plan& plan) : plan_(plan) {}

  Expected<std::string> draw() {
    make_lanes();
    TRY(trace());
    const double height = bottom() + 46.0 + kLegendRow * static_cast<double>(plan_.stages.size()) + 16.0;
    Svg svg(kWidth, height);
    draw_head(svg);
    draw_lanes(svg);
    draw_messages(svg);
    constexpr double kPale = 0.5;
    for (const TraceSpan& span : others_) draw_span(svg, span, kPale);
    for (const TraceSpan& span : first_.spans) draw_span(svg, span, 1.0);
    draw_legend(svg);
    return std::move(svg).finish();
  }

 private:
  static constexpr double kLegendRow = 20.0;

  // Request 0, and of the following ones what those lanes do that it leaves empty.
  Expected<void> trace() {
    TRY_ASSIGN(first_, trace_request(plan_));
    std::set<std::size_t> missing;
    std::uint64_t requests = 1;
    for (const Stage& stage : plan_.stages) {
      for (const std::size_t device : stage_devices(stage)) missing.insert(lane_of_[device]);
      requests = std::max<std::uint64_t>(requests, stage.schedule.size());
    }
    latency_s_ = first_.latency_s;
    for (const TraceSpan& span : first_.spans) missing.erase(lane_of_[span.device]);
    for (std::uint64_t r = 1; r < std::min(requests, kMostTraced) && !missing.empty(); ++r) {
      TRY_ASSIGN(const Trace other, trace_request(from_request(plan_, r)));
      for (const TraceSpan& span : other.spans) {
        if (missing.contains(lane_of_[span.device])) others_.push_back(span);
      }
      for (const TraceSpan& span : other.spans) missing.erase(lane_of_[span.device]);
      latency_s_ = std::max(latency_s_, other.latency_s);
    }
    return {};
  }

  void make_lanes() {
    lane_of_.resize(plan_.devices.size());
    std::map<std::vector<std::size_t>, std::size_t> by_stages;
    std::vector<std::vector<std::size_t>> stages(plan_.devices.size());
    for (std::size_t s = 0; s < plan_.stages.size(); ++s) {
      for (const std::size_t device : stage_devices(plan_.stages[s])) stages[device].push_back(s);
    }
    std::vector<std::size_t> order(plan_.devices.size());
    for (std::size_t d = 0; d < order.size(); ++d) order[d] = d;
    // In the order in which they are needed; idle ones at last.
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return !stages[a].empty() && (stages[b].empty() || stages[a].front() < stages[b].front());
    });
    for (const std::size_t d : order) {
      const bool grouped = plan_.devices.size() > kMostLanes;
      const auto [found, is_new] = by_stages.try_emplace(stages[d], lanes_.size());
      if (is_new || !grouped) lanes_.emplace_back();
      lane_of_[d] = grouped ? found->second : lanes_.size() - 1;
      lanes_[lane_of_[d]].devices.push_back(d);
    }
    for (Lane& lane : lanes_) lane.name = short_list(device_names(plan_, lane.devices));
  }

  double lane_top(std::size_t lane) const { return kTop + kLane * static_cast<double>(lane + 1); }
  double lane_middle(std::optional<std::size_t> device) const {
    return (device ? lane_top(lane_of_[*device]) : kTop) + kLane / 2.0;
  }
  double bottom() const { return lane_top(lanes_.size()); }
  double x_of(double seconds) const { return kLeft + (latency_s_ > 0.0 ? seconds / latency_s_ * kChart : 0.0); }
  static const char* colour(std::size_t stage) { return kColours[stage % kColours.size()]; }

  void draw_head(Svg& svg) const {
    const Prediction& p = *plan_.prediction;
    svg.text(24, 36, plan_.model, "font-size=\"22\" font-weight=\"600\" fill=\"#222\"");
    std::string line = fmt::format("{:.4g} requests a second", p.throughput_per_s);
    if (p.single_per_s > 0.0) line += fmt::format(" ({:.2f} times one device)", p.throughput_per_s / p.single_per_s);
    line += fmt::format("  ·  {:.4g} ms for one alone", p.latency_s * 1e3);
    if (p.single_latency_s > 0.0) line += fmt::format(" (one device: {:.4g} ms)", p.single_latency_s * 1e3);
    line += fmt::format("  ·  {} devices  ·  {} stages  ·  {} in flight", plan_.devices.size(), plan_.stages.size(),
                        plan_.window);
    svg.text(24, 58, line, "font-size=\"13\" fill=\"#444\"");
    if (!p.bottleneck.empty()) {
      svg.text(24, 77, fmt::format("bottleneck: {}", p.bottleneck),
               fmt::format("font-size=\"13\" fill=\"{}\"", kAlarm));
    }
    svg.text(kLeft, kTop - 8,
             others_.empty() ? "one request alone" : "one request alone; paler: replicas, with requests of their own",
             kFaint);
    svg.text(kBarLeft, kTop - 24, "busy at full load", kFaint);
    double x = kBarLeft;
    for (const auto& [what, fill] :
         {std::pair{"receive", kReceiveFill}, {"compute", kComputeFill}, {"send", kSendFill}, {"link", kLinkFill}}) {
      svg.rect(x, kTop - 16, 8, 8, fmt::format("fill=\"{}\"", fill));
      svg.text(x + 11, kTop - 8, what, kFaint);
      x += 20.0 + text_width(what);
    }
    svg.text(kMemoryRight, kTop - 8, "memory, MB", kFaint, "end");
  }

  // The lanes' grounds and names, the time axis, and how busy each lane's devices are.
  void draw_lanes(Svg& svg) const {
    for (std::size_t i = 0; i <= lanes_.size(); ++i) {
      const double y = kTop + kLane * static_cast<double>(i);
      if (i % 2 == 1) svg.rect(16, y, kWidth - 32, kLane, "fill=\"#f5f6f8\"");
    }
    const double tick_s = latency_s_ > 0.0 ? tick_of(latency_s_) : 1.0;
    for (double at = 0.0; at <= latency_s_ * (1.0 + 1e-9); at += tick_s) {
      svg.line(x_of(at), kTop, x_of(at), bottom(), "stroke=\"#dfe3e8\"");
      svg.text(x_of(at), bottom() + 16, fmt::format("{:.6g}", at * 1e3), kFaint, "middle");
      if (latency_s_ <= 0.0) break;
    }
    svg.text(kLeft + kChart + 16, bottom() + 16, "ms", kFaint);
    svg.line(kBarLeft + kBar, kTop + kLane, kBarLeft + kBar, bottom(), "stroke=\"#c4cad2\" stroke-dasharray=\"3 3\"");
    svg.text(kBarLeft + kBar, bottom() + 16, "100 %", kFaint, "middle");
    svg.text(kLeft - 12, kTop + kLane / 2 + 4, "coordinator", "fill=\"#777\" font-style=\"italic\"", "end");
    for (std::size_t i = 0; i < lanes_.size(); ++i) draw_lane(svg, i);
  }

  std::size_t busiest(const Lane& lane) const {
    return *std::max_element(lane.devices.begin(), lane.devices.end(), [&](std::size_t a, std::size_t b) {
      return std::max(utilisation(plan_, a), link_utilisation(plan_, a)) <
             std::max(utilisation(plan_, b), link_utilisation(plan_, b));
    });
  }

  void draw_lane(Svg& svg, std::size_t index) const {
    const Lane& lane = lanes_[index];
    const double y = lane_top(index);
    const std::size_t d = busiest(lane);
    const DeviceLoad& load = plan_.prediction->loads[d];
    const bool limits = plan_.prediction->bottleneck.find(fmt::format("device \"{}\"", plan_.devices[d])) == 0;
    const std::string ink = limits ? fmt::format("fill=\"{}\" font-weight=\"600\"", kAlarm) : kInk;
    svg.text(kLeft - 12, y + kLane / 2 + 4, shortened(lane.name, kLeft - 40), ink, "end");
    if (limits) svg.rect(16, y + 3, 4, kLane - 6, fmt::format("fill=\"{}\" rx=\"2\"", kAlarm));

    const double per_s = plan_.prediction->throughput_per_s;
    double x = kBarLeft;
    for (const auto& [seconds, fill] :
         {std::pair{load.receive_s, kReceiveFill}, {load.compute_s, kComputeFill}, {load.send_s, kSendFill}}) {
      const double width = std::min(seconds * per_s * kBar, kBarLeft + kBar * 1.15 - x);
      if (width > 0.0) svg.rect(x, y + 8, width, 12, fmt::format("fill=\"{}\"", limits ? alarm_shade(fill) : fill));
      x += std::max(width, 0.0);
    }
    const double link = std::min(link_utilisation(plan_, d), 1.15);
    if (link > 0.0) svg.rect(kBarLeft, y + 22, link * kBar, 4, fmt::format("fill=\"{}\"", kLinkFill));
    svg.text(kBarLeft + kBar * 1.15 + 8, y + kLane / 2 + 4, fmt::format("{:.0f} %", utilisation(plan_, d) * 100.0),
             ink);
    std::string memory = fmt::format("{:.0f}", static_cast<double>(load.memory_bytes) * 1e-6);
    if (load.memory_limit_bytes > 0) {
      memory += fmt::format(" of {:.0f}", static_cast<double>(load.memory_limit_bytes) * 1e-6);
    }
    svg.text(kMemoryRight, y + kLane / 2 + 4, memory, kInk, "end");
  }

  static const char* alarm_shade(const char* fill) {
    return std::string_view(fill) == kComputeFill ? kAlarm : "#e6a9a9";
  }

  void draw_messages(Svg& svg) const {
    constexpr std::size_t kMany = 100;  // that would be a thicket
    const double opacity = first_.messages.size() > kMany ? 0.3 : 0.7;
    for (const TraceMessage& message : first_.messages) {
      const double x1 = x_of(message.begin_s), x2 = x_of(message.end_s);
      const double y1 = lane_middle(message.from), y2 = lane_middle(message.to);
      if (y1 == y2) continue;  // within a lane
      const double bend = std::max((x2 - x1) / 2.0, 4.0);
      svg.path(fmt::format("M{:.2f} {:.2f}C{:.2f} {:.2f} {:.2f} {:.2f} {:.2f} {:.2f}", x1, y1, x1 + bend, y1, x2 - bend,
                           y2, x2, y2),
               fmt::format("fill=\"none\" stroke=\"#8b95a1\" stroke-opacity=\"{}\"", opacity));
    }
    // Where the request comes from, and where the answer goes to.
    svg.rect(x_of(0.0) - 3, lane_middle({}) - 5, 6, 10, "fill=\"#555\" rx=\"2\"", "the request");
    svg.rect(x_of(first_.latency_s) - 3, lane_middle({}) - 5, 6, 10, "fill=\"#555\" rx=\"2\"", "the answer");
  }

  void draw_span(Svg& svg, const TraceSpan& span, double opacity) const {
    constexpr const char* kKinds[] = {"receives", "computes", "sends"};
    const double x = x_of(span.begin_s);
    const double width = std::max(x_of(span.end_s) - x, 0.6);
    const double y = lane_top(lane_of_[span.device]) + (kLane - kBlock) / 2.0;
    const std::string title =
        fmt::format("{} {} {}: {:.3f} ms", plan_.devices[span.device], kKinds[static_cast<std::size_t>(span.kind)],
                    to_string(span.part), (span.end_s - span.begin_s) * 1e3);
    if (span.kind != TraceSpan::Kind::kCompute) {
      constexpr double kThin = 6.0;
      svg.rect(x, y + kThin, width, kBlock - 2 * kThin,
               fmt::format("fill=\"{}\" fill-opacity=\"{}\"", colour(span.part.stage), 0.45 * opacity), title);
      return;
    }
    svg.rect(x, y, width, kBlock,
             fmt::format("fill=\"{}\" fill-opacity=\"{}\" rx=\"3\"", colour(span.part.stage), opacity), title);
    const Stage& stage = plan_.stages[span.part.stage];
    for (const std::string& label :
         {fmt::format("{}: {}", span.part.stage, layers_text(stage)),
          fmt::format("{}: {}", span.part.stage, stage.nodes.front()), std::to_string(span.part.stage)}) {
      if (text_width(label) + 8 > width) continue;
      svg.text(x + width / 2, y + kBlock / 2 + 4, label,
               fmt::format("fill=\"{}\" pointer-events=\"none\"", opacity < 1.0 ? "#333" : "#fff"), "middle");
      break;
    }
  }

  void draw_legend(Svg& svg) const {
    double y = bottom() + 46.0;
    for (std::size_t s = 0; s < plan_.stages.size(); ++s, y += kLegendRow) {
      const Stage& stage = plan_.stages[s];
      svg.rect(24, y - 10, 12, 12, fmt::format("fill=\"{}\" rx=\"2\"", colour(s)));
      svg.text(44, y, fmt::format("stage {}", s), "fill=\"#222\" font-weight=\"600\"");
      svg.text(kLeft - 70, y, shortened(layers_text(stage), 360), kInk);
      svg.text(520, y, split_text(stage), kInk);
      svg.text(760, y, shortened(short_list(device_names(plan_, stage_devices(stage))), 380), "fill=\"#444\"");
    }
  }

  const Plan& plan_;
  Trace first_;
  std::vector<TraceSpan> others_;  // of devices that don't serve request 0
  double latency_s_ = 0.0;
  std::vector<Lane> lanes_;
  std::vector<std::size_t> lane_of_;  // by device
};

}  // namespace

Expected<std::string> draw_plan(const Plan& plan) {
  TRY(check_prediction(plan));
  return Drawing(plan).draw();
}

}  // namespace onnx_split
