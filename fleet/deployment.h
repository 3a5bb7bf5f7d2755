// What a runner is told: the plan (without the node lists, which only the part files need), which device it is, the
// values' types, and the epoch. From it every runner and the coordinator derive the same transfers.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "fleet/frame.h"
#include "graph/layout.h"
#include "partition/manifest.h"
#include "partition/plan.h"
#include "partition/routing.h"

namespace onnx_split {

struct Deployment {
  std::uint64_t epoch = 0;
  Plan plan;
  std::vector<ManifestValue> values;  // network inputs, cut values, network outputs; frames refer to them by index
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  Routing routing;                            // derived
  std::vector<std::uint32_t> transfer_value;  // derived: for each transfer, the index of its value
  // Derived, for each value: how it lies in payloads, and in the inputs and outputs of parts. In the blocked layout,
  // which is the one that convolutions' kernels have, it needn't be brought into another one at both ends: so does
  // whatever only parts give and read, in full blocks, in a plan whose kernels have that layout. What the coordinator
  // sends or gets, and what there is parity of, is plain.
  std::vector<Layout> value_layout;

  const TensorType& type_of(std::size_t transfer) const { return values[transfer_value[transfer]].type; }
  Layout layout_of(std::string_view value) const;  // of one that there is
  const TensorType* find_value(std::string_view name) const;
  // Bytes of a transfer's payload.
  std::size_t payload_bytes(std::size_t transfer) const;
  std::size_t largest_frame_bytes() const;
  // Messages that a push socket must hold so that sending `transfers` transfers of the whole window never blocks. Where
  // it is full all the same, in a plan with spare parts, the oldest in it is of a request that has been answered
  // without this receiver: a request is sent only when the one a window before has its result. So what doesn't fit may
  // be dropped, for every receiver whose queue is full at once: the latest of those oldest ones was answered without
  // any of them. That holds for one sender, or several that send in the same order, and one transfer to each receiver.
  // Where replicas send in different orders, or a receiver has parts of stages side by side, or a window is more than
  // 8192 (the transport's limit), a request may be dropped for too many; the coordinator sends again what nobody
  // answers.
  int send_queue(std::size_t transfers) const;
  // The parts that a device computes (as any replica).
  std::vector<PartId> parts_of(std::size_t device) const;
  // The devices that need any of these transfers, for whatever request.
  std::set<std::size_t> receivers_of_transfers(std::span<const std::size_t> transfers) const;
  // The devices that a device sends tensors to, and those that send some to it, for whatever request; without itself.
  std::set<std::size_t> receivers_of(std::size_t device) const;
  std::set<std::size_t> senders_to(std::size_t device) const;
  // Who gets a transfer of a request: devices, and kFromCoordinator for the coordinator.
  std::vector<std::uint32_t> receivers_of_transfer(std::size_t transfer, std::uint64_t request) const;
  // How many of a receiver's alternatives each device gives, for whatever request; only devices that give some, and not
  // the receiver itself. Nothing: the coordinator's.
  std::map<std::size_t, std::size_t> alternatives_for(std::optional<std::size_t> receiver) const;
  // The header that a transfer's frame must have, request and deadline left open.
  FrameHeader header_of(std::size_t transfer) const;
};

// Derives the routing and checks that everything fits: values are listed, regions lie inside them and fit a frame.
Expected<Deployment> make_deployment(std::uint64_t epoch, Plan plan, std::vector<ManifestValue> values,
                                     std::vector<std::string> inputs, std::vector<std::string> outputs);

Json deployment_to_json(const Deployment& deployment);
Expected<Deployment> deployment_from_json(const Json& json);

// The frame with which a device says that it is there.
FrameHeader heartbeat_of(const Deployment& deployment, std::size_t device);
// The frame with which a receiver, a device or kFromCoordinator, says that it needs a transfer no more.
FrameHeader enough_of(const Deployment& deployment, std::uint64_t request, std::size_t transfer,
                      std::uint32_t receiver);

// Checks a received frame's header against the deployment: another epoch is kCancelled (to be dropped),
// anything else that doesn't fit is kInvalid. Then the payload's size and checksum.
// Heartbeats, and what says that a receiver has enough, fit where their numbers do.
Expected<FrameHeader> check_frame(const Deployment& deployment, std::span<const std::byte> frame);

}  // namespace onnx_split
