// Frames, as a runner receives them: several, one behind the other, each with its length in two bytes before it. A
// frame that fits the deployment says nothing that isn't in it, and is delivered to the join table, dropped or refused.

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/hash.h"
#include "base/random.h"
#include "fleet/join_table.h"
#include "tests/fuzz/deployment_example.h"
#include "tests/fuzz/fuzz.h"

using namespace onnx_split;

namespace {

constexpr std::size_t kPayloadHashAt = 32;  // docs/wire.md
constexpr std::size_t kHeaderHashAt = 128;

const Deployment& example() {
  static const Expected<Deployment> deployment = fuzz::deployment_of(fuzz::example_plans().back());
  CHECK(deployment.has_value());
  return *deployment;
}

// The first frame of an input; what is left stays in `rest`. Nothing at the end.
std::optional<std::span<const std::byte>> next_frame(std::span<const std::byte>& rest) {
  std::uint16_t length = 0;
  if (rest.size() < sizeof length) return std::nullopt;
  std::memcpy(&length, rest.data(), sizeof length);
  rest = rest.subspan(sizeof length);
  const std::span<const std::byte> frame = rest.first(std::min<std::size_t>(length, rest.size()));
  rest = rest.subspan(frame.size());
  return frame;
}

// Makes both checksums right, without which nothing behind them would ever be reached.
void seal(std::string& frame) {
  if (frame.size() < kFrameHeaderBytes) return;
  const auto put = [&](std::size_t at, std::uint64_t hash) { std::memcpy(frame.data() + at, &hash, sizeof hash); };
  put(kPayloadHashAt, hash64(std::string_view(frame).substr(kFrameHeaderBytes)));
  put(kHeaderHashAt, hash64(std::string_view(frame).substr(0, kHeaderHashAt)));
}

void deliver(const Deployment& deployment, std::span<const std::byte> frame, JoinTable& table, std::size_t device) {
  const Expected<FrameHeader> header = check_frame(deployment, frame);
  if (!header) return;
  CHECK(header->epoch == deployment.epoch);
  std::string sealed(reinterpret_cast<const char*>(frame.data()), frame.size());
  seal_frame(*header, std::as_writable_bytes(std::span(sealed)));
  const Expected<FrameHeader> again = open_frame(std::as_bytes(std::span(sealed)));
  CHECK(again.has_value() && again->region == header->region && again->request == header->request);
  if (header->transfer == kHeartbeat) {
    CHECK(header->value < deployment.plan.devices.size());
    return;
  }
  if (header->transfer == kEnough) {
    CHECK(header->value < deployment.routing.transfers.size());
    table.has_enough(header->request, header->value, header->source_part);
    return;
  }
  CHECK(frame.size() <= deployment.largest_frame_bytes());
  MutableBuffer payload(frame_payload(frame).size());
  std::ranges::copy(frame_payload(frame), payload.bytes().begin());
  const auto& consumers = deployment.routing.transfers[header->transfer].consumers;
  const bool is_needed = std::ranges::any_of(
      consumers, [&](PartId part) { return device_for(deployment.plan, part, header->request) == device; });
  const Expected<Delivery> delivered = table.deliver(header->request, header->transfer, std::move(payload).freeze());
  CHECK(!delivered || !delivered->is_kept || is_needed);
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  Random random(seed);
  if (random.integer(0, 7) == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::vector<std::string> frames;
  std::span<const std::byte> rest = fuzz::bytes_of(data, size);
  while (const auto frame = next_frame(rest)) {
    frames.emplace_back(reinterpret_cast<const char*>(frame->data()), frame->size());
  }
  if (frames.empty()) return LLVMFuzzerMutate(data, size, max_size);
  const auto any = static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(frames.size()) - 1));
  std::string changed = frames[any];
  const std::size_t length = changed.size();
  changed.resize(length + 16);
  changed.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(changed.data()), length, changed.size()));
  seal(changed);
  if (random.integer(0, 3) == 0) {
    frames.push_back(std::move(changed));
  } else {
    frames[any] = std::move(changed);
  }
  std::string made;
  for (const std::string& frame : frames) {
    const auto frame_length = static_cast<std::uint16_t>(frame.size());
    made.append(reinterpret_cast<const char*>(&frame_length), sizeof frame_length).append(frame);
  }
  return fuzz::put_or_mutate(made, data, size, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Deployment& deployment = example();
  for (std::size_t device = 0; device < deployment.plan.devices.size(); ++device) {
    JoinTable table(deployment, device);
    std::span<const std::byte> rest = fuzz::bytes_of(data, size);
    while (const auto frame = next_frame(rest)) deliver(deployment, *frame, table, device);
  }
  return 0;
}
