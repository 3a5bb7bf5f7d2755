#include "bench/splits_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <span>

#include "cli/table.h"
#include "engine/blas_core.h"

namespace onnx_split {
namespace {

// In the order of kLayerWays.
struct Figures {
  std::string_view network;
  std::array<double, 3> authors;
  std::array<double, 3> bars;
};
constexpr std::array kFigures = {Figures{"vgg16", {2.0, 2.4, 6.5}, {2.2, 2.8, 7.0}},
                                 Figures{"resnet50", {1.55, 1.9, 3.6}, {2.0, 2.5, 3.7}}};

const Figures& figures_of(std::string_view network) {
  return *std::find_if(kFigures.begin(), kFigures.end(), [&](const Figures& row) { return row.network == network; });
}

double undivided_sum_ms(const std::vector<Row>& rows) {
  double sum = 0.0;
  for (const Row& row : rows) sum += static_cast<double>(row.count) * row.undivided_ms;
  return sum;
}

double speed_up(const std::vector<Row>& rows, std::size_t way, bool with_adding) {
  double sum = 0.0;
  for (const Row& row : rows) {
    const Outcome& outcome = row.outcomes[way];
    sum += static_cast<double>(row.count) * (outcome.slowest_ms + (with_adding ? outcome.adding_ms : 0.0));
  }
  return undivided_sum_ms(rows) / sum;
}

double gflops(const Row& row) { return 2e-6 * static_cast<double>(row.macs) / row.undivided_ms; }

std::string outcome_text(const Row& row, const Outcome& outcome) {
  if (!outcome.refused.empty()) return "undivided";
  return fmt::format("{:.3f} {:5.2f}x", outcome.slowest_ms, row.undivided_ms / outcome.slowest_ms);
}

void print_rows(const std::vector<Row>& rows, std::span<const Way> ways, bool layers) {
  std::vector<std::string> headings{layers ? "layer" : "fused stage", "", ">count", ">undivided ms", ">GFLOP/s"};
  for (const Way& way : ways) {
    headings.push_back(">" + way.name);
    if (!layers) headings.emplace_back(">MACs repeated");
  }
  if (layers) headings.emplace_back("fastest undivided choice");
  Table table(headings);
  for (const Row& row : rows) {
    std::vector<std::string> cells{row.name, row.what, std::to_string(row.count),
                                   fmt::format("{:.3f}", row.undivided_ms), fmt::format("{:.1f}", gflops(row))};
    for (const Outcome& outcome : row.outcomes) {
      cells.push_back(outcome_text(row, outcome));
      if (!layers) cells.push_back(fmt::format("{:.1f} %", 100.0 * outcome.repeated));
    }
    if (layers) cells.push_back(row.choice);
    table.add(std::move(cells));
  }
  fmt::print("{}\n", table.to_string());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.outcomes.size(); ++i) {
      if (row.outcomes[i].refused.empty()) continue;
      fmt::print("{} counts undivided in {}: {}\n", row.name, ways[i].name, row.outcomes[i].refused);
    }
  }
}

Json rows_to_json(const std::vector<Row>& rows, std::span<const Way> ways) {
  Json json = Json::array();
  for (const Row& row : rows) {
    Json item = {{"name", row.name},
                 {"what", row.what},
                 {"count", row.count},
                 {"macs", row.macs},
                 {"undivided_ms", row.undivided_ms},
                 {"choice", row.choice},
                 {"splits", Json::array()}};
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const Outcome& outcome = row.outcomes[i];
      item["splits"].push_back({{"split", ways[i].name},
                                {"slowest_part_ms", outcome.slowest_ms},
                                {"adding_ms", outcome.adding_ms},
                                {"speed_up", row.undivided_ms / outcome.slowest_ms},
                                {"largest_part_macs", outcome.largest},
                                {"repeated_macs", outcome.repeated},
                                {"refused", outcome.refused}});
    }
    json.push_back(std::move(item));
  }
  return json;
}

}  // namespace

void print_measured(const Measured& measured) {
  fmt::print("{}: one thread, OpenBLAS core {}; the slowest part's ms, and the speed-up\n\n", measured.network,
             blas_core());
  print_rows(measured.layers, kLayerWays, true);
  print_rows(measured.stages, kStageWays, false);
  const Figures& figures = figures_of(measured.network);
  Table table({"convolutions, compute only", ">authors", ">bar", ">here"});
  for (std::size_t i = 0; i < kLayerWays.size(); ++i) {
    table.add({kLayerWays[i].name, fmt::format("{:.2f}x", figures.authors[i]), fmt::format("{:.2f}x", figures.bars[i]),
               fmt::format("{:.2f}x", speed_up(measured.layers, i, false))});
    if (kLayerWays[i].split != Split::kInputChannel) continue;
    table.add({"  with adding the sums", "", "", fmt::format("{:.2f}x", speed_up(measured.layers, i, true))});
  }
  for (std::size_t i = 0; i < kStageWays.size(); ++i) {
    table.add(
        {"fused stages, " + kStageWays[i].name, "", "", fmt::format("{:.2f}x", speed_up(measured.stages, i, false))});
  }
  fmt::print("{}\n", table.to_string());
}

Json to_json(const Measured& measured) {
  const Figures& figures = figures_of(measured.network);
  Json splits = Json::array();
  for (std::size_t i = 0; i < kLayerWays.size(); ++i) {
    splits.push_back({{"split", kLayerWays[i].name},
                      {"speed_up", speed_up(measured.layers, i, false)},
                      {"speed_up_with_adding", speed_up(measured.layers, i, true)},
                      {"authors", figures.authors[i]},
                      {"bar", figures.bars[i]}});
  }
  return {{"network", measured.network},
          {"core", blas_core()},
          {"splits", std::move(splits)},
          {"layers", rows_to_json(measured.layers, kLayerWays)},
          {"stages", rows_to_json(measured.stages, kStageWays)}};
}

bool reaches_bars(const Measured& measured) {
  const Figures& figures = figures_of(measured.network);
  for (std::size_t i = 0; i < kLayerWays.size(); ++i) {
    if (speed_up(measured.layers, i, false) < figures.bars[i]) return false;
  }
  return true;
}

}  // namespace onnx_split
