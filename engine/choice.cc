#include "engine/choice.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "engine/blas_core.h"
#include "graph/layout.h"
#include "graph/ops/checks.h"
#include "graph/ops/conv.h"
#include "graph/ops/gemm.h"

namespace onnx_split {
namespace {

using Algorithm = Choice::Algorithm;

struct AlgorithmName {
  Algorithm algorithm;
  std::string_view name;
  bool tile, depth, rows;  // which parameters it has
  bool half = false;       // whether it can have weights=fp16
};
constexpr std::array kAlgorithms = {
    AlgorithmName{Algorithm::kDirect, "direct", false, false, false, true},
    AlgorithmName{Algorithm::kWinograd2, "winograd2", false, false, false, true},
    AlgorithmName{Algorithm::kWinograd4, "winograd4", false, false, false, true},
    AlgorithmName{Algorithm::kIm2col, "im2col", true, true, true},
    AlgorithmName{Algorithm::kDirect1x1, "direct_1x1", true, false, true},
    AlgorithmName{Algorithm::kDepthwise, "depthwise", false, false, false},
    AlgorithmName{Algorithm::kGemv, "gemv", false, false, false, true},
    AlgorithmName{Algorithm::kSgemm, "sgemm", true, false, true},
};

const AlgorithmName& name_of(Algorithm algorithm) {
  return *std::find_if(kAlgorithms.begin(), kAlgorithms.end(),
                       [&](const AlgorithmName& row) { return row.algorithm == algorithm; });
}

// No single piece of scratch memory is larger, whatever a choice asks for.
constexpr std::int64_t kMaxScratchElements = std::int64_t{1} << 24;

// OpenBLAS writes its cores' names now so, now so.
std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return lower;
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Divides `count` into the fewest equal pieces of at most `most`, rounded up to a multiple of `granule`.
std::int64_t even_piece(std::int64_t count, std::int64_t most, std::int64_t granule) {
  if (count <= most) return std::max<std::int64_t>(count, 1);
  const std::int64_t piece = ceil_div(count, ceil_div(count, most));
  return std::min(count, ceil_div(piece, granule) * granule);
}

bool is_direct_1x1(const ConvGeometry& geometry) {
  return std::all_of(geometry.window.axes.begin(), geometry.window.axes.end(), [](const WindowAxis& axis) {
    return axis.kernel == 1 && axis.stride == 1 && axis.pad_begin == 0 && axis.pad_end == 0;
  });
}

// A direct convolution copies the input of some positions with its padding (engine/kernels/conv_band.h).
bool is_direct(const ConvGeometry& geometry) {
  constexpr std::int64_t kPositions = 28;
  std::int64_t elements = geometry.input_channels + kChannelBlock;
  for (std::size_t i = 0; i < geometry.window.axes.size(); ++i) {
    const WindowAxis& axis = geometry.window.axes[i];
    const std::int64_t positions = i + 1 == geometry.window.axes.size() ? std::min(kPositions, axis.output) : 1;
    elements = saturating_mul(elements, (positions - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1);
  }
  return elements <= kMaxScratchElements;
}

bool is_depthwise(const ConvGeometry& geometry) {
  return geometry.depthwise() && geometry.output_channels == geometry.input_channels && is_direct(geometry);
}

bool is_winograd(Algorithm algorithm) {
  return algorithm == Algorithm::kWinograd2 || algorithm == Algorithm::kWinograd4;
}

bool can_be_winograd(const ConvGeometry& geometry) {
  return geometry.groups == 1 && geometry.input_channels >= kChannelBlock && geometry.window.axes.size() == 2 &&
         std::all_of(geometry.window.axes.begin(), geometry.window.axes.end(),
                     [](const WindowAxis& axis) { return axis.kernel == 3 && axis.stride == 1 && axis.dilation == 1; });
}

// Rough clock cycles of a core that does sixteen multiplications and additions in each and reads four bytes of weights;
// measured on AVX-512.
double rough_cycles(const ConvGeometry& geometry, Algorithm algorithm) {
  constexpr double kRead = 1.0, kMultiply = 1.0 / 16, kTransform = 0.3;
  const auto inputs = static_cast<double>(geometry.input_channels);
  const auto outputs = static_cast<double>(geometry.output_channels);
  if (algorithm == Algorithm::kDirect) {
    const auto positions = static_cast<double>(geometry.output_positions() * geometry.batch);
    return static_cast<double>(geometry.kernel_elements()) * inputs * outputs * (positions * kMultiply + kRead);
  }
  CHECK(is_winograd(algorithm));
  const std::int64_t m = algorithm == Algorithm::kWinograd2 ? 2 : 4;
  const std::int64_t rows = geometry.window.axes[0].output, columns = geometry.window.axes[1].output;
  const auto elements = static_cast<double>((m + 2) * (m + 2));
  const auto tiles = static_cast<double>(ceil_div(rows, m) * ceil_div(columns, m) * geometry.batch);
  return elements * (inputs * outputs * (tiles * kMultiply + kRead) + tiles * kTransform * (inputs + outputs));
}

// With fewer tiles than this, output channels are divided too, so that several threads find work.
constexpr std::int64_t kEnoughTasks = 4;

std::int64_t rows_rule(std::int64_t rows, std::int64_t tasks) {
  return tasks >= kEnoughTasks ? rows : even_piece(rows, std::max<std::int64_t>(64, ceil_div(rows, kEnoughTasks)), 16);
}

// What fits the cache of one core: a tile of the im2col matrix, in floats, and the widest tile of positions. Wide tiles
// read the weights less often. Measured on AVX-512 with 2 MB of L2 a core; Raspberry Pis have 1 MB for four cores (A72)
// or 512 KB for each (A76).
struct TileLimits {
  std::int64_t elements;
  std::int64_t positions;
};
TileLimits tile_limits(std::string_view core) {
  const bool arm = core.starts_with("arm") || core.starts_with("cortex") || core.starts_with("neoverse");
  return arm ? TileLimits{1 << 16, 512} : TileLimits{1 << 18, 1024};
}

// Deeper blocks gain nothing: OpenBLAS divides the depth itself.
constexpr std::int64_t kMostDepth = 384;

// Unpacked products are from 5 % faster for large layers to twice as fast for few positions, where packing the weights
// costs as much as multiplying them. They are widest where a tile stays in the L2 cache and its rows are several fours,
// which share its loads. Measured as above.
constexpr std::int64_t kUnpackedElements = 192 * 192;  // of a tile of the im2col matrix
constexpr std::int64_t kUnpackedDepth = 192;
constexpr std::int64_t kUnpackedPositions = 512;
constexpr std::int64_t kUnpackedRows = 48;

Choice unpacked_conv_rule(const ConvGeometry& geometry, std::int64_t channels, std::int64_t depth,
                          bool must_be_im2col) {
  const std::int64_t positions = geometry.output_positions();
  const auto most_positions = [](std::int64_t block) {
    return std::min(kUnpackedPositions, kUnpackedElements / block);
  };
  // The depth of a direct product isn't divided: where it is large, few positions are a tile, and wide tiles are
  // faster.
  const std::int64_t direct_positions = most_positions(depth);
  const bool direct =
      !must_be_im2col && is_direct_1x1(geometry) && (direct_positions >= 64 || direct_positions >= positions);
  Choice choice;
  choice.algorithm = direct ? Algorithm::kDirect1x1 : Algorithm::kIm2col;
  if (!direct) choice.depth = even_piece(depth, kUnpackedDepth, 1);
  const std::int64_t block = direct ? depth : choice.depth;
  choice.tile = even_piece(positions, std::max<std::int64_t>(most_positions(block) / 16 * 16, 16), 16);
  const std::int64_t most_rows = std::min(kUnpackedRows, kUnpackedProducts / (choice.tile * block) / 4 * 4);
  choice.rows = even_piece(channels, std::max<std::int64_t>(most_rows, 4), 4);
  return choice;
}

// A matrix product of OpenBLAS.
Choice openblas_conv_rule(const ConvGeometry& geometry, const std::string& core, bool must_be_im2col) {
  const std::int64_t positions = geometry.output_positions();
  const std::int64_t channels = geometry.output_channels / geometry.groups;
  const std::int64_t depth = geometry.input_channels / geometry.groups * geometry.kernel_elements();
  if (multiplies_unpacked(core)) return unpacked_conv_rule(geometry, channels, depth, must_be_im2col);
  Choice choice;
  choice.algorithm = is_direct_1x1(geometry) && !must_be_im2col ? Algorithm::kDirect1x1 : Algorithm::kIm2col;
  const TileLimits limits = tile_limits(core);
  choice.tile = even_piece(positions, limits.positions, 16);
  if (choice.algorithm == Algorithm::kIm2col) {
    choice.depth = even_piece(depth, std::min(kMostDepth, limits.elements / choice.tile), 1);
  }
  choice.rows = rows_rule(channels, ceil_div(positions, choice.tile) * geometry.groups * geometry.batch);
  return choice;
}

bool can_compute(const ConvGeometry& geometry, Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kDirect: return is_direct(geometry);
    case Algorithm::kWinograd2:
    case Algorithm::kWinograd4: return can_be_winograd(geometry);
    case Algorithm::kDepthwise: return is_depthwise(geometry);
    case Algorithm::kDirect1x1: return is_direct_1x1(geometry);
    case Algorithm::kIm2col: return true;
    case Algorithm::kGemv:
    case Algorithm::kSgemm: return false;
  }
  return false;
}

Choice conv_rule(const ConvGeometry& geometry, const ChoiceRule& rule) {
  // From the fastest on, but for those that the cycles tell apart.
  constexpr std::array kPreferred = {Algorithm::kDepthwise, Algorithm::kDirect,    Algorithm::kWinograd2,
                                     Algorithm::kWinograd4, Algorithm::kDirect1x1, Algorithm::kIm2col};
  const auto among = [&](const ChoiceRule& permitting) {
    std::vector<Algorithm> found;
    for (const Algorithm algorithm : kPreferred) {
      if (can_compute(geometry, algorithm) && permitting.allows(algorithm)) found.push_back(algorithm);
    }
    return found;
  };
  std::vector<Algorithm> possible = among(rule);
  if (possible.empty()) possible = among({.core = rule.core, .allowed = {}, .half_weights = rule.half_weights});
  Algorithm best = possible.front();
  if (best == Algorithm::kIm2col || best == Algorithm::kDirect1x1) {
    Choice choice = openblas_conv_rule(geometry, lower_case(rule.core), best == Algorithm::kIm2col);
    const bool only_1x1 = possible.size() == 1 && best == Algorithm::kDirect1x1;
    if (only_1x1 && choice.algorithm != best) choice = {best, choice.tile, 0, choice.rows};
    return choice;
  }
  for (const Algorithm algorithm : possible) {
    if (best == Algorithm::kDepthwise || (algorithm != Algorithm::kDirect && !is_winograd(algorithm))) break;
    if (rough_cycles(geometry, algorithm) < rough_cycles(geometry, best)) best = algorithm;
  }
  return {best, 0, 0, 0};
}

Choice gemm_rule(std::int64_t m, std::int64_t n, std::int64_t batch, const ChoiceRule& rule) {
  if (m == 1 && (rule.allows(Algorithm::kGemv) || !rule.allows(Algorithm::kSgemm))) return {Algorithm::kGemv, 0, 0, 0};
  Choice choice{Algorithm::kSgemm, 0, 0, 0};
  choice.tile = even_piece(n, 512, 16);
  choice.rows = rows_rule(m, ceil_div(n, choice.tile) * batch);
  return choice;
}

struct GemmSize {
  std::int64_t m, n, batch;
};

GemmSize gemm_size(OpType op, const OpCall& call) {
  if (op == OpType::kGemm) {
    const auto geometry = gemm_geometry(call);
    CHECK(geometry.has_value());
    return {geometry->m, geometry->n, 1};
  }
  const auto geometry = matmul_geometry(call);
  CHECK(geometry.has_value());
  return {geometry->m, geometry->n, geometry->batch.elements()};
}

bool can_be_half(OpType op, const OpCall& call, Algorithm algorithm) {
  return name_of(algorithm).half && (op != OpType::kMatMul || gemm_size(op, call).batch == 1);
}

ConvGeometry checked_conv_geometry(const OpCall& call) {
  auto geometry = conv_geometry(call);
  CHECK(geometry.has_value());
  return std::move(*geometry);
}

Expected<std::int64_t> parse_parameter(std::string_view value, std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || end != value.data() + value.size() || number < 1 || number > kMaxScratchElements) {
    return fail(ErrorCode::kInvalid, "choice \"{}\": expected a number from 1 to {}, found \"{}\"", text,
                kMaxScratchElements, value);
  }
  return number;
}

Expected<Choice> parse_text(std::string_view text) {
  std::string_view rest = text;
  const auto next_word = [&rest] {
    const std::size_t space = std::min(rest.find(' '), rest.size());
    const std::string_view word = rest.substr(0, space);
    rest.remove_prefix(std::min(space + 1, rest.size()));
    return word;
  };
  const std::string_view name = next_word();
  const auto row = std::find_if(kAlgorithms.begin(), kAlgorithms.end(), [&](const auto& r) { return r.name == name; });
  if (row == kAlgorithms.end()) {
    return fail(ErrorCode::kInvalid, "choice \"{}\": no algorithm is called \"{}\"", text, name);
  }
  Choice choice{row->algorithm, 0, 0, 0};
  while (!rest.empty()) {
    const std::string_view word = next_word();
    const std::size_t equals = std::min(word.find('='), word.size());
    const std::string_view key = word.substr(0, equals);
    if (word == "weights=fp16" && row->half && !choice.half) {
      choice.half = true;
      continue;
    }
    std::int64_t* field = key == "tile" && row->tile     ? &choice.tile
                          : key == "depth" && row->depth ? &choice.depth
                          : key == "rows" && row->rows   ? &choice.rows
                                                         : nullptr;
    if (field == nullptr || equals == word.size() || *field != 0) {
      return fail(ErrorCode::kInvalid, "choice \"{}\": \"{}\" isn't a parameter of {} or comes twice", text, word,
                  name);
    }
    TRY_ASSIGN(*field, parse_parameter(word.substr(equals + 1), text));
  }
  if ((row->tile && choice.tile == 0) || (row->depth && choice.depth == 0) || (row->rows && choice.rows == 0)) {
    return fail(ErrorCode::kInvalid, "choice \"{}\": a parameter of {} is missing", text, name);
  }
  return choice;
}

}  // namespace

std::string to_text(const Choice& choice) {
  const AlgorithmName& row = name_of(choice.algorithm);
  std::string text(row.name);
  if (row.tile) text += fmt::format(" tile={}", choice.tile);
  if (row.depth) text += fmt::format(" depth={}", choice.depth);
  if (row.rows) text += fmt::format(" rows={}", choice.rows);
  if (choice.half) text += " weights=fp16";
  return text;
}

bool multiplies_unpacked(std::string_view core) {
  const std::string name = lower_case(core);
  return name == "skylakex" || name == "cooperlake" || name == "sapphirerapids";
}

bool has_choice(OpType op) { return op == OpType::kConv || op == OpType::kGemm || op == OpType::kMatMul; }

bool ChoiceRule::allows(Algorithm algorithm) const {
  if (allowed.empty()) return !half_weights || algorithm != Algorithm::kWinograd4;
  return std::find(allowed.begin(), allowed.end(), algorithm) != allowed.end();
}

bool computes_in_blocks(std::string_view choice) {
  const auto parsed = parse_text(choice);
  if (!parsed) return false;
  return parsed->algorithm == Algorithm::kDirect || parsed->algorithm == Algorithm::kDepthwise ||
         is_winograd(parsed->algorithm);
}

std::vector<Choice::Algorithm> openblas_algorithms() {
  return {Algorithm::kIm2col, Algorithm::kDirect1x1, Algorithm::kSgemm};
}

std::vector<Choice::Algorithm> lean_algorithms() {
  std::vector<Algorithm> lean;
  for (const AlgorithmName& row : kAlgorithms) {
    if (!is_winograd(row.algorithm)) lean.push_back(row.algorithm);
  }
  return lean;
}

Expected<std::vector<Choice::Algorithm>> parse_algorithms(std::string_view text) {
  std::vector<Algorithm> algorithms;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view name = text.substr(0, comma);
    const auto row =
        std::find_if(kAlgorithms.begin(), kAlgorithms.end(), [&](const auto& r) { return r.name == name; });
    if (row == kAlgorithms.end()) {
      std::string names;
      for (const AlgorithmName& known : kAlgorithms) names += (names.empty() ? "" : ", ") + std::string(known.name);
      return fail(ErrorCode::kInvalid, "no algorithm is called \"{}\"; there are {}", name, names);
    }
    algorithms.push_back(row->algorithm);
    if (comma == text.size()) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return fail(ErrorCode::kInvalid, "an algorithm's name is missing behind the last comma");
  }
  return algorithms;
}

ChoiceRule default_rule() {
  static const ChoiceRule rule = [] {
    ChoiceRule made{.core = blas_core()};
    const char* allowed = std::getenv("ONNX_SPLIT_ALGORITHMS");
    if (allowed == nullptr) return made;
    auto parsed = parse_algorithms(allowed);
    if (!parsed) {
      fmt::print(stderr, "ONNX_SPLIT_ALGORITHMS: {}\n", parsed.error().message);
      std::exit(2);
    }
    made.allowed = std::move(*parsed);
    return made;
  }();
  return rule;
}

Choice choose(OpType op, const OpCall& call, const ChoiceRule& rule) {
  CHECK(has_choice(op));
  Choice choice;
  if (op == OpType::kConv) {
    choice = conv_rule(checked_conv_geometry(call), rule);
  } else {
    const GemmSize size = gemm_size(op, call);
    choice = gemm_rule(size.m, size.n, size.batch, rule);
  }
  choice.half = rule.half_weights && can_be_half(op, call, choice.algorithm);
  return choice;
}

double relative_time(OpType op, const OpCall& call, const Choice& first, const Choice& second) {
  if (op != OpType::kConv) return 1.0;
  const auto known = [](Algorithm algorithm) { return algorithm == Algorithm::kDirect || is_winograd(algorithm); };
  const Algorithm from = first.algorithm, to = second.algorithm;
  if (from == to || !known(from) || !known(to)) return 1.0;
  const ConvGeometry geometry = checked_conv_geometry(call);
  return rough_cycles(geometry, to) / rough_cycles(geometry, from);
}

std::string choose(const Graph& graph, const Node& node, const ChoiceRule& rule) {
  const std::vector<TensorType> types = input_types(graph, node);
  return to_text(choose(node.op, {node.attributes, types, node.outputs.size()}, rule));
}

KernelChoices choose_all(const Graph& graph, const ChoiceRule& rule) {
  KernelChoices choices;
  for (const Node& node : graph.nodes()) {
    if (has_choice(node.op)) choices.emplace(node.name, choose(graph, node, rule));
  }
  return choices;
}

KernelChoices with_float_weights(KernelChoices choices) {
  constexpr std::string_view kHalf = " weights=fp16";
  for (auto& [name, text] : choices) {
    if (text.ends_with(kHalf)) text.resize(text.size() - kHalf.size());
  }
  return choices;
}

Expected<Choice> parse_choice(OpType op, const OpCall& call, std::string_view text) {
  if (!has_choice(op)) return fail(ErrorCode::kInvalid, "choice \"{}\": {} has no choice", text, op_name(op));
  TRY_ASSIGN(const Choice choice, parse_text(text));
  const bool possible = op == OpType::kConv ? can_compute(checked_conv_geometry(call), choice.algorithm)
                                            : choice.algorithm == Algorithm::kSgemm ||
                                                  (choice.algorithm == Algorithm::kGemv && gemm_size(op, call).m == 1);
  if (!possible || (choice.half && !can_be_half(op, call, choice.algorithm))) {
    return fail(ErrorCode::kInvalid, "choice \"{}\": impossible for this {}", text, op_name(op));
  }
  if (choice.depth > 0 && choice.tile > kMaxScratchElements / choice.depth) {
    return fail(ErrorCode::kInvalid, "choice \"{}\": tile·depth is over {}", text, kMaxScratchElements);
  }
  return choice;
}

}  // namespace onnx_split
