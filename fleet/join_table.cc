#include "fleet/join_table.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "base/check.h"

namespace onnx_split {
namespace {

// In place of the number of inputs that a part misses: it is done, or given up.
constexpr std::uint32_t kClosed = UINT32_MAX;

// The oldest request first; within it the earliest part. std::push_heap keeps the largest in front.
bool later(const Job& a, const Job& b) { return a.request != b.request ? a.request > b.request : a.part > b.part; }

}  // namespace

JoinTable::JoinTable(const Deployment& deployment, std::size_t device) : deployment_(deployment), device_(device) {
  const std::size_t window = deployment.plan.window;
  std::map<std::size_t, std::size_t> most;  // of each transfer: for how many requests it may wait here at once
  for (const PartId id : deployment.parts_of(device)) {
    PartInputs part{id, {}, 0, deployment.routing.from(id), deployment.plan.stages[id.stage].spare != Spare::kNone};
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
    slot.had.resize(parts_.size());
  }
  ready_.reserve(window * parts_.size());
}

bool JoinTable::serves(const PartInputs& part, std::uint64_t request) const {
  // A part that nobody needs gets nothing, and computes nothing.
  return !part.transfers.empty() && device_for(deployment_.plan, part.id, request) == device_;
}

// False: the slot has done this request, or a newer one, already, or nobody needs it.
Expected<bool> JoinTable::open_slot(Slot& slot, std::uint64_t request, std::vector<std::size_t>& not_needed) {
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
  begin_receipts(slot, request);
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    if (!serves(parts_[p], request) || !have_all_enough(slot, p)) continue;
    const std::vector<std::size_t> more = give_up(slot, p);
    not_needed.insert(not_needed.end(), more.begin(), more.end());
  }
  return slot.open;
}

// Those of the request that are here already stay.
void JoinTable::begin_receipts(Slot& slot, std::uint64_t request) {
  if (slot.had_of == request) return;
  slot.had_of = request;
  for (std::vector<Receipt>& had : slot.had) had.clear();
}

bool JoinTable::have_all_enough(const Slot& slot, std::size_t part) const {
  if (slot.had[part].empty()) return false;  // as nearly always when a slot is opened
  std::size_t receivers = 0;
  for (const std::size_t transfer : parts_[part].gives) {
    receivers += deployment_.receivers_of_transfer(transfer, *slot.had_of).size();
  }
  return slot.had[part].size() == receivers;
}

void JoinTable::give_up(Slot& slot) {
  for (std::size_t p = 0; p < parts_.size() && slot.open; ++p) {
    if (serves(parts_[p], *slot.newest) && slot.missing[p] != kClosed) give_up(slot, p);
  }
}

std::vector<std::size_t> JoinTable::give_up(Slot& slot, std::size_t part) {
  const Job job{*slot.newest, part};
  ++given_up_;
  if (const Taken* entry = taken(job)) {
    entry->stop.request_stop();
  } else {
    std::erase(ready_, job);
    std::make_heap(ready_.begin(), ready_.end(), later);
  }
  return close_part(slot, part);
}

// Releases what no other part of this device still needs. Gives the alternatives that would still have come.
std::vector<std::size_t> JoinTable::close_part(Slot& slot, std::size_t part) {
  CHECK(slot.parts_left > 0 && slot.missing[part] != kClosed);
  std::vector<std::size_t> not_needed;
  slot.missing[part] = kClosed;
  for (const std::size_t transfer : parts_[part].transfers) {
    if (--slot.users_left[transfer] > 0) continue;
    const auto group = deployment_.routing.alternatives_of[transfer];
    const bool is_awaited = group && slot.chosen[*group] < deployment_.routing.alternatives[*group].needed;
    if (is_awaited && !slot.arrived[transfer]) not_needed.push_back(transfer);
    slot.payloads[transfer] = {};
    slot.arrived[transfer] = true;  // or else it isn't wanted any more
  }
  if (!parts_[part].is_replaceable) --slot.needed_parts_left;
  if (--slot.parts_left == 0) slot.open = false;
  return not_needed;
}

Expected<Delivery> JoinTable::deliver(std::uint64_t request, std::size_t transfer, Buffer payload) {
  const std::scoped_lock lock(mutex_);
  Slot& slot = slots_[request % slots_.size()];
  Delivery delivery;
  TRY_ASSIGN(const bool usable, open_slot(slot, request, delivery.not_needed));
  std::erase(delivery.not_needed, transfer);
  if (!usable || slot.arrived[transfer]) return delivery;
  if (slot.users_left[transfer] == 0) {
    return fail(ErrorCode::kInvalid, "request {}: transfer {} isn't for this device", request, transfer);
  }
  if (const auto group = deployment_.routing.alternatives_of[transfer]) {
    const Alternatives& alternatives = deployment_.routing.alternatives[*group];
    if (slot.chosen[*group] == alternatives.needed) return delivery;
    if (++slot.chosen[*group] == alternatives.needed) {
      std::copy_if(alternatives.transfers.begin(), alternatives.transfers.end(),
                   std::back_inserter(delivery.not_needed),
                   [&](std::size_t other) { return other != transfer && !slot.arrived[other]; });
    }
  }
  delivery.is_kept = true;
  slot.arrived[transfer] = true;
  slot.payloads[transfer] = std::move(payload);
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    const std::vector<std::size_t>& needs = parts_[p].transfers;
    if (!serves(parts_[p], request) || std::find(needs.begin(), needs.end(), transfer) == needs.end()) continue;
    if (slot.missing[p] == kClosed || --slot.missing[p] > 0) continue;
    ready_.push_back({request, p});
    std::push_heap(ready_.begin(), ready_.end(), later);
    ready_changed_.notify_one();
  }
  return delivery;
}

std::vector<std::size_t> JoinTable::has_enough(std::uint64_t request, std::size_t transfer, std::uint32_t receiver) {
  const std::scoped_lock lock(mutex_);
  const auto part = std::find_if(parts_.begin(), parts_.end(), [&](const PartInputs& one) {
    return one.is_replaceable && std::find(one.gives.begin(), one.gives.end(), transfer) != one.gives.end();
  });
  if (part == parts_.end() || !serves(*part, request)) return {};
  const std::vector<std::uint32_t> receivers = deployment_.receivers_of_transfer(transfer, request);
  if (std::find(receivers.begin(), receivers.end(), receiver) == receivers.end()) return {};

  const auto p = static_cast<std::size_t>(part - parts_.begin());
  Slot& slot = slots_[request % slots_.size()];
  if (slot.newest && request < *slot.newest) return {};
  const bool is_here = slot.newest == request;
  if (is_here && slot.missing[p] == kClosed) return {};
  begin_receipts(slot, request);
  const Receipt receipt{transfer, receiver};
  std::vector<Receipt>& had = slot.had[p];
  if (std::find(had.begin(), had.end(), receipt) == had.end()) had.push_back(receipt);
  if (!is_here || !have_all_enough(slot, p)) return {};
  return give_up(slot, p);
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
    taken = taken_.emplace(taken, Taken{{}, {}, std::vector<Buffer>(deployment_.routing.transfers.size())});
  }
  taken->job = job;
  taken->stop = {};
  const Slot& slot = slots_[job.request % slots_.size()];
  for (const std::size_t transfer : parts_[job.part].transfers) {
    if (slot.arrived[transfer]) taken->payloads[transfer] = slot.payloads[transfer];
  }
  return job;
}

const JoinTable::Taken* JoinTable::taken(const Job& job) const {
  const auto found = std::find_if(taken_.begin(), taken_.end(), [&](const Taken& entry) { return entry.job == job; });
  return found == taken_.end() ? nullptr : &*found;
}

const std::byte* JoinTable::payload(const Job& job, std::size_t transfer) const {
  const std::scoped_lock lock(mutex_);
  const Taken* entry = taken(job);
  CHECK(entry != nullptr);
  const Buffer& payload = entry->payloads[transfer];
  return payload.size() > 0 ? payload.bytes().data() : nullptr;
}

bool JoinTable::is_open(std::uint64_t request) const {
  const Slot& slot = slots_[request % slots_.size()];
  return slot.open && slot.newest == request;
}

std::stop_token JoinTable::stop_of(const Job& job) const {
  const std::scoped_lock lock(mutex_);
  const Taken* entry = taken(job);
  CHECK(entry != nullptr);
  return entry->stop.get_token();
}

std::uint64_t JoinTable::given_up() const {
  const std::scoped_lock lock(mutex_);
  return given_up_;
}

void JoinTable::finish(const Job& job) {
  const std::scoped_lock lock(mutex_);
  const auto entry = std::find_if(taken_.begin(), taken_.end(), [&](const Taken& one) { return one.job == job; });
  CHECK(entry != taken_.end());
  entry->job.reset();
  for (const std::size_t transfer : parts_[job.part].transfers) entry->payloads[transfer] = {};
  Slot& slot = slots_[job.request % slots_.size()];
  const bool was_given_up = !is_open(job.request) || slot.missing[job.part] == kClosed;
  if (!was_given_up) close_part(slot, job.part);
}

void JoinTable::close() {
  const std::scoped_lock lock(mutex_);
  closed_ = true;
  for (Taken& entry : taken_) entry.stop.request_stop();
  ready_changed_.notify_all();
}

}  // namespace onnx_split
