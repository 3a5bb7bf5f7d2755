#include "fleet/frame.h"

#include <array>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/hash.h"

namespace onnx_split {
namespace {

constexpr std::uint32_t kMagic = 0x3146534f;  // "OSF1"

struct WireRange {
  std::uint32_t begin;
  std::uint32_t end;
};

// The bytes on the wire, little-endian.
struct WireHeader {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t header_bytes;
  std::uint64_t epoch;
  std::uint64_t request;
  std::uint64_t deadline_us;
  std::uint64_t payload_hash;
  std::uint32_t transfer;
  std::uint32_t value;
  std::uint32_t source_stage;
  std::uint32_t source_part;
  std::uint8_t type;
  std::uint8_t layout;
  std::uint8_t rank;
  std::array<std::uint8_t, 5> reserved;
  std::array<WireRange, kMaxRank> ranges;
  std::uint64_t header_hash;  // over everything before it
  std::uint64_t reserved_end;
};
static_assert(sizeof(WireHeader) == kFrameHeaderBytes);
static_assert(std::endian::native == std::endian::little, "frames are little-endian and are copied as they are");

std::uint64_t hash_header(const WireHeader& wire) {
  return hash64(std::as_bytes(std::span(&wire, 1)).first(offsetof(WireHeader, header_hash)));
}

WireHeader read_wire(std::span<const std::byte> frame) {
  WireHeader wire;
  std::memcpy(&wire, frame.data(), sizeof wire);
  return wire;
}

}  // namespace

void seal_frame(const FrameHeader& header, std::span<std::byte> frame) {
  CHECK(frame.size() >= kFrameHeaderBytes && header.region.rank() <= kMaxRank);
  WireHeader wire{};
  wire.magic = kMagic;
  wire.version = kFrameVersion;
  wire.header_bytes = kFrameHeaderBytes;
  wire.epoch = header.epoch;
  wire.request = header.request;
  wire.deadline_us = header.deadline_us;
  wire.payload_hash = hash64(frame_payload(std::span<const std::byte>(frame)));
  wire.transfer = header.transfer;
  wire.value = header.value;
  wire.source_stage = header.source_stage;
  wire.source_part = header.source_part;
  wire.type = static_cast<std::uint8_t>(header.type);
  wire.layout = static_cast<std::uint8_t>(header.layout);
  wire.rank = static_cast<std::uint8_t>(header.region.rank());
  for (std::size_t axis = 0; axis < header.region.rank(); ++axis) {
    const Range& range = header.region[axis];
    wire.ranges[axis] = {static_cast<std::uint32_t>(range.begin), static_cast<std::uint32_t>(range.end)};
  }
  wire.header_hash = hash_header(wire);
  std::memcpy(frame.data(), &wire, sizeof wire);
}

Expected<FrameHeader> open_frame(std::span<const std::byte> frame) {
  if (frame.size() < kFrameHeaderBytes) {
    return fail(ErrorCode::kInvalid, "frame of {} bytes: a header has {}", frame.size(), kFrameHeaderBytes);
  }
  const WireHeader wire = read_wire(frame);
  if (wire.magic != kMagic) return fail(ErrorCode::kInvalid, "not a frame: it begins with {:08x}", wire.magic);
  if (wire.version != kFrameVersion || wire.header_bytes != kFrameHeaderBytes) {
    return fail(ErrorCode::kInvalid, "frame version {}: expected {}", wire.version, kFrameVersion);
  }
  if (wire.header_hash != hash_header(wire)) return fail(ErrorCode::kInvalid, "frame header: checksum mismatch");
  if (wire.type > static_cast<std::uint8_t>(DataType::kBool) ||
      wire.layout > static_cast<std::uint8_t>(Layout::kBlocked) || wire.rank > kMaxRank) {
    return fail(ErrorCode::kInvalid, "frame header: type {}, layout {}, rank {}", wire.type, wire.layout, wire.rank);
  }
  FrameHeader header;
  header.epoch = wire.epoch;
  header.request = wire.request;
  header.deadline_us = wire.deadline_us;
  header.transfer = wire.transfer;
  header.value = wire.value;
  header.source_stage = wire.source_stage;
  header.source_part = wire.source_part;
  header.type = static_cast<DataType>(wire.type);
  header.layout = static_cast<Layout>(wire.layout);
  std::vector<Range> ranges;
  for (std::size_t axis = 0; axis < wire.rank; ++axis) {
    ranges.push_back({wire.ranges[axis].begin, wire.ranges[axis].end});
  }
  header.region = Region(std::move(ranges));
  return header;
}

Expected<void> check_payload(std::span<const std::byte> frame) {
  if (read_wire(frame).payload_hash != hash64(frame_payload(frame))) {
    return fail(ErrorCode::kInvalid, "frame payload: checksum mismatch");
  }
  return {};
}

std::span<const std::byte> frame_payload(std::span<const std::byte> frame) { return frame.subspan(kFrameHeaderBytes); }
std::span<std::byte> frame_payload(std::span<std::byte> frame) { return frame.subspan(kFrameHeaderBytes); }

}  // namespace onnx_split
