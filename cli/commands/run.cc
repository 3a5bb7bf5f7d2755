#include <CLI/CLI.hpp>
#include <deque>
#include <memory>

#include "base/json.h"
#include "cli/backend.h"
#include "cli/commands.h"
#include "cli/input_options.h"
#include "cli/model.h"
#include "cli/npy.h"
#include "cli/output.h"
#include "cli/progress.h"

namespace onnx_split {
namespace {

struct Options {
  ModelOptions model;
  BackendOptions backend;
  InputOptions input;
  std::string output;
  std::string labels;
  std::string expect;
  std::size_t top = 0;
  double deadline_ms = 0.0;  // 0: none
  bool json = false;
};

struct Accuracy {
  std::size_t correct = 0;
  std::size_t total = 0;
  double value() const { return total == 0 ? 0.0 : static_cast<double>(correct) / static_cast<double>(total); }
};

// What happens to each result, in the order of the inputs.
class Results {
 public:
  static Expected<Results> open(const Options& options, const Graph& graph, std::size_t items) {
    Results results(options);
    if (!options.output.empty()) {
      TRY_ASSIGN(OutputSink sink, OutputSink::open(options.output, graph, items));
      results.sink_.emplace(std::move(sink));
    }
    if (!options.labels.empty()) {
      TRY_ASSIGN(results.labels_, read_labels(options.labels));
    }
    if (!options.expect.empty()) {
      TRY_ASSIGN(const Tensor expected, read_npy(options.expect));
      if (expected.type().type != DataType::kInt64 || static_cast<std::size_t>(expected.shape().elements()) != items) {
        return fail(ErrorCode::kInvalid, "{}: expected int64 class numbers of {} inputs, found {}", options.expect,
                    items, expected.type().to_string());
      }
      results.expected_ = expected;
    }
    return results;
  }

  Expected<void> take(const std::string& label, const std::vector<Tensor>& outputs) {
    if (sink_) TRY(sink_->write(label, outputs));
    std::vector<Ranked> ranked;
    const std::size_t wanted = std::max<std::size_t>(options_->top, expected_ ? 1 : 0);
    if (wanted > 0) {
      TRY_ASSIGN(ranked, top_k(outputs.front(), wanted, labels_));
    }
    if (expected_) {
      const std::int64_t truth = expected_->as<std::int64_t>()[item_];
      ++accuracy_.total;
      if (static_cast<std::int64_t>(ranked.front().index) == truth) ++accuracy_.correct;
      truths_.push_back(truth);
    }
    ++item_;
    ranked.resize(std::min(ranked.size(), options_->top));
    if (options_->json) {
      add_json(label, ranked);
    } else {
      print(label, ranked, outputs);
    }
    return {};
  }

  void finish(const Graph& graph, const Backend& backend) {
    if (options_->json) {
      Json json = {{"model", graph.name()}, {"backend", backend.describe()}, {"results", std::move(list_)}};
      if (expected_) {
        json["accuracy"] = accuracy_.value();
        json["correct"] = accuracy_.correct;
        json["total"] = accuracy_.total;
      }
      fmt::print("{}\n", to_text(json, 1));
    } else if (expected_) {
      fmt::print("accuracy {:.4f} ({} of {})\n", accuracy_.value(), accuracy_.correct, accuracy_.total);
    }
  }

  // No answer in time.
  void miss(const std::string& label, const Error& error) {
    ++item_;
    fmt::print(stderr, "{}: {}\n", label, error.message);
    list_.push_back({{"input", label}, {"error", error.message}});
  }

 private:
  explicit Results(const Options& options) : options_(&options), list_(Json::array()) {}

  std::string name_of(std::int64_t index) const {
    const auto i = static_cast<std::size_t>(index);
    return index >= 0 && i < labels_.size() ? labels_[i] : std::to_string(index);
  }

  void add_json(const std::string& label, const std::vector<Ranked>& ranked) {
    Json entry = {{"input", label}};
    if (options_->top > 0) {
      entry["top"] = Json::array();
      for (const Ranked& one : ranked) {
        entry["top"].push_back(
            {{"index", one.index}, {"label", one.label}, {"score", one.value}, {"probability", one.probability}});
      }
    }
    if (expected_) entry["expected"] = truths_.back();
    list_.push_back(std::move(entry));
  }

  void print(const std::string& label, const std::vector<Ranked>& ranked, const std::vector<Tensor>& outputs) {
    if (ranked.empty()) {
      if (options_->output.empty() && !expected_) {
        for (const Tensor& output : outputs) fmt::print("{}: {}\n", label, output.type().to_string());
      }
      return;
    }
    std::string line = fmt::format("{}:", label);
    for (const Ranked& one : ranked) {
      line += fmt::format("  {} {:.4f}", one.label.empty() ? std::to_string(one.index) : one.label, one.value);
    }
    if (expected_) {
      const bool right = static_cast<std::int64_t>(ranked.front().index) == truths_.back();
      line += fmt::format("  (true: {}){}", name_of(truths_.back()), right ? "" : "  WRONG");
    }
    fmt::print("{}\n", line);
  }

  const Options* options_;
  std::optional<OutputSink> sink_;
  std::vector<std::string> labels_;
  std::optional<Tensor> expected_;
  std::vector<std::int64_t> truths_;
  std::size_t item_ = 0;
  Accuracy accuracy_;
  Json list_;
};

// Keeps the window full and takes the results in the order of the inputs. Those that miss their deadline are told of,
// and the rest goes on.
Expected<void> run_all(Backend& backend, const InputSource& inputs, Results& results, double deadline_ms, bool quiet) {
  Progress progress("computing", quiet);
  std::size_t late = 0;
  std::deque<std::future<Result>> pending;
  std::size_t taken = 0;
  const auto take_one = [&]() -> Expected<void> {
    auto outputs = pending.front().get();
    pending.pop_front();
    const std::string label = inputs.label(taken++);
    if (!outputs && deadline_ms > 0.0 && outputs.error().code == ErrorCode::kTimeout) {
      ++late;
      results.miss(label, outputs.error());
      return {};
    }
    if (!outputs) return fail_in(label, std::move(outputs.error()));
    progress.update(taken, inputs.size());
    return results.take(label, *outputs);
  };
  for (std::size_t item = 0; item < inputs.size(); ++item) {
    while (pending.size() >= backend.window()) TRY(take_one());  // another plan's may be smaller
    TRY_ASSIGN(const std::vector<Tensor> tensors, inputs.load(item));
    const auto deadline = deadline_ms > 0.0
                              ? Backend::Clock::now() + std::chrono::duration_cast<Backend::Clock::duration>(
                                                            std::chrono::duration<double, std::milli>(deadline_ms))
                              : Coordinator::kNoDeadline;
    pending.push_back(backend.submit(tensors, deadline));
  }
  while (!pending.empty()) TRY(take_one());
  if (late > 0) return fail(ErrorCode::kTimeout, "{} of {} inputs missed their deadline", late, inputs.size());
  return {};
}

Expected<void> run(Options& options, const CommonOptions& common) {
  options.backend.quiet = common.quiet;
  options.backend.log_level = common.log_level;
  TRY_ASSIGN(const Graph graph, load_model(options.model));
  TRY_ASSIGN(const InputSource inputs, open_inputs(options.input, graph));
  TRY_ASSIGN(const std::unique_ptr<Backend> backend, make_backend(graph, options.backend));
  TRY_ASSIGN(Results results, Results::open(options, graph, inputs.size()));
  auto done = run_all(*backend, inputs, results, options.deadline_ms, common.quiet);
  if (done || done.error().code == ErrorCode::kTimeout) results.finish(graph, *backend);
  return done;
}

}  // namespace

Command add_run(CLI::App& program, const CommonOptions& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("run", "compute a network's answer for some inputs");
  add_model_options(*command, options->model);
  add_backend_options(*command, options->backend);
  add_input_options(*command, options->input, true);
  command->add_option("--output", options->output, "a .npy file for one input, a directory for several")
      ->type_name("Y");
  command->add_option("--top", options->top, "print the K likeliest classes of the first output")->type_name("K");
  command->add_option("--labels", options->labels, "names of the classes, one a line")->type_name("FILE");
  command->add_option("--expect", options->expect, "true class numbers of the inputs (.npy): print the accuracy")
      ->type_name("FILE");
  command->add_option("--deadline-ms", options->deadline_ms, "inputs that aren't answered by then fail")
      ->type_name("D")
      ->check(CLI::PositiveNumber);
  command->add_flag("--json", options->json, "as JSON");
  command->footer("Example:\n  onnx-split run resnet50.onnx --local 4 --input photo.jpg --top 5");
  return [options, &common] { return run(*options, common); };
}

}  // namespace onnx_split
