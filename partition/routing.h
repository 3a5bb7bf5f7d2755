// What travels where: the one rule that scatter, gather, halo exchange and the plain pipeline all are. A transfer is
// the intersection of a region that one part owns (or of a network input) and a region that another part needs (or of a
// network output).
//
// Routing is a pure function of the plan, so the coordinator and every runner compute the same transfers with the same
// indices, and any sender knows alone to which devices a request's tensors go.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "partition/plan.h"

namespace onnx_split {

// The shape of one tensor that travels.
struct Transfer {
  ValueRegion what;
  std::optional<PartId> source;   // nothing: the coordinator sends it (a network input)
  std::vector<PartId> consumers;  // parts that need exactly this region of it, in order
  bool to_coordinator = false;    // it is (a piece of) a network output
};

struct Routing {
  std::vector<Transfer> transfers;

  // Indices into transfers.
  std::vector<std::size_t> from(std::optional<PartId> source) const;
  // The pieces of one part's input, in part order of their sources.
  std::vector<std::size_t> pieces_of(PartId consumer, const ValueRegion& input) const;
};

// `outputs`: the names of the network's outputs. Errors where a need isn't covered by what the earlier parts own.
Expected<Routing> make_routing(const Plan& plan, const std::vector<std::string>& inputs,
                               const std::vector<std::string>& outputs);

// The devices that need a transfer of a request, each once, in increasing order.
std::vector<std::size_t> receiving_devices(const Plan& plan, const Transfer& transfer, std::uint64_t request);

}  // namespace onnx_split
