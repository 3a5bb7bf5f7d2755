// Random plans for properties: cuts anywhere, every split that is possible, grids, weights, replicas, devices that hold
// several parts.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"
#include "partition/planner.h"
#include "tests/support/expect.h"

namespace onnx_split::testing {

class RandomPlan {
 public:
  // `max_replicas`: 1 for none.
  RandomPlan(const Graph& graph, std::uint64_t seed, EngineFacts engine, std::int64_t max_replicas = 2)
      : graph_(graph), random_(seed), max_replicas_(max_replicas) {
    request_.engine = std::move(engine);
    const std::int64_t devices = random_.integer(1, 8);
    for (std::int64_t i = 0; i < devices; ++i) request_.devices.push_back(fmt::format("d{}", i));
  }

  Plan make() {
    cut();
    for (StageRequest& stage : request_.stages) divide(stage);
    // Where a split is refused another is tried, and `whole` at last.
    for (int attempt = 0; attempt < 200; ++attempt) {
      auto plan = make_plan(graph_, request_);
      if (plan) return std::move(*plan);
      const std::string& message = plan.error().message;
      EXPECT_NE(message.find("nearest possible: "), std::string::npos) << message;
      const std::size_t place = message.find("stages[");
      if (place == std::string::npos) break;
      StageRequest& stage = request_.stages[std::stoul(message.substr(place + 7))];
      attempt % 6 == 5 ? make_whole(stage) : divide(stage);
    }
    throw std::runtime_error("no plan was possible");
  }

 private:
  void cut() {
    const auto nodes = static_cast<std::int64_t>(graph_.node_count());
    std::vector<std::int64_t> positions;
    for (std::int64_t i = random_.integer(0, std::min<std::int64_t>(4, nodes - 1)); i > 0; --i) {
      positions.push_back(random_.integer(0, nodes - 2));
    }
    std::sort(positions.begin(), positions.end());
    positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
    for (const std::int64_t position : positions) {
      StageRequest stage;
      const Node& node = graph_.nodes()[static_cast<std::size_t>(position)];
      for (const ValueId output : node.outputs) stage.until.push_back(graph_.value(output).name);
      request_.stages.push_back(std::move(stage));
    }
    request_.stages.emplace_back();
    request_.stages.back().each_layer = random_.integer(0, 2) == 0;
  }

  void make_whole(StageRequest& stage) {
    stage.split = Split::kWhole;
    stage.ways = 1;
    stage.grid = {};
    stage.weights.clear();
    choose_devices(stage);
  }

  void divide(StageRequest& stage) {
    make_whole(stage);
    stage.split = static_cast<Split>(random_.integer(0, 4));
    if (stage.split == Split::kWhole) return;
    stage.ways = static_cast<std::size_t>(random_.integer(2, 7));
    if (stage.split == Split::kSpatial) {
      stage.grid = {stage.ways, 1};
      if (random_.integer(0, 2) == 0) {
        stage.grid = {static_cast<std::size_t>(random_.integer(1, 3)), static_cast<std::size_t>(random_.integer(2, 3))};
        stage.ways = stage.grid.rows * stage.grid.columns;
      }
    }
    if (random_.integer(0, 3) == 0) {
      for (std::size_t i = 0; i < stage.ways; ++i) stage.weights.push_back(random_.integer(1, 5));
    }
    choose_devices(stage);
  }

  void choose_devices(StageRequest& stage) {
    stage.replicas = static_cast<std::size_t>(random_.integer(1, max_replicas_));
    stage.devices.clear();
    const auto last = static_cast<std::int64_t>(request_.devices.size()) - 1;
    for (std::size_t i = 0; i < stage.ways * stage.replicas; ++i) {
      stage.devices.push_back(request_.devices[static_cast<std::size_t>(random_.integer(0, last))]);
    }
  }

  const Graph& graph_;
  Random random_;
  std::int64_t max_replicas_;
  PlanRequest request_;
};

}  // namespace onnx_split::testing
