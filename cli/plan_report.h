// What `plan` and `inspect --plan` say of a plan: a row a stage, a row a device, and what it will do. docs/cli.md has
// the columns and the keys.
#pragma once

#include "graph/graph.h"
#include "partition/plan.h"

namespace onnx_split {

struct ReportOptions {
  bool json = false;
  bool parts = false;  // a table of all parts too; JSON always has them
};

// To stdout. The plan must be the graph's (check_plan). An error where its prediction doesn't fit it; without one there
// is less to say.
Expected<void> print_plan(const Graph& graph, const Plan& plan, const ReportOptions& options);

}  // namespace onnx_split
