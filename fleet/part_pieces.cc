#include "fleet/part_pieces.h"

#include <algorithm>
#include <array>
#include <vector>

#include "fleet/control.h"

namespace onnx_split {
namespace {

// At least one, if an empty one.
Expected<void> in_pieces(std::span<const std::byte> bytes,
                         const std::function<Expected<void>(std::uint64_t, std::span<const std::byte>)>& take) {
  std::uint64_t offset = 0;
  do {
    const std::span<const std::byte> piece = bytes.subspan(offset, std::min(bytes.size() - offset, kPieceBytes));
    TRY(take(offset, piece));
    offset += piece.size();
  } while (offset < bytes.size());
  return {};
}

}  // namespace

std::string part_hash_of(const ExportedModel& model) {
  ContentHash of_model;
  of_model.update(std::as_bytes(std::span(model.model)));
  ContentHash of_weights;
  std::uint64_t offset = 0;
  const auto pad_to = [&](std::uint64_t end) {
    static constexpr std::array<std::byte, 4096> kZeros{};
    while (offset < end) {
      const std::uint64_t count = std::min<std::uint64_t>(end - offset, kZeros.size());
      of_weights.update(std::span(kZeros).first(count));
      offset += count;
    }
  };
  for (const ExportedModel::Piece& piece : model.weights) {
    pad_to(piece.offset);
    of_weights.update(piece.data.bytes());
    offset += piece.data.size();
  }
  pad_to(model.weights_bytes);
  return part_hash(of_model, of_weights);
}

Expected<void> for_each_piece(const ExportedModel& model, const TakePiece& take) {
  TRY(in_pieces(std::as_bytes(std::span(model.model)), [&](std::uint64_t offset, std::span<const std::byte> piece) {
    return take(PartFile::kModel, offset, model.model.size(), piece);
  }));
  std::uint64_t offset = 0;
  const auto take_buffer = [&](std::vector<std::byte>& buffer) -> Expected<void> {
    TRY(in_pieces(buffer, [&](std::uint64_t at, std::span<const std::byte> piece) {
      return take(PartFile::kWeights, offset + at, model.weights_bytes, piece);
    }));
    offset += buffer.size();
    buffer.clear();
    return {};
  };
  std::vector<std::byte> buffer;
  for (const ExportedModel::Piece& piece : model.weights) {
    buffer.resize(piece.offset - offset);  // zeros up to it
    std::span<const std::byte> bytes = piece.data.bytes();
    while (!bytes.empty()) {
      const std::size_t room = std::min(bytes.size(), kPieceBytes - std::min(buffer.size(), kPieceBytes));
      buffer.insert(buffer.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(room));
      bytes = bytes.subspan(room);
      if (buffer.size() >= kPieceBytes) TRY(take_buffer(buffer));
    }
  }
  buffer.resize(model.weights_bytes - offset);
  if (buffer.empty() && model.weights_bytes > 0) return {};
  return take_buffer(buffer);
}

}  // namespace onnx_split
