// Sends a part's files to a runner, piece by piece ("put", docs/wire.md). Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "fleet/control.h"
#include "onnx_import/export.h"
#include "partition/plan.h"

namespace onnx_split {

// The hash of the files as they will lie there (fleet/part_store.h).
std::string part_hash_of(const ExportedModel& model);

class PartSender {
 public:
  // `sent` hears the size of every piece that the runner has taken, and may give up with an error.
  PartSender(ControlClient& runner, std::uint64_t epoch, PartId part, std::function<Expected<void>(std::uint64_t)> sent)
      : runner_(runner), epoch_(epoch), part_(part), sent_(std::move(sent)) {}

  Expected<void> send_model(const ExportedModel& model);
  // Its pieces with zeros between them, in buffers of kPieceBytes, so that many small constants don't cost a round trip
  // each.
  Expected<void> send_weights(const ExportedModel& model);

 private:
  Expected<void> send(std::string_view file, std::span<const std::byte> bytes, std::uint64_t total);

  ControlClient& runner_;
  std::uint64_t epoch_;
  PartId part_;
  std::function<Expected<void>(std::uint64_t)> sent_;
  std::uint64_t offset_ = 0;
};

}  // namespace onnx_split
