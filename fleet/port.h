// An input or an output of a part: a tensor that is put together from the transfers that carry its pieces, or cut into
// them. Where one transfer carries exactly the tensor, that transfer's payload is the tensor and nothing is copied;
// otherwise the port holds the tensor. Not thread-safe.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "fleet/assemble.h"
#include "fleet/deployment.h"

namespace onnx_split {

class Port {
 public:
  struct Piece {
    std::size_t transfer = 0;
    Region region;                       // in the port's layout
    TensorType type;                     // of the region
    std::optional<std::size_t> standby;  // a transfer that carries the same
  };
  // Gives a transfer's payload, or null where it hasn't come.
  using Payloads = std::function<const std::byte*(std::size_t transfer)>;

  // Of a part that the deployment has; `what` is one of its inputs, or its outputs.
  static Port input(const Deployment& deployment, PartId part, const ValueRegion& what);
  static Port output(const Deployment& deployment, PartId part, const ValueRegion& what);
  // An output of the network's, as the coordinator gets it.
  static Port result(const Deployment& deployment, const std::string& name);

  const TensorType& type() const { return type_; }
  Layout layout() const { return layout_; }  // of the tensor and of the payloads
  // Without spare ones.
  const std::vector<Piece>& pieces() const { return pieces_; }
  // The index of the piece that is the tensor.
  std::optional<std::size_t> direct() const { return direct_; }
  // The payload of a piece or of its standby.
  const std::byte* payload(std::size_t piece, const Payloads& payloads) const;

  // Memory that the port holds after reserve().
  std::size_t held_bytes() const { return (direct_ ? 0 : type_.size_bytes()) + decoded_bytes(); }
  void reserve();
  MutableTensorView held() { return {type_, held_.bytes().data()}; }

  // Puts the tensor together, once as many payloads are there as it takes: with parity, all but one. Addends are summed
  // in part order.
  void put_together(const Payloads& payloads, MutableTensorView tensor);
  // One piece on its way out.
  void give(const TensorView& tensor, std::size_t piece, std::byte* payload) const;

 private:
  Port(const Deployment& deployment, const ValueRegion& what, const std::vector<std::size_t>& transfers);
  std::size_t decoded_bytes() const;
  void decode_piece(std::size_t lost, const Payloads& payloads, MutableTensorView tensor);

  Layout layout_ = Layout::kPlain;
  Region region_;                      // in that
  Combine combine_ = Combine::kPlace;  // of the pieces
  TensorType type_;
  std::vector<Piece> pieces_;
  std::optional<Piece> parity_;
  std::optional<std::size_t> direct_;
  MutableBuffer held_{0};
  MutableBuffer decoded_{0};  // a piece
};

}  // namespace onnx_split
