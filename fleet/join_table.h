// Where received tensors wait until their part has all its inputs, and how the computing thread learns what is ready.
//
// A table of fixed size: at most `window` requests are in flight, numbered without gaps, so request r has slot r mod
// window and nothing grows. A tensor for a request that this device has finished, a second copy, or one more than its
// alternatives take (partition/routing.h), is dropped. A request whose slot an older one has that isn't done, as one
// outside the window mostly does, is an error of the sender's, but where the device is late with parts that have spare
// ones: then others have answered already, and it gives up all requests that are a window before the new one. So a
// device that was away for a while is up to date with the first such request that reaches it, and doesn't compute what
// nobody waits for. Nor does a device that is only a little late: a receiver that has enough of alternatives says so,
// and a job of which no receiver wants anything is given up, also while it is computed. So all devices of a stage work
// on the same request, and when one of them is lost the next result doesn't wait for what another one was behind.
//
// Thread-safe: any thread delivers, one thread takes and finishes jobs.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "fleet/deployment.h"

namespace onnx_split {

// One part's work for one request.
struct Job {
  std::uint64_t request = 0;
  std::size_t part = 0;  // index into the device's own parts (Deployment::parts_of)

  bool operator==(const Job&) const = default;
};

struct Delivery {
  bool is_kept = false;
  std::vector<std::size_t> not_needed;  // transfers of the request that alternatives made superfluous
};

class JoinTable {
 public:
  // `deployment` must outlive the table.
  JoinTable(const Deployment& deployment, std::size_t device);

  // The most bytes of payload that wait here at once; besides them there may be the inputs of a job that is computed
  // although it was given up, until that ends.
  std::size_t capacity_bytes() const { return capacity_bytes_; }

  // Hands over one tensor of a request. It isn't kept if it is a copy, or too late. kInvalid: the device doesn't need
  // it, or the request's slot is another one's.
  Expected<Delivery> deliver(std::uint64_t request, std::size_t transfer, Buffer payload);

  // A receiver (a device, or kFromCoordinator) has enough of the alternatives of a transfer that a part here gives, or
  // needs none of them. When all receivers of all that a spare part's job gives have said so it is given up, or isn't
  // begun, if its inputs come later. Nothing happens if it is done. Gives the transfers that this device needs no more.
  std::vector<std::size_t> has_enough(std::uint64_t request, std::size_t transfer, std::uint32_t receiver);

  // The ready job of the oldest request (and of the earliest stage within it); blocks until there is one. Nothing after
  // close().
  std::optional<Job> take();
  // The same without waiting: nothing if there is none.
  std::optional<Job> take_if_ready();

  // A tensor of a job that was taken and isn't finished; null if it was an alternative that hasn't come or wasn't
  // needed.
  const std::byte* payload(const Job& job, std::size_t transfer) const;

  // Of a job that was taken and isn't finished: requested when it is given up, and by close().
  std::stop_token stop_of(const Job& job) const;
  // Jobs given up, whole or in the middle.
  std::uint64_t given_up() const;

  // Releases what no other part of this device still needs.
  void finish(const Job& job);

  // Wakes take(), which then returns nothing, and stops the jobs that were taken.
  void close();

 private:
  using Receipt = std::pair<std::size_t, std::uint32_t>;  // transfer, receiver

  struct Slot {
    bool open = false;
    std::optional<std::uint64_t> newest;    // the newest request that ever used the slot
    std::vector<Buffer> payloads;           // by transfer
    std::vector<bool> arrived;              // by transfer
    std::vector<std::uint32_t> users_left;  // by transfer: parts that still read it
    std::vector<std::uint32_t> chosen;      // by group of alternatives: that have arrived
    std::vector<std::uint32_t> missing;     // by part
    std::optional<std::uint64_t> had_of;    // the request that `had` is about: `newest`, or one that comes later
    std::vector<std::vector<Receipt>> had;  // by part: who has enough
    std::size_t parts_left = 0;
    std::size_t needed_parts_left = 0;  // of these, those that no other device can replace
  };
  struct PartInputs {
    PartId id;
    std::vector<std::size_t> transfers;  // each once
    std::uint32_t needed = 0;            // of them
    std::vector<std::size_t> gives;      // transfers
    bool is_replaceable = false;
  };

  // A job that somebody computes keeps its tensors, also when its request is given up meanwhile.
  struct Taken {
    std::optional<Job> job;
    std::stop_source stop;
    std::vector<Buffer> payloads;  // by transfer
  };

  bool serves(const PartInputs& part, std::uint64_t request) const;
  bool is_open(std::uint64_t request) const;
  Expected<bool> open_slot(Slot& slot, std::uint64_t request, std::vector<std::size_t>& not_needed);
  void begin_receipts(Slot& slot, std::uint64_t request);
  bool have_all_enough(const Slot& slot, std::size_t part) const;
  void give_up(Slot& slot);
  std::vector<std::size_t> give_up(Slot& slot, std::size_t part);
  std::vector<std::size_t> close_part(Slot& slot, std::size_t part);
  const Taken* taken(const Job& job) const;
  std::optional<Job> take_first();

  const Deployment& deployment_;
  std::size_t device_;
  std::vector<PartInputs> parts_;
  std::size_t capacity_bytes_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable ready_changed_;
  std::vector<Slot> slots_;
  std::vector<Job> ready_;    // a heap; reserved for every part of every slot
  std::vector<Taken> taken_;  // as many as were ever taken at once
  std::uint64_t given_up_ = 0;
  bool closed_ = false;
};

}  // namespace onnx_split
