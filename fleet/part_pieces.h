// A part's files, piece by piece: as a coordinator sends them to a runner ("put", docs/wire.md), and as a runner keeps
// what it has cut itself. Pure functions.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "fleet/part_store.h"
#include "onnx_import/export.h"

namespace onnx_split {

// The hash of the files as they will lie in a part store.
std::string part_hash_of(const ExportedModel& model);

using TakePiece = std::function<Expected<void>(PartFile file, std::uint64_t offset, std::uint64_t total,
                                               std::span<const std::byte> piece)>;

// Both files, the model first, in order and in pieces of at most kPieceBytes; an empty file is one empty piece. Weights
// with the zeros between them, so that many small constants don't cost a round trip each. The first error of `take` is
// returned.
Expected<void> for_each_piece(const ExportedModel& model, const TakePiece& take);

}  // namespace onnx_split
