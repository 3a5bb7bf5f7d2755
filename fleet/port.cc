#include "fleet/port.h"

#include <algorithm>

#include "base/check.h"

namespace onnx_split {
namespace {

Port::Piece piece_of(const Deployment& deployment, std::size_t transfer) {
  const Region& region = deployment.routing.transfers[transfer].what.region;
  const Layout layout = deployment.value_layout[deployment.transfer_value[transfer]];
  return {transfer, in_layout(region, layout), {deployment.type_of(transfer).type, region.shape()}, {}};
}

}  // namespace

Port Port::input(const Deployment& deployment, PartId part, const ValueRegion& what) {
  Port port(deployment, what, deployment.routing.pieces_of(part, what));
  const bool is_one_piece = port.pieces_.size() == 1 && port.pieces_[0].region == port.region_;
  if (is_one_piece) port.direct_ = 0;
  return port;
}

Port Port::output(const Deployment& deployment, PartId part, const ValueRegion& what) {
  std::vector<std::size_t> transfers = deployment.routing.from(part);
  std::erase_if(transfers, [&](std::size_t i) { return deployment.routing.transfers[i].what.value != what.value; });
  Port port(deployment, what, {});
  for (const std::size_t transfer : transfers) port.pieces_.push_back(piece_of(deployment, transfer));
  const auto all = std::find_if(port.pieces_.begin(), port.pieces_.end(),
                                [&](const Piece& piece) { return piece.region == port.region_; });
  if (all != port.pieces_.end()) port.direct_ = static_cast<std::size_t>(all - port.pieces_.begin());
  return port;
}

Port Port::result(const Deployment& deployment, const std::string& name) {
  std::vector<std::size_t> transfers;
  for (std::size_t i = 0; i < deployment.routing.transfers.size(); ++i) {
    const Transfer& transfer = deployment.routing.transfers[i];
    if (transfer.to_coordinator && transfer.what.value == name) transfers.push_back(i);
  }
  Port port(deployment, {name, Region::whole(deployment.find_value(name)->shape), Combine::kPlace}, transfers);
  if (port.pieces_.size() == 1) port.direct_ = 0;
  return port;
}

Port::Port(const Deployment& deployment, const ValueRegion& what, const std::vector<std::size_t>& transfers)
    : layout_(deployment.layout_of(what.value)), region_(in_layout(what.region, layout_)) {
  type_ = {deployment.find_value(what.value)->type, what.region.shape()};
  const Routing& routing = deployment.routing;
  for (const std::size_t transfer : transfers) {
    const Combine combine = routing.transfers[transfer].what.combine;
    if (combine == Combine::kParity) {
      parity_ = piece_of(deployment, transfer);
      continue;
    }
    const auto group = routing.alternatives_of[transfer];
    const std::size_t first = group ? routing.alternatives[*group].transfers.front() : transfer;
    const auto twin = std::find_if(pieces_.begin(), pieces_.end(), [&](const Piece& p) { return p.transfer == first; });
    if (group && routing.alternatives[*group].needed == 1 && twin != pieces_.end()) {
      twin->standby = transfer;
      continue;
    }
    combine_ = combine;
    pieces_.push_back(piece_of(deployment, transfer));
  }
}

std::size_t Port::decoded_bytes() const {
  std::size_t largest = 0;
  for (const Piece& piece : pieces_) largest = std::max(largest, piece.type.size_bytes());
  return parity_ ? largest : 0;
}

void Port::reserve() {
  // Zeroed, so that the pages are here before the first request is.
  if (!direct_) held_ = MutableBuffer(type_.size_bytes(), true);
  decoded_ = MutableBuffer(decoded_bytes(), true);
}

const std::byte* Port::payload(std::size_t piece, const Payloads& payloads) const {
  const std::byte* own = payloads(pieces_[piece].transfer);
  return own == nullptr && pieces_[piece].standby ? payloads(*pieces_[piece].standby) : own;
}

void Port::put_together(const Payloads& payloads, MutableTensorView tensor) {
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const std::byte* own = payload(i, payloads);
    if (own == nullptr) {
      decode_piece(i, payloads, tensor);
    } else {
      take_piece({pieces_[i].region, {pieces_[i].type, own}}, combine_, i == 0, {region_, tensor});
    }
  }
}

void Port::decode_piece(std::size_t lost, const Payloads& payloads, MutableTensorView tensor) {
  CHECK(parity_.has_value());
  std::vector<RegionView> others;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (i != lost) others.push_back({pieces_[i].region, {pieces_[i].type, payload(i, payloads)}});
  }
  const Piece& piece = pieces_[lost];
  const MutableTensorView decoded{piece.type, decoded_.bytes().data()};
  decode({parity_->region, {parity_->type, payloads(parity_->transfer)}}, others, {piece.region, decoded});
  place({piece.region, {piece.type, decoded_.bytes().data()}}, {region_, tensor});
}

void Port::give(const TensorView& tensor, std::size_t piece, std::byte* payload) const {
  place({region_, tensor}, {pieces_[piece].region, {pieces_[piece].type, payload}});
}

}  // namespace onnx_split
