#include "fleet/link_costs.h"

#include <algorithm>

#include "base/check.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kSmallBytes = 64;
constexpr std::int64_t kAnswerBytes = 8;
constexpr std::int64_t kLargeBytes = 256 << 10;
constexpr std::int64_t kLargerBytes = 1 << 20;

// Each batch's place in link_batches().
enum Batch : std::size_t {
  kSmall,
  kLargePing,
  kLargerPing,
  kLargeAnswer,
  kLargerAnswer,
  kComputing,  // the same, computing
};

double fastest_ms(const PingTimes& times) {
  return *std::min_element(times.round_trip_ms.begin(), times.round_trip_ms.end());
}

double bandwidth_mbps(const PingTimes& large, const PingTimes& larger) {
  const double difference_ms = fastest_ms(larger) - fastest_ms(large);
  const auto bits = [](std::int64_t bytes) { return 8.0 * static_cast<double>(bytes); };
  // 1 bit a nanosecond is 1000 Mbit/s. Where noise hides the difference, the larger one alone is a lower bound.
  if (difference_ms > 0.0) return bits(kLargerBytes - kLargeBytes) / (difference_ms * 1e3);
  return bits(kLargerBytes) / (std::max(fastest_ms(larger), 1e-3) * 1e3);
}

double byte_ns(const std::vector<double>& large_us, const std::vector<double>& larger_us) {
  const double difference_us = median(larger_us) - median(large_us);
  return std::max(0.0, difference_us * 1e3 / static_cast<double>(kLargerBytes - kLargeBytes));
}

// A small ping and its answer are one message sent and one received, which take about the same.
double message_us(const std::vector<double>& busy_us) { return std::max(0.0, median(busy_us) / 2.0); }

}  // namespace

std::vector<PingBatch> link_batches(bool quick) {
  const std::int64_t few = quick ? 3 : 5;
  const std::int64_t many = quick ? 5 : 10;
  std::vector<PingBatch> batches;
  for (const bool computing : {false, true}) {
    batches.push_back({kSmallBytes, kAnswerBytes, many, computing});
    batches.push_back({kLargeBytes, kAnswerBytes, few, computing});
    batches.push_back({kLargerBytes, kAnswerBytes, few, computing});
    batches.push_back({kSmallBytes, kLargeBytes, few, computing});
    batches.push_back({kSmallBytes, kLargerBytes, few, computing});
  }
  return batches;
}

Expected<LinkCosts> link_costs(const std::vector<PingTimes>& times) {
  const std::size_t expected = link_batches(false).size();
  if (times.size() != expected) {
    return fail(ErrorCode::kInvalid, "it pinged with {} sizes: expected {}", times.size(), expected);
  }
  LinkCosts costs;
  costs.latency_ms = fastest_ms(times[kSmall]) / 2.0;
  costs.there_mbps = bandwidth_mbps(times[kLargePing], times[kLargerPing]);
  costs.back_mbps = bandwidth_mbps(times[kLargeAnswer], times[kLargerAnswer]);
  const auto cost = [&](std::vector<double> PingTimes::*busy, Batch large, Batch larger) {
    return MessageCost{message_us(times[kComputing + kSmall].*busy),
                       byte_ns(times[kComputing + large].*busy, times[kComputing + larger].*busy)};
  };
  costs.ping_send = cost(&PingTimes::busy_us, kLargePing, kLargerPing);
  costs.ping_receive = cost(&PingTimes::busy_us, kLargeAnswer, kLargerAnswer);
  costs.peer_send = cost(&PingTimes::peer_busy_us, kLargeAnswer, kLargerAnswer);
  costs.peer_receive = cost(&PingTimes::peer_busy_us, kLargePing, kLargerPing);
  return costs;
}

double median(std::vector<double> numbers) {
  CHECK(!numbers.empty());
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

}  // namespace onnx_split
