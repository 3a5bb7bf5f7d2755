// Finds the plan that costs least: where to cut, how to divide, how often to replicate, and which device does what.
//
// Small instances are searched completely; all by dynamic programming over cuts and sets of devices (or numbers of
// devices of each kind), from which, and from simple plans, local search goes on. Every answer comes with a lower
// bound. Deterministic: it depends on neither time nor the order in which the devices are listed. docs/planner.md.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "partition/plan_space.h"

namespace onnx_split {

enum class Objective : std::uint8_t { kThroughput, kLatency };

struct SearchOptions {
  Objective objective = Objective::kThroughput;
  double max_latency_s = 0.0;  // with kThroughput; 0: any
  SpaceOptions space;
  // The most complete plans for which a complete search is tried.
  double exact_plans = 20'000;
  std::function<bool()> interrupted = {};  // asked now and then: true gives up with kCancelled

  bool gives_up() const { return interrupted && interrupted(); }
};

struct SearchResult {
  Candidate candidate;
  Cost cost;
  // Others that cost little more, best first: a simulation, which sees what averages don't, may find them better.
  std::vector<Candidate> rivals = {};
  // Some that cost more, best first: for where, counted exactly, none of those keeps memory and latency.
  std::vector<Candidate> others = {};
  double bound_s = 0.0;  // no plan's period (or, for kLatency, latency) is below
  // The complete search was possible, and nothing better was found outside its space.
  bool exact = false;
};

// Errors: kExhausted, where no plan that was found fits into the devices' memory (says how much is missing where) or
// none is as quick as max_latency_s (says the least that was found).
Expected<SearchResult> search(const CostModel& cost, const SearchOptions& options);

// The device that is best alone, and what it could do, memory permitting or not (Cost::missing_bytes).
struct Single {
  std::size_t device = 0;
  Cost cost;
};
Single best_alone(const CostModel& cost, const SearchOptions& options);

// What is compared: less is better.
double objective_s(const Cost& cost, const SearchOptions& options);
// Whether the costs respect memory and max_latency_s.
bool is_allowed(const Cost& cost, const SearchOptions& options);

// No plan's period can be below this: all devices busy all the time, each node on them at its best, each request
// received and its answer sent once. docs/planner.md, "The lower bound".
double period_bound_s(const CostModel& cost);
double latency_bound_s(const CostModel& cost);

}  // namespace onnx_split
