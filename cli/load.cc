#include "cli/load.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <queue>
#include <span>
#include <thread>

#include "base/random.h"
#include "cli/interrupt.h"

namespace onnx_split {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

// Waits for results on a thread of its own, so that each is timed when it comes and not when the sender looks. Takes
// them in the order of submission: with replicas a result that overtakes another is timed with it.
class Collector {
 public:
  // `most`: of requests, as far as that is known, so that what is noted of them doesn't move.
  Collector(bool has_deadlines, std::size_t most) : has_deadlines_(has_deadlines) {
    latency_ms_.reserve(most);
    done_.reserve(most);
    thread_ = std::thread([this] { collect(); });
  }
  ~Collector() { finish(); }

  void expect(Clock::time_point begin, std::future<Result> future) {
    const std::scoped_lock lock(mutex_);
    pending_.push({begin, std::move(future)});
    changed_.notify_one();
  }

  void finish() {
    {
      const std::scoped_lock lock(mutex_);
      finished_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

  bool failed() const {
    const std::scoped_lock lock(mutex_);
    return failure_.has_value();
  }

  // After finish().
  std::optional<Error> failure_;
  std::vector<double> latency_ms_;
  std::vector<Clock::time_point> done_;
  std::size_t late_ = 0;

 private:
  struct Pending {
    Clock::time_point begin;
    std::future<Result> future;
  };

  void collect() {
    while (true) {
      Pending next;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return finished_ || !pending_.empty(); });
        if (pending_.empty()) return;
        next = std::move(pending_.front());
        pending_.pop();
      }
      const Result result = next.future.get();
      const Clock::time_point now = Clock::now();
      const std::scoped_lock lock(mutex_);
      if (!result && result.error().code == ErrorCode::kTimeout && has_deadlines_) {
        ++late_;
        continue;
      }
      if (!result && !failure_) failure_ = result.error();
      done_.push_back(now);
      latency_ms_.push_back(milliseconds(now - next.begin));
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::queue<Pending> pending_;
  bool finished_ = false;
  const bool has_deadlines_;
  std::thread thread_;
};

std::size_t expected_requests(const LoadOptions& options) {
  constexpr std::size_t kMost = 10'000'000;
  if (options.requests > 0) return std::min(options.requests, kMost);
  if (options.scenario != Scenario::kServer) return 0;
  return static_cast<std::size_t>(std::min(options.rate_per_s * options.duration_s * 1.1, static_cast<double>(kMost)));
}

// Poisson arrivals: exponential times between them.
class Arrivals {
 public:
  Arrivals(const LoadOptions& options, Clock::time_point begin)
      : random_(options.seed), rate_per_s_(options.rate_per_s), next_(begin) {}

  Clock::time_point next() {
    const double seconds = -std::log(1.0 - static_cast<double>(random_.uniform())) / rate_per_s_;
    next_ += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    return next_;
  }

 private:
  Random random_;
  double rate_per_s_;
  Clock::time_point next_;
};

// Results over time without the first window of them, while the fleet fills, and the last, while it drains. Nothing
// where too few are left to say anything (scripts/cluster-benchmark.d/record.py waits for so many).
std::optional<double> full_rate(const std::vector<Clock::time_point>& done, std::size_t window, std::size_t round) {
  if (done.size() < 3 * window + 2) return std::nullopt;
  std::vector<double> done_s;
  for (const Clock::time_point time : done) done_s.push_back(milliseconds(time - done.front()) * 1e-3);
  return steady_rate(std::span(done_s).subspan(window, done.size() - 2 * window), round);
}

}  // namespace

double LoadReport::mean_ms() const {
  return std::accumulate(latency_ms.begin(), latency_ms.end(), 0.0) / static_cast<double>(latency_ms.size());
}

double LoadReport::percentile_ms(double percent) const {
  const double rank = std::ceil(percent / 100.0 * static_cast<double>(latency_ms.size()));
  return latency_ms[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

Expected<LoadReport> generate_load(Backend& backend, const std::vector<std::vector<Tensor>>& inputs,
                                   const LoadOptions& options, std::size_t warm_up) {
  for (std::size_t i = 0; i < warm_up; ++i)
    TRY(backend.submit(inputs[i % inputs.size()], Coordinator::kNoDeadline).get());

  const bool has_deadlines = options.deadline.count() > 0.0;
  Collector collector(has_deadlines, expected_requests(options));
  const Clock::time_point begin = Clock::now();
  const auto end =
      begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.duration_s));
  Arrivals arrivals(options, begin);
  std::size_t sent = 0;
  std::size_t refused = 0;
  while (!collector.failed() && !interrupted()) {
    if (options.requests > 0 ? sent == options.requests : Clock::now() >= end) break;
    Clock::time_point at = Clock::now();
    if (options.scenario == Scenario::kServer) {
      at = arrivals.next();
      std::this_thread::sleep_until(at);
    }
    const Clock::time_point deadline =
        has_deadlines ? at + std::chrono::duration_cast<Clock::duration>(options.deadline) : Coordinator::kNoDeadline;
    const std::vector<Tensor>& input = inputs[sent++ % inputs.size()];
    auto submitted = options.refuse ? backend.try_submit(input, deadline)
                                    : Expected<std::future<Result>>(backend.submit(input, deadline));
    if (!submitted && submitted.error().code == ErrorCode::kExhausted) {
      ++refused;
      continue;
    }
    std::future<Result> future =
        submitted ? std::move(*submitted) : ready(tl::unexpected(std::move(submitted.error())));
    if (options.scenario == Scenario::kSingleStream) future.wait();
    collector.expect(at, std::move(future));
  }
  collector.finish();
  if (collector.failure_) return tl::unexpected(std::move(*collector.failure_));
  TRY(check_interrupted());
  if (sent == 0) return fail(ErrorCode::kInvalid, "no request was made in {} s", options.duration_s);
  LoadReport report;
  report.refused = refused;
  report.late = collector.late_;
  report.requests = collector.done_.size();
  if (report.requests == 0) {
    return fail(ErrorCode::kTimeout, "none of {} requests was answered in time ({} refused)", sent, refused);
  }
  report.throughput_per_s =
      static_cast<double>(report.requests) / (milliseconds(collector.done_.back() - begin) * 1e-3);
  if (options.scenario == Scenario::kOffline) {
    report.steady_per_s = full_rate(collector.done_, backend.window(), backend.round());
  }
  report.latency_ms = std::move(collector.latency_ms_);
  std::sort(report.latency_ms.begin(), report.latency_ms.end());
  return report;
}

}  // namespace onnx_split
