#include "fleet/link_costs.h"

#include <algorithm>

#include "base/check.h"

namespace onnx_split {
namespace {

constexpr std::int64_t kSmallBytes = 64;
constexpr std::int64_t kAnswerBytes = 8;
constexpr std::int64_t kPingsOfAGroup = 2;
constexpr std::int64_t kLargeBytes = 256 << 10;
constexpr std::int64_t kLargerBytes = 1 << 20;

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
double message_us(const std::vector<double>& group_us) {
  return std::max(0.0, median(group_us) / static_cast<double>(2 * kPingsOfAGroup));
}

}  // namespace

std::vector<PingBatch> link_batches(bool quick) {
  const std::int64_t few = quick ? 3 : 5;
  const std::int64_t many = quick ? 5 : 10;
  return {{kSmallBytes, kAnswerBytes, many}, {kSmallBytes, kAnswerBytes, many, kPingsOfAGroup},
          {kLargeBytes, kAnswerBytes, few},  {kLargerBytes, kAnswerBytes, few},
          {kSmallBytes, kLargeBytes, few},   {kSmallBytes, kLargerBytes, few}};
}

Expected<LinkCosts> link_costs(const std::vector<PingTimes>& times) {
  const std::size_t expected = link_batches(false).size();
  if (times.size() != expected) {
    return fail(ErrorCode::kInvalid, "it pinged with {} sizes: expected {}", times.size(), expected);
  }
  const PingTimes &small = times[0], &group = times[1];
  const PingTimes &large_ping = times[2], &larger_ping = times[3];
  const PingTimes &large_answer = times[4], &larger_answer = times[5];
  LinkCosts costs;
  costs.latency_ms = fastest_ms(small) / 2.0;
  costs.there_mbps = bandwidth_mbps(large_ping, larger_ping);
  costs.back_mbps = bandwidth_mbps(large_answer, larger_answer);
  const double ping_us = message_us(group.busy_us);
  const double peer_us = message_us(group.peer_busy_us);
  costs.ping_send = {ping_us, byte_ns(large_ping.busy_us, larger_ping.busy_us)};
  costs.ping_receive = {ping_us, byte_ns(large_answer.busy_us, larger_answer.busy_us)};
  costs.peer_send = {peer_us, byte_ns(large_answer.peer_busy_us, larger_answer.peer_busy_us)};
  costs.peer_receive = {peer_us, byte_ns(large_ping.peer_busy_us, larger_ping.peer_busy_us)};
  return costs;
}

double median(std::vector<double> numbers) {
  CHECK(!numbers.empty());
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

}  // namespace onnx_split
