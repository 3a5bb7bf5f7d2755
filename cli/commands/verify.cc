#include "fleet/verify.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/input_options.h"
#include "cli/model.h"
#include "cli/table.h"
#include "partition/plan_json.h"

namespace onnx_split {
namespace {

struct Options {
  ModelOptions model;
  InputOptions input;
  std::string plan;
  std::string parts;
  EngineOptions engine;
  std::optional<double> tolerance;
  bool json = false;

  bool half_weights() const { return rule_of(engine).half_weights; }
};

constexpr double kTolerance = 1e-4, kToleranceOfHalfWeights = 1e-2;

// The parts that are checked, and how the uncut network computes: as they do, but always with float weights.
struct Subject {
  Composer composer;
  SessionOptions uncut;
  bool half_weights;
};

Expected<Plan> whole_network(const Graph& graph, const EngineOptions& engine) {
  PlanRequest request;
  request.devices = {"local0"};
  request.engine = engine_facts(available_cores(), rule_of(engine));
  return make_plan(graph, request);
}

Expected<Subject> subject_of(const Options& options, const Graph& graph) {
  SessionOptions uncut;
  uncut.threads = available_cores();
  SessionOptions session = uncut;
  session.rule = rule_of(options.engine);
  if (!options.parts.empty()) {
    auto folder = read_part_folder(options.parts);
    if (!folder) return tl::unexpected(std::move(folder.error()));
    std::vector<ComposedPart> parts;
    for (Graph& part : folder->parts) parts.push_back({std::move(part), {}});
    auto composer = Composer::create(std::move(folder->manifest), std::move(parts), session);
    if (!composer) return fail_in(options.parts, std::move(composer.error()));
    return Subject{std::move(*composer), uncut, session.rule.half_weights};
  }
  TRY_ASSIGN(const Plan plan, options.plan.empty() ? whole_network(graph, options.engine) : read_plan(options.plan));
  auto composer = Composer::create(graph, plan, session);
  if (!composer) return fail_in(options.plan, std::move(composer.error()));
  uncut.choices = with_float_weights(plan.choices);
  return Subject{std::move(*composer), uncut, uncut.choices != plan.choices};
}

// Half weights are summed after they were rounded, so that their tolerance holds for what is decoded, too.
bool decoded_right(const VerifyReport& report, double tolerance) {
  return std::all_of(report.decoded.begin(), report.decoded.end(), [&](const ValueError& value) {
    return value.relative() <= std::max(tolerance, kDecodedTolerance);
  });
}

void print_report(const VerifyReport& report, bool passed, bool as_json) {
  const ValueError& worst = report.worst();
  std::vector<ValueError> all = report.values;
  all.insert(all.end(), report.decoded.begin(), report.decoded.end());
  if (as_json) {
    Json values = Json::array();
    for (const ValueError& value : all) {
      Json entry = {{"value", value.value},
                    {"max_abs_error", value.max_abs_error},
                    {"max_abs_reference", value.max_abs_reference},
                    {"relative_error", value.relative()},
                    {"bitwise_equal", value.bitwise_equal}};
      if (value.without) entry["without"] = to_string(*value.without);
      values.push_back(std::move(entry));
    }
    const Json json = {{"max_abs_error", worst.max_abs_error},
                       {"max_abs_reference", worst.max_abs_reference},
                       {"relative_error", worst.relative()},
                       {"bitwise_equal", report.bitwise_equal()},
                       {"passed", passed},
                       {"values", std::move(values)}};
    fmt::print("{}\n", to_text(json, 1));
    return;
  }
  Table table({"value", ">max |a-b|", ">max |b|", ">relative", "bits"});
  for (const ValueError& value : all) {
    const std::string name =
        value.without ? fmt::format("{} without {}", value.value, to_string(*value.without)) : value.value;
    table.add({name, fmt::format("{:.3g}", value.max_abs_error), fmt::format("{:.4g}", value.max_abs_reference),
               fmt::format("{:.2e}", value.relative()), value.bitwise_equal ? "equal" : "differ"});
  }
  fmt::print("{}{}\n", table.to_string(), passed ? "passed" : "FAILED");
}

Expected<void> run(const Options& options) {
  TRY_ASSIGN(const Graph graph, load_model(options.model));
  TRY_ASSIGN(const InputSource inputs, open_inputs(options.input, graph, "random:1"));
  TRY_ASSIGN(Subject subject, subject_of(options, graph));
  const double tolerance = options.tolerance.value_or(subject.half_weights ? kToleranceOfHalfWeights : kTolerance);
  bool passed = true;
  for (std::size_t item = 0; item < inputs.size(); ++item) {
    TRY_ASSIGN(const std::vector<Tensor> tensors, inputs.load(item));
    TRY_ASSIGN(const VerifyReport report, verify(graph, subject.composer, tensors, subject.uncut));
    const bool item_passed = report.worst().relative() <= tolerance && decoded_right(report, tolerance);
    print_report(report, item_passed, options.json);
    passed = passed && item_passed;
  }
  if (!passed) return fail(ErrorCode::kInvalid, "the parts don't give the network's answer within {}", tolerance);
  return {};
}

}  // namespace

Command add_verify(CLI::App& program, const CommonOptions&) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("verify", "compare the parts' values with the uncut network's, in this process");
  add_model_options(*command, options->model);
  auto* plan = command->add_option("--plan", options->plan, "the plan to check")->type_name("PLAN.json");
  command->add_option("--parts", options->parts, "the folder of parts to check")->type_name("DIR")->excludes(plan);
  add_weights_option(*command, options->engine);
  plan->excludes(command->get_option("--weights"));  // it says that itself
  add_input_options(*command, options->input, false);
  command
      ->add_option("--tolerance", options->tolerance, "largest allowed max|a-b| / max|b|; 1e-4, with half weights 1e-2")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--json", options->json, "as JSON (a document for each input)");
  command->final_callback([options] {
    if (options->plan.empty() && options->parts.empty() && !options->half_weights()) {
      throw CLI::RequiredError("--plan, --parts or --weights fp16");
    }
  });
  command->footer("Example:\n  onnx-split verify resnet50.onnx --plan plan.json --input photo.jpg");
  return [options] { return run(*options); };
}

}  // namespace onnx_split
