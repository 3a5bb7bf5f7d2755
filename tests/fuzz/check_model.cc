#include "tests/fuzz/check_model.h"

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "onnx_import/export.h"
#include "onnx_import/import.h"
#include "partition/extract.h"
#include "partition/planner.h"
#include "tests/fuzz/example.h"

namespace onnx_split::fuzz {
namespace {

constexpr std::size_t kLargeBytes = 1 << 18;

bool is_large(const Graph& graph) {
  std::size_t bytes = 0;
  for (const Value& value : graph.values()) bytes += value.constant ? value.constant->buffer().size() : 0;
  return bytes > kLargeBytes;
}

// Without the graph's name: one without a name is written as "graph".
std::string text_of(const Graph& graph) {
  const std::string text = to_text(graph);
  return text.substr(graph.name().size());
}

bool same_constants(const Graph& a, const Graph& b) {
  return std::ranges::all_of(a.values(), [&](const Value& value) {
    if (!value.constant) return true;
    const auto other = b.find_value(value.name);
    return other && b.value(*other).constant &&
           std::ranges::equal(value.constant->view().bytes(), b.value(*other).constant->view().bytes());
  });
}

// Writes and reads; nothing where it can't be written: an attribute that the opset we write has no form for.
std::optional<Graph> there_and_back(const Graph& graph, bool simplified) {
  const auto bytes = export_onnx_bytes(graph);
  if (!bytes) CHECK(bytes.error().code == ErrorCode::kUnsupported);
  if (!bytes) return std::nullopt;
  ImportOptions options;
  options.simplify = simplified;
  auto again = import_onnx_bytes(std::as_bytes(std::span(*bytes)), {}, options);
  if (!again) fmt::print(stderr, "{}\n{}\n", again.error().message, to_text(graph));
  CHECK(again.has_value());
  return std::move(*again);
}

void check_comes_back(const Graph& graph, bool simplified) {
  const auto again = there_and_back(graph, simplified);
  if (!again) return;
  if (text_of(*again) != text_of(graph)) fmt::print(stderr, "{}\n{}\n", to_text(graph), to_text(*again));
  CHECK(text_of(*again) == text_of(graph));
  CHECK(same_constants(graph, *again));
}

// A part's nodes may leave attributes out that importing names: the values are the same, and from then on everything.
void check_part(const Graph& part) {
  const auto again = there_and_back(part, false);
  if (!again) return;
  CHECK(part.value_count() == again->value_count() && part.node_count() == again->node_count());
  for (const Value& value : part.values()) {
    const auto other = again->find_value(value.name);
    CHECK(other && again->value(*other).type == value.type);
  }
  CHECK(same_constants(part, *again));
  check_comes_back(*again, false);
}

}  // namespace

void check_imported(const Graph& graph, unsigned pick) {
  if (is_large(graph)) return;
  check_comes_back(graph, false);
  check_comes_back(graph, true);

  PlanRequest request;
  request.devices = {"pi0", "pi1", "pi2"};
  const auto split = static_cast<Split>(pick % 5);
  if (split != Split::kWhole) {
    StageRequest& stage = request.stages.emplace_back();
    stage.each_layer = true;
    stage.split = split;
    stage.ways = 2 + pick / 5 % 2;
    if (split == Split::kSpatial) stage.grid = {stage.ways, 1};
  }
  const auto plan = make_plan(graph, request);
  if (!plan) return;
  const auto checked = check_plan(*plan, graph);
  if (!checked) fmt::print(stderr, "{}\n{}\n", checked.error().message, to_text(graph));
  CHECK(checked.has_value());
  check_routing_of(*plan, graph);
  const auto parts = extract_parts(graph, *plan);
  if (!parts) fmt::print(stderr, "{}\n{}\n", parts.error().message, to_text(graph));
  CHECK(parts.has_value());
  for (const PartGraph& part : *parts) check_part(part.graph);
}

}  // namespace onnx_split::fuzz
