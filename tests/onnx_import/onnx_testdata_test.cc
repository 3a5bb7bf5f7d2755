// ONNX's own test cases (Debian's libonnx-testdata): each passes, or stands in onnx_testdata_excluded.txt with its
// reason.
//
// Inputs that parametrise an operator (a Reshape's shape) are given as constants: that is how this program takes them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "base/file.h"
#include "engine/evaluate.h"
#include "onnx_import/export.h"
#include "onnx_import/op_table.h"
#include "tests/onnx_import/model_maker.h"

namespace onnx_split {
namespace {

namespace fs = std::filesystem;

const fs::path kData = "/usr/share/libonnx-testdata/data";
const fs::path kExcludedList = fs::path(ONNX_SPLIT_TEST_DATA) / "../onnx_import/onnx_testdata_excluded.txt";
constexpr std::size_t kRequiredPasses = 375;  // with an output of floats: those are what this program is for

Expected<onnx::TensorProto> read_proto(const fs::path& path) {
  TRY_ASSIGN(const std::string bytes, read_file(path));
  onnx::TensorProto proto;
  if (!proto.ParseFromString(bytes)) return fail(ErrorCode::kInvalid, "{}: not a tensor", path.string());
  return proto;
}

// name → reason.
std::map<std::string, std::string> excluded_cases() {
  std::map<std::string, std::string> cases;
  std::ifstream file(kExcludedList);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.front() == '#') continue;
    const std::size_t tab = line.find('\t');
    cases[line.substr(0, tab)] = tab == std::string::npos ? "" : line.substr(tab + 1);
  }
  return cases;
}

std::vector<fs::path> case_folders() {
  std::vector<fs::path> folders;
  for (const char* group : {"node", "simple", "pytorch-operator", "pytorch-converted"}) {
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(kData / group, error))
      folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

std::string case_name(const fs::path& folder) {
  return folder.parent_path().filename().string() + "/" + folder.filename().string();
}

// The names of the inputs that the operator table reads as attributes.
std::set<std::string> parameter_names(const onnx::ModelProto& model) {
  std::int64_t opset = 1;
  for (const onnx::OperatorSetIdProto& entry : model.opset_import()) {
    if (entry.domain().empty()) opset = entry.version();
  }
  std::set<std::string> names;
  for (const onnx::NodeProto& node : model.graph().node()) {
    const OpRow* row = find_row(node.op_type(), opset);
    for (int i = 0; row != nullptr && i < node.input_size(); ++i) {
      if (parameter_at(*row, static_cast<std::size_t>(i)) != nullptr) names.insert(node.input(i));
    }
  }
  return names;
}

struct Case {
  onnx::ModelProto model;
  std::vector<Tensor> inputs;
  std::vector<Tensor> expected;
};

Expected<Case> load_case(const fs::path& folder) {
  Case loaded;
  TRY_ASSIGN(const std::string bytes, read_file(folder / "model.onnx"));
  if (!loaded.model.ParseFromString(bytes)) return fail(ErrorCode::kInvalid, "not a model");
  onnx::GraphProto& graph = *loaded.model.mutable_graph();
  std::set<std::string> initializers;
  for (const onnx::TensorProto& tensor : graph.initializer()) initializers.insert(tensor.name());
  const std::set<std::string> parameters = parameter_names(loaded.model);
  const fs::path data = folder / "test_data_set_0";
  int number = 0;
  for (const onnx::ValueInfoProto& input : graph.input()) {
    if (initializers.contains(input.name())) continue;
    const fs::path path = data / fmt::format("input_{}.pb", number++);
    if (parameters.contains(input.name())) {
      TRY_ASSIGN(onnx::TensorProto proto, read_proto(path));
      proto.set_name(input.name());
      *graph.add_initializer() = std::move(proto);
    } else {
      TRY_ASSIGN(Tensor tensor, import_tensor(path));
      loaded.inputs.push_back(std::move(tensor));
    }
  }
  for (int i = 0; i < graph.output_size(); ++i) {
    TRY_ASSIGN(Tensor tensor, import_tensor(data / fmt::format("output_{}.pb", i)));
    loaded.expected.push_back(std::move(tensor));
  }
  return loaded;
}

// ONNX's own runner allows rtol 1e-3 and atol 1e-7; sums in another order need an absolute part that grows with the
// values.
Expected<void> compare(const Tensor& actual, const Tensor& expected) {
  if (actual.type() != expected.type()) {
    return fail(ErrorCode::kInvalid, "expected {}, found {}", expected.type().to_string(), actual.type().to_string());
  }
  if (actual.type().type != DataType::kFloat32) {
    const auto same = std::ranges::equal(actual.view().bytes(), expected.view().bytes());
    return same ? Expected<void>{} : fail(ErrorCode::kInvalid, "other integers");
  }
  const std::span<const float> a = actual.as<float>();
  const std::span<const float> b = expected.as<float>();
  float largest = 0.0F;
  for (const float value : b) {
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool both_nan = std::isnan(a[i]) && std::isnan(b[i]);
    if (both_nan || a[i] == b[i]) continue;
    if (!(std::fabs(a[i] - b[i]) <= std::min(1e-4F * largest, 1e-5F + 1e-3F * std::fabs(b[i]) + 1e-5F * largest))) {
      return fail(ErrorCode::kInvalid, "element {}: expected {}, found {}", i, b[i], a[i]);
    }
  }
  return {};
}

Expected<void> compare_all(const Expected<std::vector<Tensor>>& actual, const std::vector<Tensor>& expected) {
  if (!actual) return tl::unexpected(actual.error());
  if (actual->size() != expected.size()) return fail(ErrorCode::kInvalid, "{} outputs", actual->size());
  for (std::size_t i = 0; i < expected.size(); ++i) TRY(compare((*actual)[i], expected[i]));
  return {};
}

// What comes back from an exported file computes the same.
Expected<void> run_exported(const Graph& graph, const Case& loaded, const fs::path& scratch) {
  TRY(export_onnx_file(graph, scratch / "model.onnx"));
  TRY_ASSIGN(const Graph again, import_onnx(scratch / "model.onnx", {.batch = 1, .simplify = false}));
  return compare_all(reference_run(again, loaded.inputs), loaded.expected);
}

bool gives_floats(const Case& loaded) {
  return std::ranges::any_of(loaded.expected,
                             [](const Tensor& tensor) { return tensor.type().type == DataType::kFloat32; });
}

// Whether an output is of floats.
Expected<bool> run_case(const fs::path& folder, const fs::path& scratch) {
  TRY_ASSIGN(const Case loaded, load_case(folder));
  for (const bool simplified : {false, true}) {
    TRY_ASSIGN(const Graph graph,
               import_string(loaded.model.SerializeAsString(), {}, {.batch = 1, .simplify = simplified}));
    if (graph.inputs().size() != loaded.inputs.size()) {
      return fail(ErrorCode::kInvalid, "{} inputs, the data has {}", graph.inputs().size(), loaded.inputs.size());
    }
    auto by_reference = compare_all(reference_run(graph, loaded.inputs), loaded.expected);
    if (!by_reference) return fail_in("reference", std::move(by_reference.error()));
    auto by_engine = compare_all(evaluate_once(graph, loaded.inputs), loaded.expected);
    if (!by_engine) return fail_in("engine", std::move(by_engine.error()));
    auto exported = run_exported(graph, loaded, scratch);
    if (!exported) return fail_in("exported", std::move(exported.error()));
  }
  return gives_floats(loaded);
}

TEST(OnnxTestdata, EveryCasePassesOrIsExcludedWithItsReason) {
  const std::vector<fs::path> folders = case_folders();
  ASSERT_FALSE(folders.empty()) << kData << " is missing: apt-get install libonnx-testdata";
  const auto scratch = TemporaryDirectory::create("onnx-testdata");
  ASSERT_TRUE(scratch.has_value()) << scratch.error().message;
  std::map<std::string, std::string> excluded = excluded_cases();
  const std::size_t excluded_count = excluded.size();
  std::size_t passed = 0;
  std::size_t passed_with_floats = 0;
  for (const fs::path& folder : folders) {
    const std::string name = case_name(folder);
    const auto listed = excluded.find(name);
    const bool is_excluded = listed != excluded.end();
    if (is_excluded) {
      EXPECT_FALSE(listed->second.empty()) << name << " is excluded without a reason";
      excluded.erase(listed);
      continue;
    }
    const Expected<bool> with_floats = run_case(folder, scratch->path());
    if (!with_floats) ADD_FAILURE() << name << ": " << with_floats.error().message;
    passed += with_floats.has_value() ? 1 : 0;
    passed_with_floats += with_floats.value_or(false) ? 1 : 0;
  }
  for (const auto& [name, reason] : excluded) ADD_FAILURE() << name << " is excluded but isn't there";
  fmt::print("libonnx-testdata: {} cases, {} passed ({} of them with an output of floats), {} excluded\n",
             folders.size(), passed, passed_with_floats, excluded_count);
  EXPECT_GE(passed_with_floats, kRequiredPasses);
}

}  // namespace
}  // namespace onnx_split
