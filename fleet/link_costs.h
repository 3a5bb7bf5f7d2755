// What ping-pong says of messages and links: which sizes to ping with, and the costs that follow. Pure functions.
#pragma once

#include <vector>

#include "fleet/link_probe.h"
#include "partition/profile.h"

namespace onnx_split {

// A small message, for the latency, and two large sizes in each direction: what the larger of them takes longer is the
// bandwidth's, and neither a token bucket's burst nor the time that a message takes whatever its size is in it. Then
// the same while both ends compute, for what messages cost the processors of devices that have something to do: one
// that waits for the bytes is woken for each few of them, at three times the price, and in a virtual machine more.
std::vector<PingBatch> link_batches(bool quick);

// Of the two ends of a link.
struct LinkCosts {
  MessageCost ping_send;  // of the pinging end
  MessageCost ping_receive;
  MessageCost peer_send;  // of the answering end
  MessageCost peer_receive;
  double latency_ms = 0.0;  // half the shortest round trip: the same both ways
  double there_mbps = 0.0;  // from the pinging end to the answering one
  double back_mbps = 0.0;
};

// `times`: of link_batches(), in its order. Errors: too few.
Expected<LinkCosts> link_costs(const std::vector<PingTimes>& times);

double median(std::vector<double> numbers);  // of at least one

}  // namespace onnx_split
