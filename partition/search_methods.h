// The parts of the search: each gives candidates; search.cc compares them. Only for sources of this folder.
#pragma once

#include <optional>
#include <vector>

#include "partition/search.h"

namespace onnx_split {

// A candidate and its cost.
struct Scored {
  Candidate candidate;
  Cost cost;
};

// Whether a is better than b: allowed before not, then by what is missing or late, then by the objective, then by the
// smoothness of the loads (so that local search can leave a plain), then by latency.
bool is_better(const Cost& a, const Cost& b, const SearchOptions& options);

// Every plan of the space, or nothing where there may be more than options.exact_plans. For kThroughput each device
// serves one stage; for kLatency a stage is on one device or divided over the first w in canonical order, devices serve
// any number of stages, and there are no replicas.
std::optional<Scored> search_completely(const CostModel& cost, const SearchOptions& options);

// One device alone, all devices as replicas, and pipelines with equal times, MACs and numbers of layers.
std::vector<Candidate> simple_plans(const CostModel& cost, const SearchOptions& options);

// Each device in one stage, by dynamic programming; empty where none is possible.
std::vector<Candidate> pipelines(const CostModel& cost, const SearchOptions& options);

// Stages one after the other on all devices together, each divided so that a single request is soonest done.
std::vector<Candidate> fastest_paths(const CostModel& cost, const SearchOptions& options);

// Groups of devices one behind the other, each of which computes its stages together, divided so that its devices are
// least busy: for throughput without replicas, where each device for itself is too coarse.
std::vector<Candidate> grouped_paths(const CostModel& cost, const SearchOptions& options);

// Small changes, as long as they help: cuts moved, devices moved or exchanged, stages joined, parted or divided
// otherwise; at most `evaluations` times.
Scored improve(const CostModel& cost, const SearchOptions& options, Scored from, std::size_t evaluations);

}  // namespace onnx_split
