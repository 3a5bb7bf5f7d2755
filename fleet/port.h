// An input or an output of a part: a tensor that is put together from the transfers that carry its pieces, or cut into
// them. Where one transfer carries exactly the tensor, that transfer's payload is the tensor and nothing is copied;
// otherwise the port holds the tensor. Not thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "fleet/assemble.h"
#include "fleet/deployment.h"

namespace onnx_split {

class Port {
 public:
  struct Piece {
    std::size_t transfer = 0;
    Region region;
    TensorType type;  // of the region
  };

  // Of a part that the deployment has; `what` is one of its inputs, or its outputs.
  static Port input(const Deployment& deployment, PartId part, const ValueRegion& what);
  static Port output(const Deployment& deployment, PartId part, const ValueRegion& what);

  const TensorType& type() const { return type_; }
  const std::vector<Piece>& pieces() const { return pieces_; }
  // The index of the piece that is the tensor.
  std::optional<std::size_t> direct() const { return direct_; }

  // Memory that the port holds after reserve().
  std::size_t held_bytes() const { return direct_ ? 0 : type_.size_bytes(); }
  void reserve() { held_ = MutableBuffer(held_bytes()); }
  MutableTensorView held() { return {type_, held_.bytes().data()}; }

  // One piece on its way in, each once and in order. Addends are summed in that order.
  void take(std::size_t piece, const std::byte* payload);
  // One piece on its way out.
  void give(const TensorView& tensor, std::size_t piece, std::byte* payload) const;

 private:
  Port(const Deployment& deployment, const ValueRegion& what, const std::vector<std::size_t>& transfers);

  Region region_;
  Combine combine_ = Combine::kPlace;  // of the pieces
  TensorType type_;
  std::vector<Piece> pieces_;
  std::optional<std::size_t> direct_;
  MutableBuffer held_{0};
};

}  // namespace onnx_split
