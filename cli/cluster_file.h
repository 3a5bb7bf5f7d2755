// The cluster file for commands that dial its devices: errors of a device name its line.
#pragma once

#include <string>

#include "base/error.h"
#include "partition/cluster.h"

namespace onnx_split {

// As read_cluster_file, and every address can be dialled: kInvalid or kUnsupported with file, line and field.
Expected<Cluster> read_dialable_cluster(const std::string& path);

// An error of dialling a device ("device \"pi2\": tcp://…: …", kUnavailable, kNotFound or kTimeout) with file, line and
// field of its address; any other as it is.
Error with_place(Error error, const Cluster& cluster);

}  // namespace onnx_split
