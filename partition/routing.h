// What travels where: the one rule that scatter, gather, halo exchange and the plain pipeline all are. A transfer is
// what one part owns (or a network input) where it meets what other parts need (or a network output).
//
// Routing is a pure function of the plan, so the coordinator and every runner compute the same transfers with the same
// indices, and any sender knows alone to which devices a request's tensors go.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "partition/plan.h"

namespace onnx_split {

// One tensor that travels. It goes once to each device, whatever number of parts need it there: needs of parts on the
// same device are sent as one box where that isn't more.
struct Transfer {
  ValueRegion what;
  std::optional<PartId> source;   // nothing: the coordinator sends it (a network input)
  std::vector<PartId> consumers;  // parts that need (a region of) it, in order
  bool to_coordinator = false;    // it is (a piece of) a network output
};

// Transfers of which a receiver, who gets them all, needs any `needed`: what the parts of a stage with parity give
// (all but one of them), or what a part and its standby give (one).
struct Alternatives {
  std::vector<std::size_t> transfers;  // the spare one last
  std::size_t needed = 0;
};

struct Routing {
  std::vector<Transfer> transfers;  // in the order of their sources
  std::vector<Alternatives> alternatives;
  std::vector<std::optional<std::size_t>> alternatives_of;  // by transfer; nothing: it is needed

  // Indices into transfers.
  std::vector<std::size_t> from(std::optional<PartId> source) const;
  // The pieces of one part's input, in part order of their sources: the common boxes with the input's region make it
  // up, those of spare parts aside. None: the part is idle, because nobody needs anything of what it gives.
  std::vector<std::size_t> pieces_of(PartId consumer, const ValueRegion& input) const;
};

// `inputs`, `outputs`: the names of the network's. Errors where a need isn't covered by what the earlier stages own.
Expected<Routing> make_routing(const Plan& plan, const std::vector<std::string>& inputs,
                               const std::vector<std::string>& outputs);

// The devices that need a transfer of a request, each once, in increasing order.
std::vector<std::size_t> receiving_devices(const Plan& plan, const Transfer& transfer, std::uint64_t request);

// Sets every part's received_bytes and sent_bytes: the payload of request 0 that crosses from one device to another or
// to the coordinator. What a device receives once for several parts counts for the first of them. An error where the
// plan doesn't fit the graph.
Expected<void> predict_traffic(const Graph& graph, Plan& plan);

}  // namespace onnx_split
