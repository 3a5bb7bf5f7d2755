#include "cli/output.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <system_error>

#include "base/file.h"
#include "cli/npy.h"

namespace onnx_split {
namespace {

namespace fs = std::filesystem;

// Names come from models and files, and must not lead out of the folder.
std::string safe_name(std::string_view name) {
  std::string safe(name);
  std::ranges::replace_if(
      safe,
      [](char c) { return c == '/' || c == '\\' || c == ':' || static_cast<unsigned char>(c) < ' ' || c == 0x7f; },
      '_');
  return safe;
}

// An output: what its files' names end in.
std::vector<std::string> suffixes_of(const Graph& graph) {
  std::vector<std::string> suffixes;
  for (const ValueId id : graph.outputs()) {
    const std::string name = graph.outputs().size() == 1 ? "" : "." + safe_name(graph.value(id).name);
    std::string suffix = name + ".npy";
    for (int copy = 2; std::ranges::find(suffixes, suffix) != suffixes.end(); ++copy) {
      suffix = fmt::format("{}-{}.npy", name, copy);
    }
    suffixes.push_back(std::move(suffix));
  }
  return suffixes;
}

double softmax_denominator(std::span<const float> values, float largest) {
  double sum = 0;
  for (const float value : values) sum += std::exp(static_cast<double>(value) - largest);
  return sum;
}

}  // namespace

Expected<OutputSink> OutputSink::open(const fs::path& path, const Graph& graph, std::size_t items) {
  std::error_code error;
  const bool folder = path.extension() != ".npy" || fs::is_directory(path, error);
  OutputSink sink(path, suffixes_of(graph), folder);
  if (!folder) {
    if (items != 1 || sink.suffixes_.size() != 1) {
      return fail(ErrorCode::kInvalid, "{}: {} inputs with {} outputs each need a folder, not one file", path.string(),
                  items, sink.suffixes_.size());
    }
    TRY(AtomicFile::create(path));
    return sink;
  }
  fs::create_directories(path, error);
  if (error) return fail(ErrorCode::kIo, "{}: cannot create folder: {}", path.string(), error.message());
  TRY(AtomicFile::create(path / "probe"));
  return sink;
}

Expected<void> OutputSink::write(const std::string& label, std::span<const Tensor> outputs) {
  CHECK(outputs.size() == suffixes_.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const fs::path file = folder_ ? path_ / (safe_name(label) + suffixes_[i]) : path_;
    if (!written_.insert(file.filename().string()).second) {
      return fail(ErrorCode::kInvalid, "{}: two results would have this name", file.string());
    }
    TRY(write_npy(file, outputs[i].view()));
  }
  return {};
}

Expected<std::vector<std::string>> read_labels(const fs::path& path) {
  TRY_ASSIGN(const std::string text, read_file(path));
  std::string_view rest = text;
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);
  std::vector<std::string> labels;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    labels.emplace_back(line);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  while (!labels.empty() && labels.back().empty()) labels.pop_back();
  if (labels.empty()) return fail(ErrorCode::kInvalid, "{}: no labels in this file", path.string());
  return labels;
}

Expected<std::vector<Ranked>> top_k(const Tensor& scores, std::size_t k, std::span<const std::string> labels) {
  const TensorType& type = scores.type();
  const auto axes = std::ranges::count_if(type.shape, [](std::int64_t extent) { return extent != 1; });
  if (type.type != DataType::kFloat32 || axes > 1) {
    return fail(ErrorCode::kUnsupported, "the largest values need one float32 a class, the output is {}",
                type.to_string());
  }
  const std::span<const float> values = scores.as<float>();
  if (!labels.empty() && labels.size() != values.size()) {
    return fail(ErrorCode::kInvalid, "expected {} labels, one a class, found {}", values.size(), labels.size());
  }
  const auto before = [&](std::size_t a, std::size_t b) {
    if (std::isnan(values[a]) != std::isnan(values[b])) return std::isnan(values[b]);
    return values[a] != values[b] && !std::isnan(values[a]) ? values[a] > values[b] : a < b;
  };
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::size_t count = std::min(k, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(), before);

  std::vector<Ranked> ranked;
  if (count == 0) return ranked;
  const float largest = values[order.front()];
  const double denominator = softmax_denominator(values, largest);
  for (const std::size_t index : std::span(order).first(count)) {
    const double probability = std::exp(static_cast<double>(values[index]) - largest) / denominator;
    ranked.push_back({index, values[index], probability, labels.empty() ? "" : labels[index]});
  }
  return ranked;
}

}  // namespace onnx_split
