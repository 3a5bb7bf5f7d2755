// What `plan` and `inspect --plan` say of a plan's parts.
#pragma once

#include "partition/plan.h"

namespace onnx_split {

// To stdout. As a table, a row a part: its stage, split, devices and nodes, MACs (and how many of them an earlier part
// computes too), weights, activations, and the payload that it receives and sends for a request. As JSON: {"window",
// "parts": [{"stage", "part", "split", "devices", "first_node", "last_node", "nodes", "macs", "repeated_macs",
// "weight_bytes", "activation_bytes", "received_bytes", "sent_bytes"}…]}
void print_parts(const Plan& plan, bool as_json);

}  // namespace onnx_split
