#include "fleet/part_sender.h"

#include <algorithm>
#include <array>
#include <vector>

#include "fleet/part_store.h"

namespace onnx_split {

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

Expected<void> PartSender::send(std::string_view file, std::span<const std::byte> bytes, std::uint64_t total) {
  do {
    const std::span<const std::byte> piece = bytes.first(std::min(bytes.size(), kPieceBytes));
    TRY(runner_.call("put",
                     {{"epoch", epoch_},
                      {"stage", part_.stage},
                      {"part", part_.part},
                      {"file", file},
                      {"offset", offset_},
                      {"total", total}},
                     piece));
    offset_ += piece.size();
    TRY(sent_(piece.size()));
    bytes = bytes.subspan(piece.size());
  } while (!bytes.empty());
  return {};
}

Expected<void> PartSender::send_model(const ExportedModel& model) {
  offset_ = 0;
  const auto bytes = std::as_bytes(std::span(model.model));
  return send("model", bytes, bytes.size());
}

Expected<void> PartSender::send_weights(const ExportedModel& model) {
  offset_ = 0;
  std::vector<std::byte> buffer;
  for (const ExportedModel::Piece& piece : model.weights) {
    buffer.resize(piece.offset - offset_);
    std::span<const std::byte> bytes = piece.data.bytes();
    while (!bytes.empty()) {
      const std::size_t room = std::min(bytes.size(), kPieceBytes - std::min(buffer.size(), kPieceBytes));
      buffer.insert(buffer.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(room));
      bytes = bytes.subspan(room);
      if (buffer.size() < kPieceBytes) continue;
      TRY(send("weights", buffer, model.weights_bytes));
      buffer.clear();
    }
  }
  buffer.resize(model.weights_bytes - offset_);
  if (buffer.empty() && model.weights_bytes > 0) return {};
  return send("weights", buffer, model.weights_bytes);
}

}  // namespace onnx_split
