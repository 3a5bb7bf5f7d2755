// The data plane's frame: a fixed header, then the tensor's elements. docs/wire.md describes the bytes.
//
// The header is validated against the deployment (fleet/deployment.h) before the payload is used: nothing in it is
// trusted, and the payload's size follows from the plan, not from the frame.
#pragma once

#include <cstdint>
#include <span>

#include "base/error.h"
#include "graph/layout.h"
#include "graph/region.h"
#include "graph/tensor.h"

namespace onnx_split {

inline constexpr std::uint16_t kFrameVersion = 1;
// A multiple of 16, so that the payload of a received message is aligned for any element type.
inline constexpr std::size_t kFrameHeaderBytes = 144;
inline constexpr std::uint32_t kFromCoordinator = 0xffffffff;
// The transfer of a frame that carries nothing and says that its sender, device number `value`, is there.
inline constexpr std::uint32_t kHeartbeat = 0xffffffff;
// The transfer of a frame that carries nothing and says that its sender, device number `source_part` or
// kFromCoordinator, doesn't need transfer number `value` of the request any more: it has enough of the alternatives.
inline constexpr std::uint32_t kEnough = 0xfffffffe;

// What a header says, decoded.
struct FrameHeader {
  std::uint64_t epoch = 0;
  std::uint64_t request = 0;
  std::uint64_t deadline_us = 0;  // time left when it was sent; 0: none
  std::uint32_t transfer = 0;     // index into the plan's transfers (partition/routing.h)
  std::uint32_t value = 0;        // index into the deployment's values
  std::uint32_t source_stage = kFromCoordinator;
  std::uint32_t source_part = 0;
  DataType type = DataType::kFloat32;
  Layout layout = Layout::kPlain;  // of the payload
  Region region;
};

// Writes the header in front of the payload that `frame` already holds behind it, with checksums over both.
// `frame` is at least kFrameHeaderBytes long.
void seal_frame(const FrameHeader& header, std::span<std::byte> frame);

// Reads and checks a header: length, magic, version, header checksum, enumerators, rank. kInvalid says what is wrong.
Expected<FrameHeader> open_frame(std::span<const std::byte> frame);

// Compares the payload with its checksum. Call it after the header was found to fit.
Expected<void> check_payload(std::span<const std::byte> frame);

std::span<const std::byte> frame_payload(std::span<const std::byte> frame);
std::span<std::byte> frame_payload(std::span<std::byte> frame);

}  // namespace onnx_split
