#include "cli/plan_report.h"

#include <algorithm>
#include <optional>

#include "base/json.h"
#include "cli/plan_figures.h"
#include "cli/plan_words.h"
#include "cli/table.h"
#include "graph/operators.h"
#include "partition/simulate.h"

namespace onnx_split {
namespace {

constexpr std::size_t kMostDeviceRows = 16;

std::string size_text(std::int64_t bytes) { return human(static_cast<double>(bytes), "B"); }
std::string ms_text(double seconds) { return fmt::format("{:.2f}", seconds * 1e3); }
std::string megabytes_text(std::int64_t bytes) { return fmt::format("{:.1f}", static_cast<double>(bytes) * 1e-6); }
std::string percent_text(double share) { return fmt::format("{:.0f} %", share * 100.0); }

// Layers with weights and MACs: what people count.
std::size_t weighted_layers(const Graph& graph, const Stage& stage) {
  return static_cast<std::size_t>(std::count_if(stage.nodes.begin(), stage.nodes.end(), [&](const std::string& name) {
    const auto node = graph.find_node(name);
    if (!node) return false;
    const NodeCost cost = node_cost(graph, graph.node(*node));
    return cost.macs > 0 && cost.weight_bytes > 0;
  }));
}

using Figures = std::optional<std::vector<StageFigures>>;

std::string stages_table(const Graph& graph, const Plan& plan, const Figures& figures) {
  Table table({">stage", "layers", ">weighted", "split", "devices", ">compute ms", ">receive ms", ">send ms",
               ">MB a device", ">busy"});
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    const Stage& stage = plan.stages[s];
    std::vector<std::string> row{std::to_string(s), layers_text(stage), std::to_string(weighted_layers(graph, stage)),
                                 split_text(stage), short_list(device_names(plan, stage_devices(stage)))};
    if (figures) {
      const StageFigures& of = (*figures)[s];
      row.insert(row.end(), {ms_text(of.compute_s), ms_text(of.receive_s), ms_text(of.send_s),
                             megabytes_text(of.memory_bytes), percent_text(of.utilisation)});
    } else {
      std::int64_t bytes = 0;
      for (const Part& part : stage.parts) bytes = std::max(bytes, part.weight_bytes + part.activation_bytes);
      row.insert(row.end(), {"-", "-", "-", megabytes_text(bytes), "-"});
    }
    table.add(std::move(row));
  }
  return table.to_string();
}

// A number of each device.
struct DeviceColumn {
  const char* heading;
  double (*of)(const Plan& plan, std::size_t device);
  std::string (*text)(double value);
};

std::string text_of_ms(double seconds) { return ms_text(seconds); }
std::string text_of_percent(double share) { return percent_text(share); }
std::string text_of_bytes(double bytes) { return fmt::format("{:.1f}", bytes * 1e-6); }
const DeviceLoad& load(const Plan& plan, std::size_t device) { return plan.prediction->loads[device]; }

constexpr DeviceColumn kDeviceColumns[] = {
    {">compute ms", [](const Plan& plan, std::size_t d) { return load(plan, d).compute_s; }, text_of_ms},
    {">receive ms", [](const Plan& plan, std::size_t d) { return load(plan, d).receive_s; }, text_of_ms},
    {">send ms", [](const Plan& plan, std::size_t d) { return load(plan, d).send_s; }, text_of_ms},
    {">busy", utilisation, text_of_percent},
    {">link down ms", [](const Plan& plan, std::size_t d) { return load(plan, d).down_s; }, text_of_ms},
    {">link up ms", [](const Plan& plan, std::size_t d) { return load(plan, d).up_s; }, text_of_ms},
    {">link busy", link_utilisation, text_of_percent},
    {">MB", [](const Plan& plan, std::size_t d) { return static_cast<double>(load(plan, d).memory_bytes); },
     text_of_bytes}};

std::string devices_table(const Plan& plan) {
  std::vector<std::string> headings{"device"};
  for (const DeviceColumn& column : kDeviceColumns) headings.emplace_back(column.heading);
  headings.emplace_back(">of MB");
  Table table(headings);
  const std::size_t devices = plan.devices.size();
  if (devices <= kMostDeviceRows) {
    for (std::size_t d = 0; d < devices; ++d) {
      std::vector<std::string> row{plan.devices[d]};
      for (const DeviceColumn& column : kDeviceColumns) row.push_back(column.text(column.of(plan, d)));
      const std::int64_t limit = load(plan, d).memory_limit_bytes;
      row.push_back(limit > 0 ? megabytes_text(limit) : "-");
      table.add(std::move(row));
    }
    return table.to_string();
  }
  for (const auto& [name, place] : {std::pair{"least", 0.0}, {"median", 0.5}, {"most", 1.0}}) {
    std::vector<std::string> row{name};
    const auto pick = [&, at = place](const auto& of) {
      std::vector<double> values;
      for (std::size_t d = 0; d < devices; ++d) values.push_back(of(d));
      std::sort(values.begin(), values.end());
      return values[static_cast<std::size_t>(at * static_cast<double>(devices - 1))];
    };
    for (const DeviceColumn& column : kDeviceColumns) {
      row.push_back(column.text(pick([&](std::size_t d) { return column.of(plan, d); })));
    }
    const double limit = pick([&](std::size_t d) { return static_cast<double>(load(plan, d).memory_limit_bytes); });
    row.push_back(limit > 0.0 ? text_of_bytes(limit) : "-");
    table.add(std::move(row));
  }
  return fmt::format("of {} devices:\n{}", devices, table.to_string());
}

// What it will do, beside one device alone and beside what is possible at all.
std::string summary(const Plan& plan) {
  const Prediction& p = *plan.prediction;
  std::string throughput = fmt::format("throughput  {:.4g} per s", p.throughput_per_s);
  std::string latency = fmt::format("latency     {:.4g} ms for one request alone", p.latency_s * 1e3);
  if (!p.single_device.empty()) {
    const std::string name = fmt::format("device \"{}\" alone{}", p.single_device,
                                         p.single_fits ? "" : " (the network doesn't fit into its memory)");
    throughput += fmt::format("; {}: {:.4g}", name, p.single_per_s);
    if (p.single_per_s > 0.0) throughput += fmt::format(", so {:.2f} times it", p.throughput_per_s / p.single_per_s);
    latency += fmt::format("; {}: {:.4g} ms", name, p.single_latency_s * 1e3);
  }
  if (p.bound_per_s > 0.0) {
    throughput += fmt::format("; no plan is above {:.4g}: a gap of {:.1f} %", p.bound_per_s,
                              (1.0 - p.throughput_per_s / p.bound_per_s) * 100.0);
    latency += fmt::format("; no plan is below {:.4g} ms", p.bound_latency_s * 1e3);
  }
  std::string why = bottleneck_figures(plan);
  if (!why.empty()) why = ": " + why;
  return fmt::format(
      "{}\n{}\nbottleneck  {}{}\nwindow      {} requests in flight\n{}", throughput, latency,
      p.bottleneck.empty() ? "nothing" : p.bottleneck, why, plan.window,
      p.optimal ? "optimal     the search was complete, and nothing better was found outside its space\n" : "");
}

std::string parts_table(const Plan& plan) {
  Table table({">stage", ">part", "devices", ">MACs", ">repeated", ">weights", ">activations", ">received", ">sent"});
  for (const PartId id : part_ids(plan)) {
    const Part& part = plan.stages[id.stage].parts[id.part];
    table.add({std::to_string(id.stage), std::to_string(id.part), short_list(device_names(plan, part.devices)),
               human(static_cast<double>(part.macs)),
               part.repeated_macs == 0 ? "-" : human(static_cast<double>(part.repeated_macs)),
               size_text(part.weight_bytes), size_text(part.activation_bytes), size_text(part.received_bytes),
               size_text(part.sent_bytes)});
  }
  return table.to_string();
}

Json parts_to_json(const Plan& plan) {
  Json list = Json::array();
  for (const PartId id : part_ids(plan)) {
    const Stage& stage = plan.stages[id.stage];
    const Part& part = stage.parts[id.part];
    list.push_back({{"stage", id.stage},
                    {"part", id.part},
                    {"split", split_name(stage.split)},
                    {"devices", device_names(plan, part.devices)},
                    {"first_node", stage.nodes.front()},
                    {"last_node", stage.nodes.back()},
                    {"nodes", stage.nodes.size()},
                    {"macs", part.macs},
                    {"repeated_macs", part.repeated_macs},
                    {"weight_bytes", part.weight_bytes},
                    {"activation_bytes", part.activation_bytes},
                    {"received_bytes", part.received_bytes},
                    {"sent_bytes", part.sent_bytes}});
  }
  return list;
}

Json stages_to_json(const Graph& graph, const Plan& plan, const Figures& figures) {
  Json list = Json::array();
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    const Stage& stage = plan.stages[s];
    Json json = {{"stage", s},
                 {"split", split_name(stage.split)},
                 {"ways", stage.ways()},
                 {"spare", spare_name(stage.spare)},
                 {"grid", {stage.grid.rows, stage.grid.columns}},
                 {"weights", stage.weights},
                 {"replicas", stage.parts.front().devices.size()},
                 {"devices", device_names(plan, stage_devices(stage))},
                 {"first_node", stage.nodes.front()},
                 {"last_node", stage.nodes.back()},
                 {"nodes", stage.nodes.size()},
                 {"weighted_layers", weighted_layers(graph, stage)}};
    if (figures) {
      const StageFigures& of = (*figures)[s];
      json["compute_ms"] = of.compute_s * 1e3;
      json["receive_ms"] = of.receive_s * 1e3;
      json["send_ms"] = of.send_s * 1e3;
      json["memory_bytes"] = of.memory_bytes;
      json["utilisation"] = of.utilisation;
    }
    list.push_back(std::move(json));
  }
  return list;
}

Json devices_to_json(const Plan& plan) {
  Json list = Json::array();
  for (std::size_t d = 0; d < plan.devices.size(); ++d) {
    const DeviceLoad& of = load(plan, d);
    list.push_back({{"device", plan.devices[d]},
                    {"compute_ms", of.compute_s * 1e3},
                    {"receive_ms", of.receive_s * 1e3},
                    {"send_ms", of.send_s * 1e3},
                    {"link_down_ms", of.down_s * 1e3},
                    {"link_up_ms", of.up_s * 1e3},
                    {"memory_bytes", of.memory_bytes},
                    {"memory_limit_bytes", of.memory_limit_bytes},
                    {"utilisation", utilisation(plan, d)},
                    {"link_utilisation", link_utilisation(plan, d)}});
  }
  return list;
}

Json plan_summary_to_json(const Plan& plan) {
  const Prediction& p = *plan.prediction;
  Json json = {{"throughput_per_s", p.throughput_per_s},
               {"latency_ms", p.latency_s * 1e3},
               {"bottleneck", p.bottleneck},
               {"why", bottleneck_figures(plan)},
               {"optimal", p.optimal}};
  if (p.bound_per_s > 0.0) {
    json["bound_per_s"] = p.bound_per_s;
    json["bound_latency_ms"] = p.bound_latency_s * 1e3;
    json["gap"] = 1.0 - p.throughput_per_s / p.bound_per_s;
  }
  if (!p.single_device.empty()) {
    json["single"] = {{"device", p.single_device},
                      {"throughput_per_s", p.single_per_s},
                      {"latency_ms", p.single_latency_s * 1e3},
                      {"fits", p.single_fits}};
  }
  return json;
}

}  // namespace

Expected<void> print_plan(const Graph& graph, const Plan& plan, const ReportOptions& options) {
  Figures figures;
  if (plan.prediction) {
    TRY_ASSIGN(figures, stage_figures(plan));
  }
  if (options.json) {
    Json json = {{"model", plan.model}, {"window", plan.window}};
    if (figures) json["prediction"] = plan_summary_to_json(plan);
    json["stages"] = stages_to_json(graph, plan, figures);
    if (figures) json["devices"] = devices_to_json(plan);
    json["parts"] = parts_to_json(plan);
    fmt::print("{}\n", to_text(json, 1));
    return {};
  }
  fmt::print("{}\n", stages_table(graph, plan, figures));
  if (options.parts) fmt::print("{}\n", parts_table(plan));
  if (figures) {
    fmt::print("{}\n{}", devices_table(plan), summary(plan));
  } else {
    fmt::print("window      {} requests in flight\nThe plan has no prediction of times: let `plan` make it again.\n",
               plan.window);
  }
  return {};
}

}  // namespace onnx_split
