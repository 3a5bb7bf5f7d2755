#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/model.h"
#include "onnx_import/export.h"
#include "partition/extract.h"
#include "partition/manifest.h"
#include "partition/plan_json.h"

namespace onnx_split {
namespace {

struct Options {
  ModelOptions model;
  std::string plan;
  std::string output;
};

// Removes what was written unless everything was.
class WrittenFiles {
 public:
  ~WrittenFiles() {
    std::error_code ignored;  // the error that matters is on its way already
    for (const auto& path : paths_) std::filesystem::remove(path, ignored);
    if (!folder_.empty()) std::filesystem::remove(folder_, ignored);
  }
  void add(std::filesystem::path path) { paths_.push_back(std::move(path)); }
  void add_folder(std::filesystem::path path) { folder_ = std::move(path); }
  void keep() {
    paths_.clear();
    folder_.clear();
  }

 private:
  std::vector<std::filesystem::path> paths_;
  std::filesystem::path folder_;
};

Expected<void> run(const Options& options) {
  TRY_ASSIGN(const Graph graph, load_model(options.model));
  TRY_ASSIGN(const Plan plan, read_plan(options.plan));
  auto parts = extract_parts(graph, plan);
  if (!parts) return fail_in(options.plan, std::move(parts.error()));
  const Manifest manifest = make_manifest(graph, plan);

  const std::filesystem::path folder = options.output;
  WrittenFiles written;
  std::error_code error;
  if (std::filesystem::create_directories(folder, error)) written.add_folder(folder);
  if (error) return fail(ErrorCode::kIo, "{}: cannot create folder: {}", options.output, error.message());
  for (const PartGraph& part : *parts) {
    const ManifestPart* listed = manifest.find_part(part.id);
    if (listed == nullptr) continue;  // standby
    const std::filesystem::path path = folder / listed->file;
    TRY(export_onnx_file(part.graph, path));
    written.add(path);
    std::filesystem::path weights = path;
    written.add(weights.replace_extension(".weights"));
  }
  TRY(write_file(folder / "manifest.json", to_text(manifest_to_json(manifest), 1) + "\n"));
  written.keep();
  for (const ManifestPart& part : manifest.parts) fmt::print("{}\n", (folder / part.file).string());
  return {};
}

}  // namespace

Command add_split(CLI::App& program, const CommonOptions&) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("split", "write the parts of a plan as ONNX files, and manifest.json");
  add_model_options(*command, options->model);
  command->add_option("--plan", options->plan, "the plan")->type_name("PLAN.json")->required();
  command->add_option("-o,--output", options->output, "the folder to write to")->type_name("DIR")->required();
  command->footer("Example:\n  onnx-split split resnet50.onnx --plan plan.json -o parts");
  return [options] { return run(*options); };
}

}  // namespace onnx_split
