#include "fleet/blame.h"

namespace onnx_split {
namespace {

// What happened before an epoch that lasted this long has nothing to do with its failure.
constexpr std::chrono::seconds kSteady{10};
constexpr unsigned kMaxStrikes = 2;
constexpr unsigned kMaxFailures = 5;

}  // namespace

Blame::Verdict Blame::judge(const Failure& failure, const Record& record) {
  if (failure.error.code == ErrorCode::kCancelled) return {false, {}};
  const bool was_steady = record.lasted > kSteady;
  if (was_steady) strikes_.clear();
  if (record.had_results || (was_steady && record.is_idle)) failures_ = 0;
  std::optional<std::string> without = failure.lost;
  for (const std::optional<std::string>& device : {failure.reporter, failure.suspect}) {
    if (device && ++strikes_[*device] >= kMaxStrikes) without = device;
  }
  if (without) {
    strikes_.clear();
    failures_ = 0;
    return {true, without};
  }
  return {++failures_ < kMaxFailures, {}};
}

void Blame::forget_if_steady(std::chrono::steady_clock::duration lasted) {
  if (lasted <= kSteady) return;
  strikes_.clear();
  failures_ = 0;
}

}  // namespace onnx_split
