#include "fleet/join_table.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/check.h"

namespace onnx_split {
namespace {

// The oldest request first; within it the earliest part. std::push_heap keeps the largest in front.
bool later(const Job& a, const Job& b) { return a.request != b.request ? a.request > b.request : a.part > b.part; }

}  // namespace

JoinTable::JoinTable(const Deployment& deployment, std::size_t device) : deployment_(deployment), device_(device) {
  const std::size_t window = deployment.plan.window;
  std::map<std::size_t, std::size_t> most;  // of each transfer: for how many requests it may wait here at once
  for (const PartId id : deployment.parts_of(device)) {
    PartInputs part{id, {}, 0, deployment.plan.stages[id.stage].spare != Spare::kNone};
    std::set<std::size_t> groups;
    for (const ValueRegion& input : deployment.plan.stages[id.stage].parts[id.part].inputs) {
      for (const std::size_t transfer : deployment.routing.pieces_of(id, input)) {
        if (std::find(part.transfers.begin(), part.transfers.end(), transfer) != part.transfers.end()) continue;
        part.transfers.push_back(transfer);
        const auto group = deployment.routing.alternatives_of[transfer];
        if (!group) {
          ++part.needed;
        } else if (groups.insert(*group).second) {
          part.needed += static_cast<std::uint32_t>(deployment.routing.alternatives[*group].needed);
        }
      }
    }
    const std::size_t served = most_served(deployment.plan, id, device, window);
    for (const std::size_t transfer : part.transfers) most[transfer] = std::min(window, most[transfer] + served);
    parts_.push_back(std::move(part));
  }
  for (const auto& [transfer, requests] : most) {
    capacity_bytes_ += requests * (deployment.payload_bytes(transfer) + kFrameHeaderBytes);
  }
  const std::size_t transfers = deployment.routing.transfers.size();
  slots_.resize(window);
  for (Slot& slot : slots_) {
    slot.payloads.resize(transfers);
    slot.arrived.resize(transfers);
    slot.users_left.resize(transfers);
    slot.chosen.resize(deployment.routing.alternatives.size());
    slot.missing.resize(parts_.size());
  }
  ready_.reserve(window * parts_.size());
}

bool JoinTable::serves(const PartInputs& part, std::uint64_t request) const {
  // A part that nobody needs gets nothing, and computes nothing.
  return !part.transfers.empty() && device_for(deployment_.plan, part.id, request) == device_;
}

// False: the slot has done this request, or a newer one, already.
Expected<bool> JoinTable::open_slot(Slot& slot, std::uint64_t request) {
  if (slot.newest && request < *slot.newest) return false;
  if (slot.newest && request == *slot.newest) return slot.open;
  for (Slot& other : slots_) {
    if (!other.open || other.needed_parts_left > 0 || request < *other.newest) continue;
    if (request - *other.newest >= slots_.size()) give_up(other);
  }
  if (slot.open) {
    return fail(ErrorCode::kInvalid, "request {} arrived while request {} isn't done: the window is {}", request,
                *slot.newest, slots_.size());
  }
  std::fill(slot.arrived.begin(), slot.arrived.end(), false);
  std::fill(slot.users_left.begin(), slot.users_left.end(), 0);
  std::fill(slot.chosen.begin(), slot.chosen.end(), 0);
  slot.parts_left = slot.needed_parts_left = 0;
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    if (!serves(parts_[p], request)) continue;
    ++slot.parts_left;
    if (!parts_[p].is_replaceable) ++slot.needed_parts_left;
    slot.missing[p] = parts_[p].needed;
    for (const std::size_t transfer : parts_[p].transfers) ++slot.users_left[transfer];
  }
  if (slot.parts_left == 0) {
    return fail(ErrorCode::kInvalid, "request {} isn't for this device", request);
  }
  slot.newest = request;
  slot.open = true;
  return true;
}

void JoinTable::give_up(Slot& slot) {
  std::erase_if(ready_, [&](const Job& job) { return job.request == *slot.newest; });
  std::make_heap(ready_.begin(), ready_.end(), later);
  for (Buffer& payload : slot.payloads) payload = {};
  slot.open = false;
  ++given_up_;
}

Expected<Delivery> JoinTable::deliver(std::uint64_t request, std::size_t transfer, Buffer payload) {
  const std::scoped_lock lock(mutex_);
  Slot& slot = slots_[request % slots_.size()];
  TRY_ASSIGN(const bool usable, open_slot(slot, request));
  if (!usable || slot.arrived[transfer]) return Delivery::kDropped;
  if (slot.users_left[transfer] == 0) {
    return fail(ErrorCode::kInvalid, "request {}: transfer {} isn't for this device", request, transfer);
  }
  if (const auto group = deployment_.routing.alternatives_of[transfer]) {
    if (slot.chosen[*group] == deployment_.routing.alternatives[*group].needed) return Delivery::kDropped;
    ++slot.chosen[*group];
  }
  slot.arrived[transfer] = true;
  slot.payloads[transfer] = std::move(payload);
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    const std::vector<std::size_t>& needs = parts_[p].transfers;
    if (!serves(parts_[p], request) || std::find(needs.begin(), needs.end(), transfer) == needs.end()) continue;
    if (--slot.missing[p] > 0) continue;
    ready_.push_back({request, p});
    std::push_heap(ready_.begin(), ready_.end(), later);
    ready_changed_.notify_one();
  }
  return Delivery::kKept;
}

std::optional<Job> JoinTable::take() {
  std::unique_lock lock(mutex_);
  ready_changed_.wait(lock, [&] { return closed_ || !ready_.empty(); });
  return take_first();
}

std::optional<Job> JoinTable::take_if_ready() {
  const std::scoped_lock lock(mutex_);
  return take_first();
}

std::optional<Job> JoinTable::take_first() {
  if (closed_ || ready_.empty()) return std::nullopt;
  std::pop_heap(ready_.begin(), ready_.end(), later);
  const Job job = ready_.back();
  ready_.pop_back();
  auto taken = std::find_if(taken_.begin(), taken_.end(), [](const Taken& entry) { return !entry.job; });
  if (taken == taken_.end()) {
    taken = taken_.emplace(taken, Taken{{}, std::vector<Buffer>(deployment_.routing.transfers.size())});
  }
  taken->job = job;
  const Slot& slot = slots_[job.request % slots_.size()];
  for (const std::size_t transfer : parts_[job.part].transfers) {
    if (slot.arrived[transfer]) taken->payloads[transfer] = slot.payloads[transfer];
  }
  return job;
}

const std::byte* JoinTable::payload(const Job& job, std::size_t transfer) const {
  const std::scoped_lock lock(mutex_);
  const auto taken = std::find_if(taken_.begin(), taken_.end(), [&](const Taken& entry) { return entry.job == job; });
  CHECK(taken != taken_.end());
  const Buffer& payload = taken->payloads[transfer];
  return payload.size() > 0 ? payload.bytes().data() : nullptr;
}

bool JoinTable::is_open(std::uint64_t request) const {
  const Slot& slot = slots_[request % slots_.size()];
  return slot.open && slot.newest == request;
}

bool JoinTable::is_given_up(const Job& job) const {
  const std::scoped_lock lock(mutex_);
  return !is_open(job.request);
}

std::uint64_t JoinTable::given_up() const {
  const std::scoped_lock lock(mutex_);
  return given_up_;
}

void JoinTable::finish(const Job& job) {
  const std::scoped_lock lock(mutex_);
  const auto taken = std::find_if(taken_.begin(), taken_.end(), [&](const Taken& entry) { return entry.job == job; });
  CHECK(taken != taken_.end());
  taken->job.reset();
  for (const std::size_t transfer : parts_[job.part].transfers) taken->payloads[transfer] = {};
  if (!is_open(job.request)) return;  // it was given up meanwhile
  Slot& slot = slots_[job.request % slots_.size()];
  CHECK(slot.parts_left > 0);
  for (const std::size_t transfer : parts_[job.part].transfers) {
    if (--slot.users_left[transfer] == 0) slot.payloads[transfer] = {};
  }
  if (!parts_[job.part].is_replaceable) --slot.needed_parts_left;
  if (--slot.parts_left == 0) slot.open = false;
}

void JoinTable::close() {
  const std::scoped_lock lock(mutex_);
  closed_ = true;
  ready_changed_.notify_all();
}

}  // namespace onnx_split
