// What a peer that means harm, or is out of its mind, can do to a runner at tls+tcp://, one kind after the other, and
// what the runner's log must say of it.
#pragma once

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "base/random.h"
#include "fleet/control.h"
#include "fleet/deployment.h"
#include "partition/manifest.h"
#include "tests/fleet/runners.h"
#include "tests/support/certificates.h"
#include "tests/support/expect.h"
#include "tests/support/stranger.h"

namespace onnx_split::testing {

// nng's greeting, with the number of a protocol.
inline std::array<unsigned char, 8> greeting(unsigned char protocol) { return {0, 'S', 'P', 0, 0, protocol, 0, 0}; }

// Runners with certificates, and what it takes to disturb one of them. Device certificates are in the peer's hands, the
// coordinator's only where an attack is about who says what.
class HostileScene {
 public:
  explicit HostileScene(std::size_t runners)
      : boss_(ours_.identity("boss", Authorities::Kind::kCoordinator)),
        runners_(runners, 0, std::chrono::seconds(10), 0,
                 [&](const std::string& name) { return ours_.identity(name, Authorities::Kind::kDevice); }) {
    ours_.write("mole", Authorities::Kind::kDevice);
    ours_.write("old", Authorities::Kind::kDevice, std::chrono::days(-2));
    theirs_.write("mole", Authorities::Kind::kDevice);
    const auto text = [](const std::filesystem::path& file) { return must(read_file(file, 1 << 16)); };
    const std::string two = text(theirs_.authorities());
    must(write_file(theirs_.certificate("chain"), text(theirs_.certificate("mole")) + two + two));
  }

  const std::shared_ptr<const transport::TlsIdentity>& boss() const { return boss_; }
  std::vector<std::string> urls() const { return runners_.urls(); }

  // Once something is deployed: learns the victim's addresses and epoch. The plan must be the deployed one.
  void look_at(const Graph& graph, const Plan& plan, std::size_t victim) {
    victim_ = plan.devices[victim];
    control_url_ = runners_.urls()[victim];
    const Json status = must(control().call("status", Json::object()));
    data_url_ = status.at("data_url").get<std::string>();
    const Manifest manifest = make_manifest(graph, plan);
    deployment_ = must(make_deployment(status.at("epoch").get<std::uint64_t>(), plan, manifest.values, manifest.inputs,
                                       manifest.outputs));
    // One that the victim gets.
    for (std::size_t t = 0; t < deployment_.routing.transfers.size(); ++t) {
      const std::array one{t};
      if (deployment_.receivers_of_transfers(one).contains(victim)) transfer_ = t;
    }
  }

  const std::string& control_url() const { return control_url_; }
  const std::string& data_url() const { return data_url_; }
  ControlClient control() const {
    return must(ControlClient::connect(victim_, control_url_, std::chrono::seconds(10), boss_));
  }
  StrangerCertificate mole() const { return {ours_.certificate("mole"), ours_.key("mole")}; }
  StrangerCertificate old() const { return {ours_.certificate("old"), ours_.key("old")}; }
  StrangerCertificate of_another_authority() const { return {theirs_.certificate("mole"), theirs_.key("mole")}; }
  StrangerCertificate with_a_long_chain() const { return {theirs_.certificate("chain"), theirs_.key("mole")}; }

  // A tensor's frame that the victim would take, of request 0, with other numbers in it.
  FrameHeader header() const { return deployment_.header_of(transfer_); }
  std::size_t payload_bytes() const { return deployment_.payload_bytes(transfer_); }

  // With a device's certificate, to the data port; by a peer of its own making, so that what it computes is on this
  // thread.
  void push(const FrameHeader& header, const std::function<void(std::span<std::byte>)>& change = {}) const {
    std::vector<std::byte> frame(kFrameHeaderBytes + payload_bytes(), std::byte{7});
    seal_frame(header, frame);
    if (change) change(frame);
    TlsStranger stranger(data_url_, mole());
    EXPECT_TRUE(stranger.shaken());
    stranger.say(greeting(0x30));
    // nng's length, and the header of a pipe's message (docs/wire.md).
    std::array<unsigned char, 8 + transport::kPipeHeaderBytes> before{};
    const std::uint64_t length = transport::kPipeHeaderBytes + frame.size();
    for (std::size_t i = 0; i < 8; ++i) before[i] = static_cast<unsigned char>(length >> (56 - 8 * i));
    before[8 + transport::kPipeHeaderBytes - sizeof(std::uint32_t)] = 0x80;
    stranger.say(before);
    stranger.say({reinterpret_cast<const unsigned char*>(frame.data()), frame.size()});
    stranger.is_cut_off(50);  // or, where the frame is only dropped, time for it to arrive
  }

 private:
  Authorities ours_;
  Authorities theirs_;
  std::shared_ptr<const transport::TlsIdentity> boss_;
  Runners runners_;
  std::string victim_;
  std::string control_url_;
  std::string data_url_;
  Deployment deployment_;
  std::size_t transfer_ = 0;
};

struct Attack {
  std::string name;
  std::string logged;  // in one line
  // What it returns is kept until the end.
  std::function<std::shared_ptr<void>(const HostileScene&)> act;
};

inline void PrintTo(const Attack& attack, std::ostream* out) { *out << attack.name; }

inline void shake_hands(const std::string& url, const StrangerCertificate& certificate) {
  const TlsStranger stranger(url, certificate);
  EXPECT_FALSE(stranger.shaken());
}

inline const std::vector<Attack>& attacks() {
  static const std::string kUntrusted = "no authority that may open this port has signed its certificate";
  static const std::vector<Attack> attacks = {
      {"NoCertificate", "it has no certificate",
       [](const HostileScene& scene) {
         shake_hands(scene.data_url(), {});
         return nullptr;
       }},
      {"AnotherAuthority", kUntrusted,
       [](const HostileScene& scene) {
         shake_hands(scene.data_url(), scene.of_another_authority());
         return nullptr;
       }},
      {"ALongChain", "it shows other keys than P-256, or too many certificates",
       [](const HostileScene& scene) {
         shake_hands(scene.data_url(), scene.with_a_long_chain());
         return nullptr;
       }},
      {"Expired", "its certificate has expired",
       [](const HostileScene& scene) {
         shake_hands(scene.data_url(), scene.old());
         return nullptr;
       }},
      {"ADeviceAtTheControlPort", kUntrusted,
       [](const HostileScene& scene) {
         shake_hands(scene.control_url(), scene.mole());
         return nullptr;
       }},
      {"PlainTcp", "it doesn't speak TLS as we do",
       [](const HostileScene& scene) {
         const Stranger stranger(scene.data_url());
         const auto bytes = greeting(0x30);
         stranger.say(std::as_bytes(std::span(bytes)));
         EXPECT_TRUE(stranger.is_cut_off(10000));
         return nullptr;
       }},
      {"RandomBytes", "it doesn't speak TLS as we do",
       [](const HostileScene& scene) {
         static std::uint64_t seed = 0;
         Random random(++seed);
         std::array<std::uint64_t, 64> words{};
         for (std::uint64_t& word : words) word = random.next() | 0xff;  // no record begins with 255
         const Stranger stranger(scene.data_url());
         stranger.say(std::as_bytes(std::span(words)));
         EXPECT_TRUE(stranger.is_cut_off(10000));
         return nullptr;
       }},
      {"AThousandSilentOnes", "more than 64 were waiting to be let in",
       [](const HostileScene& scene) {
         auto silent = std::make_shared<std::vector<std::unique_ptr<Stranger>>>();
         for (int i = 0; i < 500; ++i) {
           silent->push_back(std::make_unique<Stranger>(scene.data_url()));
           EXPECT_TRUE(silent->back()->connected());
         }
         return silent;
       }},
      {"ALengthOf4GB", "it announced a message over the size limit",
       [](const HostileScene& scene) {
         TlsStranger stranger(scene.data_url(), scene.mole());
         EXPECT_TRUE(stranger.shaken());
         stranger.say(greeting(0x30));
         stranger.say(std::array<unsigned char, 8>{0, 0, 0, 1, 0, 0, 0, 0});
         EXPECT_TRUE(stranger.is_cut_off(10000));
         return nullptr;
       }},
      {"AnotherNngProtocol", "it speaks another protocol",
       [](const HostileScene& scene) {
         TlsStranger stranger(scene.data_url(), scene.mole());
         stranger.say(greeting(0x10));
         EXPECT_TRUE(stranger.is_cut_off(10000));
         return nullptr;
       }},
      {"AReplayedFrame", "a frame of request 0 is a copy, comes too late, or isn't needed any more",
       [](const HostileScene& scene) {
         scene.push(scene.header());
         return nullptr;
       }},
      {"AFrameOfAnotherEpoch", "frame of epoch 77: this is ",
       [](const HostileScene& scene) {
         FrameHeader header = scene.header();
         header.epoch = 77;
         scene.push(header);
         return nullptr;
       }},
      {"ARegionOutsideItsValue", "it doesn't carry what the plan says",
       [](const HostileScene& scene) {
         FrameHeader header = scene.header();
         std::vector<Range> ranges;
         for (std::size_t axis = 0; axis < header.region.rank(); ++axis) {
           ranges.push_back({header.region[axis].begin + 1'000'000, header.region[axis].end + 1'000'000});
         }
         header.region = Region(std::move(ranges));
         scene.push(header);
         return nullptr;
       }},
      {"ADamagedFrame", "frame header: checksum mismatch",
       [](const HostileScene& scene) {
         scene.push(scene.header(), [](std::span<std::byte> frame) { frame[60] = std::byte{9}; });
         return nullptr;
       }},
      {"AFrameOfAnotherVersion", "frame version 2: expected 1",
       [](const HostileScene& scene) {
         scene.push(scene.header(), [](std::span<std::byte> frame) { frame[4] = std::byte{2}; });
         return nullptr;
       }},
      {"ACoordinatorOfAnotherVersion", "refused: the coordinator speaks protocol 99, this runner ",
       [](const HostileScene& scene) {
         const auto reply = scene.control().call("hello", {{"protocol", 99}});
         EXPECT_FALSE(reply);
         return nullptr;
       }},
  };
  return attacks;
}

}  // namespace onnx_split::testing
