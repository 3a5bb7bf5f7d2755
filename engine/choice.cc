#include "engine/choice.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "engine/layout.h"
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
};
constexpr std::array kAlgorithms = {
    AlgorithmName{Algorithm::kDirect, "direct", false, false, false},
    AlgorithmName{Algorithm::kWinograd2, "winograd2", false, false, false},
    AlgorithmName{Algorithm::kWinograd4, "winograd4", false, false, false},
    AlgorithmName{Algorithm::kIm2col, "im2col", true, true, true},
    AlgorithmName{Algorithm::kDirect1x1, "direct_1x1", true, false, true},
    AlgorithmName{Algorithm::kDepthwise, "depthwise", false, false, false},
    AlgorithmName{Algorithm::kGemv, "gemv", false, false, false},
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

// The cheapest in rough clock cycles of a core that does sixteen multiplications and additions in each and reads four
// bytes of weights; measured on AVX-512.
Algorithm blocked_rule(const ConvGeometry& geometry) {
  const auto inputs = static_cast<double>(geometry.input_channels);
  const auto outputs = static_cast<double>(geometry.output_channels);
  if (!can_be_winograd(geometry)) return Algorithm::kDirect;
  const std::int64_t rows = geometry.window.axes[0].output, columns = geometry.window.axes[1].output;
  constexpr double kRead = 1.0, kMultiply = 1.0 / 16, kTransform = 0.3;
  const auto winograd_cycles = [&](std::int64_t m) {
    const auto elements = static_cast<double>((m + 2) * (m + 2));
    const auto tiles = static_cast<double>(ceil_div(rows, m) * ceil_div(columns, m) * geometry.batch);
    return elements * (inputs * outputs * (tiles * kMultiply + kRead) + tiles * kTransform * (inputs + outputs));
  };
  const auto positions = static_cast<double>(rows * columns * geometry.batch);
  const double direct_cycles = 9.0 * inputs * outputs * (positions * kMultiply + kRead);
  const double two = winograd_cycles(2), four = winograd_cycles(4);
  if (direct_cycles <= std::min(two, four)) return Algorithm::kDirect;
  return two < four ? Algorithm::kWinograd2 : Algorithm::kWinograd4;
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

Choice unpacked_conv_rule(const ConvGeometry& geometry, std::int64_t channels, std::int64_t depth) {
  const std::int64_t positions = geometry.output_positions();
  const auto most_positions = [](std::int64_t block) {
    return std::min(kUnpackedPositions, kUnpackedElements / block);
  };
  // The depth of a direct product isn't divided: where it is large, few positions are a tile, and wide tiles are
  // faster.
  const std::int64_t direct_positions = most_positions(depth);
  const bool direct = is_direct_1x1(geometry) && (direct_positions >= 64 || direct_positions >= positions);
  Choice choice;
  choice.algorithm = direct ? Algorithm::kDirect1x1 : Algorithm::kIm2col;
  if (!direct) choice.depth = even_piece(depth, kUnpackedDepth, 1);
  const std::int64_t block = direct ? depth : choice.depth;
  choice.tile = even_piece(positions, std::max<std::int64_t>(most_positions(block) / 16 * 16, 16), 16);
  const std::int64_t most_rows = std::min(kUnpackedRows, kUnpackedProducts / (choice.tile * block) / 4 * 4);
  choice.rows = even_piece(channels, std::max<std::int64_t>(most_rows, 4), 4);
  return choice;
}

Choice conv_rule(const ConvGeometry& geometry, std::string_view core) {
  if (is_depthwise(geometry)) return {Algorithm::kDepthwise, 0, 0, 0};
  if (is_direct(geometry)) return {blocked_rule(geometry), 0, 0, 0};
  const std::int64_t positions = geometry.output_positions();
  const std::int64_t channels = geometry.output_channels / geometry.groups;
  const std::int64_t depth = geometry.input_channels / geometry.groups * geometry.kernel_elements();
  if (multiplies_unpacked(core)) return unpacked_conv_rule(geometry, channels, depth);
  Choice choice;
  choice.algorithm = is_direct_1x1(geometry) ? Algorithm::kDirect1x1 : Algorithm::kIm2col;
  const TileLimits limits = tile_limits(core);
  choice.tile = even_piece(positions, limits.positions, 16);
  if (choice.algorithm == Algorithm::kIm2col) {
    choice.depth = even_piece(depth, std::min(kMostDepth, limits.elements / choice.tile), 1);
  }
  choice.rows = rows_rule(channels, ceil_div(positions, choice.tile) * geometry.groups * geometry.batch);
  return choice;
}

Choice gemm_rule(std::int64_t m, std::int64_t n, std::int64_t batch) {
  if (m == 1) return {Algorithm::kGemv, 0, 0, 0};
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
  return text;
}

bool multiplies_unpacked(std::string_view core) {
  const std::string name = lower_case(core);
  return name == "skylakex" || name == "cooperlake" || name == "sapphirerapids";
}

bool has_choice(OpType op) { return op == OpType::kConv || op == OpType::kGemm || op == OpType::kMatMul; }

Choice default_choice(OpType op, const OpCall& call, std::string_view core) {
  CHECK(has_choice(op));
  if (op == OpType::kConv) return conv_rule(checked_conv_geometry(call), lower_case(core));
  const GemmSize size = gemm_size(op, call);
  return gemm_rule(size.m, size.n, size.batch);
}

std::string default_choice(const Graph& graph, const Node& node, std::string_view core) {
  const std::vector<TensorType> types = input_types(graph, node);
  return to_text(default_choice(node.op, {node.attributes, types, node.outputs.size()}, core));
}

KernelChoices default_choices(const Graph& graph, std::string_view core) {
  KernelChoices choices;
  for (const Node& node : graph.nodes()) {
    if (has_choice(node.op)) choices.emplace(node.name, default_choice(graph, node, core));
  }
  return choices;
}

Expected<Choice> parse_choice(OpType op, const OpCall& call, std::string_view text) {
  if (!has_choice(op)) return fail(ErrorCode::kInvalid, "choice \"{}\": {} has no choice", text, op_name(op));
  TRY_ASSIGN(const Choice choice, parse_text(text));
  bool possible = false;
  if (op == OpType::kConv) {
    const ConvGeometry geometry = checked_conv_geometry(call);
    possible = choice.algorithm == Algorithm::kIm2col ||
               (choice.algorithm == Algorithm::kDirect && is_direct(geometry)) ||
               (is_winograd(choice.algorithm) && can_be_winograd(geometry)) ||
               (choice.algorithm == Algorithm::kDirect1x1 && is_direct_1x1(geometry)) ||
               (choice.algorithm == Algorithm::kDepthwise && is_depthwise(geometry));
  } else {
    possible =
        choice.algorithm == Algorithm::kSgemm || (choice.algorithm == Algorithm::kGemv && gemm_size(op, call).m == 1);
  }
  if (!possible) return fail(ErrorCode::kInvalid, "choice \"{}\": impossible for this {}", text, op_name(op));
  if (choice.depth > 0 && choice.tile > kMaxScratchElements / choice.depth) {
    return fail(ErrorCode::kInvalid, "choice \"{}\": tile·depth is over {}", text, kMaxScratchElements);
  }
  return choice;
}

}  // namespace onnx_split
