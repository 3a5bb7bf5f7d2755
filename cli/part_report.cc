#include "cli/part_report.h"

#include <fmt/ranges.h>

#include "base/json.h"
#include "cli/table.h"

namespace onnx_split {
namespace {

std::vector<std::string> device_names(const Plan& plan, const Part& part) {
  std::vector<std::string> names;
  for (const std::size_t device : part.devices) names.push_back(plan.devices[device]);
  return names;
}

// "spatial 2×2", "whole"
std::string split_text(const Stage& stage) {
  std::string text(split_name(stage.split));
  if (stage.split == Split::kSpatial) text += fmt::format(" {}×{}", stage.grid.rows, stage.grid.columns);
  return text;
}

std::string parts_table(const Plan& plan) {
  Table table({">stage", ">part", "split", "devices", "first node", "last node", ">nodes", ">MACs", ">repeated",
               ">weights", ">activations", ">received", ">sent"});
  const auto size = [](std::int64_t bytes) { return human(static_cast<double>(bytes), "B"); };
  for (const PartId id : part_ids(plan)) {
    const Stage& stage = plan.stages[id.stage];
    const Part& part = stage.parts[id.part];
    table.add({std::to_string(id.stage), std::to_string(id.part), split_text(stage),
               fmt::format("{}", fmt::join(device_names(plan, part), ", ")), stage.nodes.front(), stage.nodes.back(),
               std::to_string(stage.nodes.size()), human(static_cast<double>(part.macs)),
               part.repeated_macs == 0 ? "-" : human(static_cast<double>(part.repeated_macs)), size(part.weight_bytes),
               size(part.activation_bytes), size(part.received_bytes), size(part.sent_bytes)});
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
                    {"devices", device_names(plan, part)},
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

}  // namespace

void print_parts(const Plan& plan, bool as_json) {
  if (!as_json) return fmt::print("{}", parts_table(plan));
  fmt::print("{}\n", to_text(Json{{"window", plan.window}, {"parts", parts_to_json(plan)}}, 1));
}

}  // namespace onnx_split
