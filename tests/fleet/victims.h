// Devices to which things happen, and are undone after 3 s: processes of this machine, or those of an emulated cluster.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fleet/control.h"
#include "partition/cluster.h"
#include "tests/fleet/processes.h"
#include "tests/fleet/relay.h"
#include "transport/push_pull.h"

namespace onnx_split::testing {

// A stranger's frame that can't be right. False: nobody is there to get it.
inline bool send_damage(const std::string& control_url) {
  auto client = ControlClient::connect("victim", control_url, std::chrono::milliseconds(500));
  if (!client) return false;
  const auto status = client->call("status", Json::object(), {}, std::chrono::milliseconds(500));
  if (!status || !status->contains("data_url")) return false;
  transport::PushSocket socket = must(transport::PushSocket::open());
  if (!socket.dial((*status)["data_url"].get<std::string>())) return false;
  transport::Message message = must(transport::Message::allocate(kFrameHeaderBytes));
  std::fill(message.bytes().begin(), message.bytes().end(), std::byte{7});
  must(socket.send(std::move(message), std::chrono::seconds(5)));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // closing drops what isn't on its way
  return true;
}

enum class Fault : std::uint8_t { kKill, kStop, kDamage, kLinkDown, kFullDisk };

inline std::string_view name_of(Fault fault) {
  switch (fault) {
    case Fault::kKill: return "kill";
    case Fault::kStop: return "stop";
    case Fault::kDamage: return "damage";
    case Fault::kLinkDown: return "link down";
    case Fault::kFullDisk: return "full disk";
  }
  return "";
}

// A full disk takes root.
inline std::vector<Fault> possible_faults() {
  std::vector<Fault> faults = {Fault::kKill, Fault::kStop, Fault::kDamage, Fault::kLinkDown};
  if (::geteuid() == 0) faults.push_back(Fault::kFullDisk);
  return faults;
}

// One thread strikes; it doesn't wait for what takes time.
class Victims {
 public:
  virtual ~Victims() = default;
  virtual std::vector<std::string> urls() const = 0;
  virtual void strike(Fault fault, std::size_t victim) = 0;
  // How many of the victim's frames were damaged so far.
  virtual std::uint64_t damaged(std::size_t victim) const = 0;
  // Then these were a stranger's, and a device may be too slow to write anything while its disk is full.
  virtual bool are_emulated() const = 0;

 protected:
  void beside(std::function<void()> work) { threads_.emplace_back(std::move(work)); }
  void after_a_while(std::function<void()> undo) {
    beside([undo = std::move(undo)] {
      wait_a_while();
      undo();
    });
  }
  static void wait_a_while() { std::this_thread::sleep_for(std::chrono::seconds(3)); }
  void join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  // A file system over the folder that has room for nothing.
  void fill_disk(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=4k") != 0) {
      ADD_FAILURE() << folder << ": cannot mount: " << errno_message(errno);
      return;
    }
    after_a_while([folder] {
      if (::umount2(folder.c_str(), MNT_DETACH) != 0) ADD_FAILURE() << folder << ": " << errno_message(errno);
    });
  }

 private:
  std::vector<std::thread> threads_;
};

// Without relays between them, which take their part of the processor, frames and links can't be touched.
enum class Between : std::uint8_t { kRelays, kNobody };

class LocalVictims : public Victims {
 public:
  explicit LocalVictims(std::size_t count, Between between) : fleet_(process_runners(count)) {
    if (between == Between::kRelays) relays_.emplace(fleet_.urls());
  }
  ~LocalVictims() override { join(); }
  std::vector<std::string> urls() const override { return relays_ ? relays_->urls() : fleet_.urls(); }
  void strike(Fault fault, std::size_t victim) override {
    const pid_t pid = fleet_.pid(victim);
    switch (fault) {
      case Fault::kKill: ::kill(pid, SIGKILL); return;
      case Fault::kStop:
        ::kill(pid, SIGSTOP);
        after_a_while([pid] { ::kill(pid, SIGCONT); });
        return;
      case Fault::kDamage: relays_.value().damage(victim); return;
      case Fault::kLinkDown:
        relays_.value().cut(victim);
        after_a_while([this, victim] { relays_->heal(victim); });
        return;
      case Fault::kFullDisk: fill_disk(fleet_.model_dir(victim)); return;
    }
  }
  std::uint64_t damaged(std::size_t victim) const override { return relays_.value().damaged(victim); }
  bool are_emulated() const override { return false; }

 private:
  LocalFleet fleet_;
  std::optional<Relays> relays_;
};

// The devices pi1, pi2, … of scripts/pi-cluster, which must be up with this prefix and the script in PATH. Nobody is
// between them: the damaged frame is a stranger's there, and nothing of what streams.
class ClusterVictims : public Victims {
 public:
  ClusterVictims(std::string prefix, std::size_t count)
      : prefix_(std::move(prefix)), state_("/var/lib/pi-cluster"), is_dead_(count), damaged_(count) {
    state_ /= prefix_;
    const Cluster cluster = must(read_cluster_file(state_ / "cluster.yaml"));
    for (std::size_t i = 0; i < count; ++i) {
      urls_.push_back(cluster.devices.at(i).address);
      await_idle(urls_.back());
    }
  }
  ~ClusterVictims() override { join(); }
  std::vector<std::string> urls() const override { return urls_; }
  void strike(Fault fault, std::size_t victim) override {
    // Each takes a while itself.
    if (fault == Fault::kDamage) {
      beside([this, victim] { damaged_[victim] += send_damage(urls_[victim]) ? 1 : 0; });
    } else if (fault == Fault::kFullDisk) {
      fill_disk(state_ / "devices" / name(victim) / "parts");
    } else if (fault != Fault::kStop || !is_dead_[victim]) {  // of one that was killed there is nothing to stop
      if (fault == Fault::kKill) is_dead_[victim] = true;
      beside([this, fault, victim] {
        const std::string what = fault == Fault::kKill ? "kill" : fault == Fault::kStop ? "pause" : "cut";
        if (!command(what, victim)) ADD_FAILURE() << "pi-cluster " << what << " " << name(victim);
        wait_a_while();
        // Not while another fault of the same device stands in the way.
        for (int attempt = 0; !command("heal", victim); ++attempt) {
          if (attempt == 10) {
            ADD_FAILURE() << "pi-cluster heal " << name(victim);
            return;
          }
          std::this_thread::sleep_for(std::chrono::seconds(1));
        }
        if (fault == Fault::kKill) is_dead_[victim] = false;
      });
    }
  }
  std::uint64_t damaged(std::size_t victim) const override { return damaged_[victim]; }
  bool are_emulated() const override { return true; }

 private:
  // A device that was cut off keeps what it was last given until its lease is over.
  static void await_idle(const std::string& url) {
    for (int attempt = 0; attempt < 300; ++attempt) {
      auto client = ControlClient::connect("victim", url, std::chrono::milliseconds(500));
      if (client) {
        const auto status = client->call("status", Json::object(), {}, std::chrono::milliseconds(500));
        if (status && (*status)["state"] == "idle") return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    FAIL() << url << " isn't idle after 30 s";
  }
  static std::string name(std::size_t victim) { return fmt::format("pi{}", victim + 1); }
  bool command(const std::string& what, std::size_t victim) const {
    const std::string line = fmt::format("pi-cluster {} {} --prefix {}", what, name(victim), prefix_);
    return std::system(line.c_str()) == 0;
  }

  std::string prefix_;
  std::filesystem::path state_;
  std::vector<std::string> urls_;
  std::vector<std::atomic<bool>> is_dead_;
  std::vector<std::atomic<std::uint64_t>> damaged_;
};

inline std::unique_ptr<Victims> local_victims(std::size_t count, Between between) {
  return std::make_unique<LocalVictims>(count, between);
}
inline std::unique_ptr<Victims> cluster_victims(const std::string& prefix, std::size_t count) {
  return std::make_unique<ClusterVictims>(prefix, count);
}

}  // namespace onnx_split::testing
