#include "fleet/link_probe.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "fleet/frame.h"
#include "fleet/machine.h"
#include "transport/url.h"

namespace onnx_split {
namespace {

using Clock = std::chrono::steady_clock;
using transport::Message;
using transport::PullSocket;
using transport::PushSocket;

constexpr std::chrono::milliseconds kConnectTimeout{10000};
constexpr std::chrono::milliseconds kAnswerTimeout{10000};
constexpr std::chrono::milliseconds kLongestPing{2000};  // with the pause before it
constexpr std::size_t kMaxFrameBytes = kFrameHeaderBytes + static_cast<std::size_t>(kMaxProbeBytes);
constexpr std::int64_t kLeastAnswerBytes = sizeof(std::int64_t);  // the answering end's processor time
constexpr std::int64_t kMaxPings = 100;
constexpr std::int64_t kLeastPings = 3;
constexpr std::size_t kMaxBatches = 16;
constexpr double kMaxPauseMs = 1000.0;
constexpr double kMaxBatchSeconds = 30.0;
constexpr double kMaxNumber = 1e12;
constexpr std::size_t kPageBytes = 4096;
constexpr std::uint32_t kShallCompute = 1;  // a ping's source_part where the answering end is to compute

double ms_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double, std::milli>(end - begin).count();
}

// A frame to be sealed. Its memory is touched, as a part's output is when it is computed right into its frame; what it
// costs to fill it is the part's business, and is added to `excluded_ns`.
Expected<Message> fill_frame(std::int64_t payload_bytes, std::int64_t& excluded_ns) {
  TRY_ASSIGN(Message frame, Message::allocate(kFrameHeaderBytes + static_cast<std::size_t>(payload_bytes)));
  const std::span<std::byte> bytes = frame.bytes();
  for (std::size_t at = 0; at < bytes.size(); at += kPageBytes) bytes[at] = std::byte{0};
  const std::int64_t begin = thread_time_ns();
  std::memset(bytes.data(), 0x5a, bytes.size());
  excluded_ns += thread_time_ns() - begin;
  return frame;
}

FrameHeader header_of(std::uint64_t epoch, std::uint64_t number, const Message& frame) {
  FrameHeader header;
  header.epoch = epoch;
  header.request = number;
  header.type = DataType::kBool;  // bytes
  header.region = Region({{0, static_cast<std::int64_t>(frame.size() - kFrameHeaderBytes)}});
  return header;
}

Expected<FrameHeader> check_probe(const Message& frame, std::uint64_t epoch) {
  const std::span<const std::byte> bytes = frame.bytes();
  TRY_ASSIGN(FrameHeader header, open_frame(bytes));
  if (header.epoch != epoch) return fail(ErrorCode::kCancelled, "a frame of epoch {}", header.epoch);
  const std::size_t payload_bytes = bytes.size() - kFrameHeaderBytes;
  const Region expected({{0, static_cast<std::int64_t>(payload_bytes)}});
  if (header.region != expected) {
    return fail(ErrorCode::kInvalid, "a probe's frame of {} with {} bytes", header.region.to_string(), payload_bytes);
  }
  TRY(check_payload(bytes));
  return header;
}

Expected<std::vector<double>> numbers(const JsonReader& reader, std::string_view name) {
  TRY_ASSIGN(const JsonReader list, reader.at(name));
  TRY_ASSIGN(const std::vector<JsonReader> elements, list.elements());
  if (elements.empty()) return list.expected("numbers");
  std::vector<double> result;
  for (const JsonReader& element : elements) {
    TRY_ASSIGN(const double number, element.number(-kMaxNumber, kMaxNumber));
    result.push_back(number);
  }
  return result;
}

// The pinging end's sockets.
class Pinger {
 public:
  static Expected<Pinger> connect(const PingPlan& plan, std::shared_ptr<const transport::TlsIdentity> identity) {
    Pinger pinger(plan);
    transport::DialOptions dial;
    dial.connect_timeout = kConnectTimeout;
    dial.max_message_bytes = kMaxFrameBytes;
    dial.tls = {std::move(identity), transport::Peers::kDevices, plan.device};
    TRY_ASSIGN(pinger.pings_, PushSocket::open());
    TRY(pinger.pings_->dial(plan.urls.pings, dial));
    TRY_ASSIGN(pinger.answers_, PullSocket::open());
    TRY(pinger.answers_->dial(plan.urls.answers, dial));
    return pinger;
  }

  Expected<PingTimes> run(const PingBatch& batch) {
    PingTimes times;
    const auto begin = Clock::now();
    std::int64_t busy_ns = 0;
    std::int64_t peer_busy_ns = 0;
    Companion companion;
    for (std::int64_t i = 0; i <= batch.pings; ++i) {
      if (batch.computing) companion.compute(kLongestPing);
      std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(plan_.pause_ms));
      const std::int64_t busy_before = std::exchange(busy_ns, companion.others_time_ns() - excluded_ns_);
      if (i > 1) times.busy_us.push_back(static_cast<double>(busy_ns - busy_before) * 1e-3);
      TRY_ASSIGN(const Answer answer, ping(batch));
      const std::int64_t peer_before = std::exchange(peer_busy_ns, answer.peer_busy_ns);
      if (i == 0) continue;
      times.round_trip_ms.push_back(answer.round_trip_ms);
      times.peer_busy_us.push_back(static_cast<double>(peer_busy_ns - peer_before) * 1e-3);
      if (i >= kLeastPings && ms_between(begin, Clock::now()) > plan_.max_s * 1e3) break;
    }
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(plan_.pause_ms));
    times.busy_us.push_back(static_cast<double>(companion.others_time_ns() - excluded_ns_ - busy_ns) * 1e-3);
    return times;
  }

 private:
  struct Answer {
    double round_trip_ms = 0.0;
    std::int64_t peer_busy_ns = 0;
  };

  explicit Pinger(const PingPlan& plan) : plan_(plan) {}

  Expected<Answer> ping(const PingBatch& batch) {
    TRY_ASSIGN(Message frame, fill_frame(batch.ping_bytes, excluded_ns_));
    FrameHeader header = header_of(plan_.epoch, ++number_, frame);
    header.value = static_cast<std::uint32_t>(batch.answer_bytes);
    header.source_part = batch.computing ? kShallCompute : 0;
    const auto begin = Clock::now();
    seal_frame(header, frame.bytes());
    TRY(pings_->send(std::move(frame), kAnswerTimeout));
    TRY_ASSIGN(const Message answer, answers_->receive(kAnswerTimeout));
    TRY_ASSIGN(const FrameHeader answered, check_probe(answer, plan_.epoch));
    Answer result{ms_between(begin, Clock::now()), 0};
    const std::span<const std::byte> payload = frame_payload(answer.bytes());
    if (answered.request != number_ || payload.size() != static_cast<std::size_t>(batch.answer_bytes)) {
      return fail(ErrorCode::kInvalid, "answer {} of {} bytes: expected answer {} of {} bytes", answered.request,
                  payload.size(), number_, batch.answer_bytes);
    }
    std::memcpy(&result.peer_busy_ns, payload.data(), sizeof result.peer_busy_ns);
    return result;
  }

  const PingPlan& plan_;
  std::optional<PushSocket> pings_;
  std::optional<PullSocket> answers_;
  std::uint64_t number_ = 0;
  std::int64_t excluded_ns_ = 0;
};

}  // namespace

Expected<std::unique_ptr<LinkAnswerer>> LinkAnswerer::create(const std::string& host, std::uint16_t port,
                                                             std::uint64_t epoch,
                                                             std::shared_ptr<const transport::TlsIdentity> identity) {
  std::unique_ptr<LinkAnswerer> answerer(new LinkAnswerer(epoch));
  transport::Url url{identity ? transport::Scheme::kTlsTcp : transport::Scheme::kTcp, host, port};
  const transport::Tls tls{std::move(identity), transport::Peers::kAll, ""};
  TRY_ASSIGN(answerer->pings_, PullSocket::open());
  answerer->pings_->on_disconnect([raw = answerer.get()](const std::string&) { raw->gone_ = true; });
  TRY_ASSIGN(answerer->urls_.pings, answerer->pings_->listen(url.text(), kMaxFrameBytes, tls));
  url.port = 0;
  TRY_ASSIGN(answerer->answers_, PushSocket::open());
  TRY_ASSIGN(answerer->urls_.answers, answerer->answers_->listen(url.text(), tls));
  answerer->thread_ = std::thread([raw = answerer.get()] { raw->answer_loop(); });
  return answerer;
}

LinkAnswerer::~LinkAnswerer() {
  stopping_ = true;
  if (pings_) pings_->close();
  if (answers_) answers_->close();
  if (thread_.joinable()) thread_.join();
}

void LinkAnswerer::answer_loop() {
  while (!stopping_) {
    auto ping = pings_->receive(transport::kForever);
    if (!ping) return;  // closed
    // One that isn't answered is the pinging end's to notice.
    const auto answered = answer(*ping);
    if (answered || stopping_) continue;
    if (answered.error().code == ErrorCode::kInvalid) {  // no honest one
      pings_->refuse(ping->connection(), answered.error().message);
    } else if (answered.error().code != ErrorCode::kCancelled) {
      log_info("a ping isn't answered: {}", answered.error().message);
    }
  }
}

Expected<void> LinkAnswerer::answer(const Message& ping) {
  TRY_ASSIGN(const FrameHeader header, check_probe(ping, epoch_));
  const auto answer_bytes = static_cast<std::int64_t>(header.value);
  if (answer_bytes < kLeastAnswerBytes || answer_bytes > kMaxProbeBytes) {
    return fail(ErrorCode::kInvalid, "a ping asks for an answer of {} bytes", answer_bytes);
  }
  if (header.source_part == kShallCompute) {
    companion_.compute(kLongestPing);
  } else {
    companion_.stop();
  }
  last_heard_ = Clock::now();
  gone_ = false;  // somebody else
  if (prepared_.size() != kFrameHeaderBytes + static_cast<std::size_t>(answer_bytes)) {
    TRY_ASSIGN(prepared_, fill_frame(answer_bytes, excluded_ns_));
  }
  const std::int64_t busy_ns = companion_.others_time_ns() - excluded_ns_;
  std::memcpy(frame_payload(prepared_.bytes()).data(), &busy_ns, sizeof busy_ns);
  seal_frame(header_of(epoch_, header.request, prepared_), prepared_.bytes());
  TRY(answers_->send(std::move(prepared_), kAnswerTimeout));
  // The next one now, and not while somebody waits for it.
  TRY_ASSIGN(prepared_, fill_frame(answer_bytes, excluded_ns_));
  return {};
}

Expected<std::vector<PingTimes>> ping_link(const PingPlan& plan,
                                           std::shared_ptr<const transport::TlsIdentity> identity) {
  TRY_ASSIGN(Pinger pinger, Pinger::connect(plan, std::move(identity)));
  std::vector<PingTimes> times;
  for (const PingBatch& batch : plan.batches) {
    auto of_batch = pinger.run(batch);
    if (!of_batch) return fail_in(plan.urls.pings, std::move(of_batch.error()));
    times.push_back(std::move(*of_batch));
  }
  return times;
}

Json ping_plan_to_json(const PingPlan& plan) {
  Json batches = Json::array();
  for (const PingBatch& batch : plan.batches) {
    batches.push_back({{"ping_bytes", batch.ping_bytes},
                       {"answer_bytes", batch.answer_bytes},
                       {"pings", batch.pings},
                       {"computing", batch.computing}});
  }
  return {{"epoch", plan.epoch},          {"device", plan.device},
          {"pings_url", plan.urls.pings}, {"answers_url", plan.urls.answers},
          {"pause_ms", plan.pause_ms},    {"max_s", plan.max_s},
          {"batches", std::move(batches)}};
}

Expected<PingPlan> ping_plan_from(const JsonReader& request) {
  PingPlan plan;
  TRY_ASSIGN(const std::int64_t epoch, request.integer("epoch", 1, INT64_MAX));
  plan.epoch = static_cast<std::uint64_t>(epoch);
  TRY_ASSIGN(plan.device, request.string("device"));
  TRY_ASSIGN(plan.urls.pings, request.string("pings_url"));
  TRY_ASSIGN(plan.urls.answers, request.string("answers_url"));
  TRY_ASSIGN(plan.pause_ms, request.number("pause_ms", 0.0, kMaxPauseMs));
  TRY_ASSIGN(plan.max_s, request.number("max_s", 0.0, kMaxBatchSeconds));
  TRY_ASSIGN(const JsonReader list, request.at("batches"));
  TRY_ASSIGN(const std::vector<JsonReader> batches, list.elements());
  if (batches.empty() || batches.size() > kMaxBatches)
    return list.expected(fmt::format("1 to {} batches", kMaxBatches));
  for (const JsonReader& reader : batches) {
    PingBatch batch;
    TRY_ASSIGN(batch.ping_bytes, reader.integer("ping_bytes", 0, kMaxProbeBytes));
    TRY_ASSIGN(batch.answer_bytes, reader.integer("answer_bytes", kLeastAnswerBytes, kMaxProbeBytes));
    TRY_ASSIGN(batch.pings, reader.integer("pings", 1, kMaxPings));
    TRY_ASSIGN(const JsonReader computing, reader.at("computing"));
    TRY_ASSIGN(batch.computing, computing.boolean());
    plan.batches.push_back(batch);
  }
  return plan;
}

Json ping_times_to_json(const std::vector<PingTimes>& times) {
  Json batches = Json::array();
  for (const PingTimes& batch : times) {
    batches.push_back(
        {{"round_trip_ms", batch.round_trip_ms}, {"busy_us", batch.busy_us}, {"peer_busy_us", batch.peer_busy_us}});
  }
  return {{"batches", std::move(batches)}};
}

Expected<std::vector<PingTimes>> ping_times_from(const JsonReader& reply) {
  TRY_ASSIGN(const JsonReader list, reply.at("batches"));
  TRY_ASSIGN(const std::vector<JsonReader> batches, list.elements());
  std::vector<PingTimes> times;
  for (const JsonReader& reader : batches) {
    PingTimes batch;
    TRY_ASSIGN(batch.round_trip_ms, numbers(reader, "round_trip_ms"));
    TRY_ASSIGN(batch.busy_us, numbers(reader, "busy_us"));
    TRY_ASSIGN(batch.peer_busy_us, numbers(reader, "peer_busy_us"));
    times.push_back(std::move(batch));
  }
  return times;
}

}  // namespace onnx_split
