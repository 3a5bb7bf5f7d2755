// Importing holds the weights once. Measured in a process of its own, because a process's peak never falls again.

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/file.h"
#include "onnx_import/export.h"
#include "tests/onnx_import/model_maker.h"

namespace onnx_split {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr std::int64_t kTensors = 5;
constexpr std::int64_t kElements = 10 << 20;  // of each: 40 MB
constexpr double kWeightBytes = static_cast<double>(kTensors * kElements) * sizeof(float);

enum class Form { kRaw, kTyped, kConstantNodes };

// y = x + w0 + w1 + …, written a tensor at a time so that the test itself stays small.
Expected<void> write_model(const std::filesystem::path& path, Form form) {
  TRY_ASSIGN(AtomicFile file, AtomicFile::create(path));
  ModelMaker model(13);
  model.input("x", {kElements}).output("y");
  for (std::int64_t i = 0; i < kTensors; ++i) {
    const std::string weight = fmt::format("w{}", i);
    ModelMaker piece(13);  // protobuf messages one behind the other are one message
    piece.floats(weight, {kElements}, std::vector<float>(kElements, 1.0F));
    onnx::GraphProto& graph = *piece.proto().mutable_graph();
    graph.clear_name();
    onnx::TensorProto& tensor = *graph.mutable_initializer(0);
    if (form == Form::kTyped) {
      tensor.clear_raw_data();
      tensor.mutable_float_data()->Resize(kElements, 1.0F);
    }
    if (form == Form::kConstantNodes) {
      onnx::AttributeProto& value = *piece.node("Constant", {}, {weight}).proto().add_attribute();
      value.set_name("value");
      value.set_type(onnx::AttributeProto::TENSOR);
      value.mutable_t()->Swap(&tensor);
      graph.clear_initializer();
    }
    piece.proto().clear_opset_import();
    piece.proto().clear_ir_version();
    TRY(file.write(piece.bytes()));
    model.node("Add", {i == 0 ? "x" : fmt::format("y{}", i - 1), weight},
               {i + 1 == kTensors ? "y" : fmt::format("y{}", i)});
  }
  TRY(file.write(model.bytes()));
  return file.commit();
}

double peak_bytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024.0;
}

double current_bytes() {
  std::ifstream file("/proc/self/statm");
  double pages = 0;
  double resident = 0;
  file >> pages >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

class ImportMemory : public testing::TestWithParam<Form> {};
INSTANTIATE_TEST_SUITE_P(Forms, ImportMemory, testing::Values(Form::kRaw, Form::kTyped, Form::kConstantNodes));

TEST_P(ImportMemory, PeakIsTheWeightsOnce) {
  if (kSanitized) GTEST_SKIP() << "sanitizers' own memory hides what import uses";
  const auto folder = TemporaryDirectory::create("memory-test");
  ASSERT_TRUE(folder.has_value()) << folder.error().message;
  const std::filesystem::path path = folder->path() / "model.onnx";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // Writing peaks too: it happens in yet another process, so that what is measured here is the import alone.
    const pid_t writer = ::fork();
    if (writer == 0) ::_exit(write_model(path, GetParam()).has_value() ? 0 : 1);
    int written = -1;
    if (::waitpid(writer, &written, 0) != writer || written != 0) ::_exit(2);
    const double before = current_bytes();
    const Expected<Graph> graph = import_onnx(path, {.batch = 1, .simplify = false});
    if (!graph) ::_exit(3);
    const double ratio = (peak_bytes() - before) / kWeightBytes;
    fmt::print("import of {:.0f} MB of weights: peak {:.2f} of them\n", kWeightBytes / 1e6, ratio);
    std::fflush(stdout);
    ::_exit(ratio < 1.3 ? 0 : 4);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: write, 3: import, 4: more than 1.3 times the weights";
}

}  // namespace
}  // namespace onnx_split
