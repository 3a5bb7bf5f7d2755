#include "cli/cluster_file.h"

#include "transport/url.h"

namespace onnx_split {
namespace {

Expected<void> check_address(const std::string& address) {
  TRY_ASSIGN(const transport::Url url, transport::parse_url(address));
  return transport::check_dialable(url);
}

}  // namespace

Expected<Cluster> read_dialable_cluster(const std::string& path) {
  TRY_ASSIGN(Cluster cluster, read_cluster_file(path));
  for (const Device& device : cluster.devices) {
    auto checked = check_address(device.address);
    if (!checked) return fail_in(device.place, std::move(checked.error()));
  }
  return cluster;
}

Error with_place(Error error, const Cluster& cluster) {
  const bool unreachable =
      error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kNotFound || error.code == ErrorCode::kTimeout;
  if (!unreachable) return error;
  for (const Device& device : cluster.devices) {
    if (error.message.starts_with(fmt::format("device \"{}\": {}: ", device.name, device.address)))
      return std::move(error).in(device.place);
  }
  return error;
}

}  // namespace onnx_split
