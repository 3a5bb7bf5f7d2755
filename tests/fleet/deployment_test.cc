// What every runner and the coordinator derive from a plan. Which regions and plans are refused, hostile_test.cc and
// the fuzzers say.
#include "fleet/deployment.h"

#include <gtest/gtest.h>

#include "graph/builder.h"
#include "tests/fleet/plans.h"
#include "tests/support/expect.h"
#include "tests/support/spare_network.h"

namespace onnx_split {
namespace {

using testing::deployment_of;
using testing::must;
using testing::plan_of;
using testing::SpareNetwork;

// Convolutions a, b and c behind one another, with 32 channels, 48 and 32.
Graph three_convolutions() {
  GraphBuilder builder("three");
  ValueId now = must(builder.add_input("x", {DataType::kFloat32, Shape{2, 3, 8, 8}}));
  for (const auto& [name, channels] : {std::pair{"a", 32}, std::pair{"b", 48}, std::pair{"c", 32}}) {
    const Shape shape{channels, builder.value(now).shape()[1], 3, 3};
    const ValueId weights = must(builder.add_constant(
        std::string("w_") + name, Tensor({DataType::kFloat32, shape}, untouched_zeros(4 * shape.elements()))));
    now = must(builder.add(name, OpType::kConv, {{"pads", Ints(4, 1)}}, {now, weights}));
  }
  return must(std::move(builder).build({now}));
}

// a; b, divided; c.
Plan plan_with(const Graph& graph, Split split, std::size_t ways) {
  StageRequest a, b, c;
  a.until = {"a"};
  b.until = {"b"};
  b.split = split;
  b.ways = ways;
  if (split == Split::kSpatial) b.grid = {ways, 1};
  return plan_of(graph, 2 + ways, {a, b, c});
}

std::vector<Layout> layouts(const Graph& graph, const Plan& plan, const std::vector<std::string>& values) {
  const Deployment deployment = deployment_of(graph, plan);
  std::vector<Layout> layouts;
  for (const std::string& value : values) layouts.push_back(deployment.layout_of(value));
  return layouts;
}

using enum Layout;
using Layouts = std::vector<Layout>;

TEST(Deployment, FullBlocksTravelInTheKernelsLayoutBetweenParts) {
  const Graph graph = three_convolutions();
  const std::vector<std::string> values{"x", "a", "b", "c"};
  const auto with = [&](Split split, std::size_t ways) {
    return layouts(graph, plan_with(graph, split, ways), values);
  };
  EXPECT_EQ(with(Split::kSpatial, 3), (Layouts{kPlain, kBlocked, kBlocked, kPlain}));
  EXPECT_EQ(with(Split::kOutputChannel, 3), (Layouts{kPlain, kBlocked, kBlocked, kPlain}));
  EXPECT_EQ(with(Split::kOutputChannel, 2), (Layouts{kPlain, kBlocked, kPlain, kPlain}));
  EXPECT_EQ(with(Split::kInputChannel, 2), (Layouts{kPlain, kBlocked, kBlocked, kPlain}));
  EXPECT_EQ(with(Split::kInputChannel, 4), (Layouts{kPlain, kPlain, kBlocked, kPlain}));
}

TEST(Deployment, WithoutKernelsInThatLayoutAllTravelsPlain) {
  const Graph graph = three_convolutions();
  Plan plan = plan_with(graph, Split::kSpatial, 2);
  plan.choices = choose_all(graph, {.core = blas_core(), .allowed = openblas_algorithms()});
  for (Part& part : plan.stages[1].parts) part.choices = {{"b", plan.choices.at("b")}};
  EXPECT_EQ(layouts(graph, plan, {"a", "b"}), (Layouts{kPlain, kPlain}));
  plan.stages[1].parts[1].choices = {{"b", "direct"}};
  EXPECT_EQ(layouts(graph, plan, {"a", "b"}), (Layouts{kBlocked, kBlocked}));
}

TEST(Deployment, WhatThereIsParityOfTravelsPlain) {
  const Graph graph = SpareNetwork::make(1, 32);
  Plan plan = plan_of(graph, 5, SpareNetwork::parity_stages("b", 2));
  EXPECT_EQ(layouts(graph, plan, {"b"}), Layouts{kPlain});
  plan = plan_of(graph, 4, [] {
    std::vector<StageRequest> stages = SpareNetwork::parity_stages("b", 2);
    stages[1].spare = Spare::kNone;
    return stages;
  }());
  EXPECT_EQ(layouts(graph, plan, {"b"}), Layouts{kBlocked});
}

}  // namespace
}  // namespace onnx_split
