#include "fleet/port.h"

#include <algorithm>

#include "base/check.h"

namespace onnx_split {

Port Port::input(const Deployment& deployment, PartId part, const ValueRegion& what) {
  Port port(deployment, what, deployment.routing.pieces_of(part, what));
  const bool is_one_piece = port.pieces_.size() == 1 && port.pieces_[0].region == what.region;
  if (is_one_piece) port.direct_ = 0;
  return port;
}

Port Port::output(const Deployment& deployment, PartId part, const ValueRegion& what) {
  std::vector<std::size_t> transfers = deployment.routing.from(part);
  std::erase_if(transfers, [&](std::size_t i) { return deployment.routing.transfers[i].what.value != what.value; });
  Port port(deployment, what, transfers);
  const auto all = std::find_if(port.pieces_.begin(), port.pieces_.end(),
                                [&](const Piece& piece) { return piece.region == what.region; });
  if (all != port.pieces_.end()) port.direct_ = static_cast<std::size_t>(all - port.pieces_.begin());
  return port;
}

Port::Port(const Deployment& deployment, const ValueRegion& what, const std::vector<std::size_t>& transfers)
    : region_(what.region) {
  const TensorType* value = deployment.find_value(what.value);
  CHECK(value != nullptr);
  type_ = {value->type, region_.shape()};
  for (const std::size_t transfer : transfers) {
    const ValueRegion& carried = deployment.routing.transfers[transfer].what;
    combine_ = carried.combine;
    pieces_.push_back({transfer, carried.region, {value->type, carried.region.shape()}});
  }
}

void Port::take(std::size_t piece, const std::byte* payload) {
  take_piece({pieces_[piece].region, {pieces_[piece].type, payload}}, combine_, piece == 0, {region_, held()});
}

void Port::give(const TensorView& tensor, std::size_t piece, std::byte* payload) const {
  place({region_, tensor}, {pieces_[piece].region, {pieces_[piece].type, payload}});
}

}  // namespace onnx_split
