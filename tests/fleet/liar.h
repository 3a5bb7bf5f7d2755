// A runner whose results can't be right, though it answers everything else, that speaks ill of another, or that falls
// silent when it is told something: a stranger between the coordinator and an honest one, who passes on what both say.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fleet/control.h"
#include "tests/fleet/runners.h"
#include "tests/support/expect.h"
#include "transport/push_pull.h"

namespace onnx_split::testing {

class Liar {
 public:
  // Stands before the runner with this control port.
  explicit Liar(const std::string& control_url) {
    transport::DialOptions options;
    options.max_message_bytes = kMaxControlBytes;
    must(runner_.dial(control_url, options));
    url_ = must(control_.listen("tcp://127.0.0.1:0", kMaxControlBytes));
    answering_ = std::thread([this] { answer(); });
  }
  ~Liar() {
    closing_ = true;
    control_.close();
    runner_.close();
    answering_.join();
    for (auto& [url, way] : ways_) {
      way.from.close();
      way.to.close();
      way.passing.join();
    }
  }
  Liar(const Liar&) = delete;
  Liar& operator=(const Liar&) = delete;

  const std::string& url() const { return url_; }
  void lie() { lies_ = true; }
  void hold_results(bool holds) { holds_ = holds; }
  // The next ping is answered with a failure that this device is to blame for; and that it goes on without it, if it
  // shall say so.
  void blame(std::string device, bool goes_on = false) {
    blamed_ = std::move(device);
    goes_on_ = goes_on;
    blames_ = true;
  }
  // From now on it says that it is in this state.
  void say_state(std::string state) {
    state_ = std::move(state);
    says_state_ = true;
  }
  void say_the_truth() { says_state_ = false; }
  // The next request with this op it refuses.
  void refuse(std::string op, Error with = {ErrorCode::kExhausted, "no"}) {
    refused_ = std::move(op);
    refusal_ = std::move(with);
    may_refuse_ = true;
  }
  // At the next request with this op, for so long or for ever; `then` is called at that moment. Once.
  void fall_silent_at(std::string op, std::function<void()> then = {}, std::chrono::milliseconds how_long = kForEver) {
    silencing_epoch_ = 0;
    fall_silent(std::move(op), std::move(then), how_long);
  }
  // Or of this epoch alone.
  void fall_silent_at_ping_of(std::uint64_t epoch, std::function<void()> then) {
    silencing_epoch_ = epoch;
    fall_silent("ping", std::move(then), kForEver);
  }

 private:
  static constexpr std::chrono::milliseconds kForEver = std::chrono::milliseconds::max();

  void fall_silent(std::string op, std::function<void()> then, std::chrono::milliseconds how_long) {
    silencing_ = std::move(op);
    then_ = std::move(then);
    how_long_ = how_long;
    may_fall_silent_ = true;
  }

  void answer() {
    while (auto request = control_.receive(transport::kForever)) {
      const Json asked = must(decode_control(request->bytes())).json;
      const Json& op = asked.at("op");
      if (may_fall_silent_ && op == silencing_ && (silencing_epoch_ == 0 || asked.at("epoch") == silencing_epoch_)) {
        may_fall_silent_ = false;
        if (then_) then_();
        if (how_long_ == kForEver) return;
        std::this_thread::sleep_for(how_long_);
      }
      if (may_refuse_ && op == refused_) {
        may_refuse_ = false;
        if (!control_.reply(must(encode_control(error_to_json(refusal_))))) return;
        continue;
      }
      const auto reply = runner_.call(std::move(*request), std::chrono::seconds(30));
      if (!reply) return;
      const ControlMessage said = must(decode_control(reply->bytes()));
      Json json = said.json;
      if (says_state_ && op == "ping") json["state"] = state_;
      if (op == "ping" && blames_.exchange(false)) {
        if (goes_on_) json["goes_on"] = true;
        json["failure"] = "it is that one's fault";
        json["blames"] = blamed_;
      }
      if (json.contains("results_url")) {
        const auto url = json["results_url"].get<std::string>();
        if (!url.empty()) json["results_url"] = way_of(url).url;
      }
      if (!control_.reply(must(encode_control(json, said.bytes)))) return;
    }
  }

  // Of an epoch's results.
  struct Way {
    transport::PullSocket from = must(transport::PullSocket::open());
    transport::PushSocket to = must(transport::PushSocket::open());
    std::string url;
    std::thread passing;
  };

  Way& way_of(const std::string& results_url) {
    const auto [place, is_new] = ways_.try_emplace(results_url);
    Way& way = place->second;
    if (!is_new) return way;
    must(way.from.dial(results_url));
    way.url = must(way.to.listen("tcp://127.0.0.1:0"));
    way.passing = std::thread([this, &way] { pass_results_on(way); });
    return way;
  }

  void pass_results_on(Way& way) {
    while (auto result = way.from.receive(transport::kForever)) {
      if (lies_) result->bytes().back() ^= std::byte{1};
      while (holds_ && !closing_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (!way.to.send(std::move(*result), transport::kForever)) return;
    }
  }

  transport::ReplySocket control_ = must(transport::ReplySocket::open());
  transport::RequestSocket runner_ = must(transport::RequestSocket::open());
  std::string url_;
  std::map<std::string, Way> ways_;  // by the honest one's URL
  std::atomic<bool> lies_{false};
  std::atomic<bool> holds_{false};
  std::atomic<bool> closing_{false};
  std::string state_;
  std::atomic<bool> says_state_{false};
  std::string refused_;
  Error refusal_;
  std::atomic<bool> may_refuse_{false};
  std::string blamed_;
  bool goes_on_ = false;
  std::atomic<bool> blames_{false};
  std::string silencing_;
  std::uint64_t silencing_epoch_ = 0;  // any
  std::function<void()> then_;
  std::chrono::milliseconds how_long_{};
  std::atomic<bool> may_fall_silent_{false};
  std::thread answering_;
};

// Any one of these devices may misbehave.
struct Suspects {
  explicit Suspects(std::size_t count, std::uint64_t memory_limit_bytes = 0) : runners(count, memory_limit_bytes) {
    for (const std::string& url : runners.urls()) {
      liars.push_back(std::make_unique<Liar>(url));
      urls.push_back(liars.back()->url());
    }
  }
  Runners runners;
  std::vector<std::unique_ptr<Liar>> liars;
  std::vector<std::string> urls;
};

}  // namespace onnx_split::testing
