// What `plan` and `inspect --plan` say of a plan's parts.
#pragma once

#include <string>

#include "base/json.h"
#include "partition/plan.h"

namespace onnx_split {

// To stdout, as a table or as {"window": …, "parts": […]}.
void print_parts(const Plan& plan, bool as_json);

// A row a part: its stage, split, devices and nodes, MACs (and how many of them an earlier part computes too), weights,
// activations, and the payload that it receives and sends for a request.
std::string parts_table(const Plan& plan);

// [{"stage", "part", "split", "devices", "first_node", "last_node", "nodes", "macs", "repeated_macs", "weight_bytes",
// "activation_bytes", "received_bytes", "sent_bytes"}…]
Json parts_to_json(const Plan& plan);

}  // namespace onnx_split
