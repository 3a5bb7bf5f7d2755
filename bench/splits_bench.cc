// What dividing convolutions gains in computing alone, without the network: the splits of Hadidi et al., "Collaborative
// Execution of Deep Neural Networks on Internet of Things Devices", arXiv 1901.02537, on VGG16 and ResNet50, beside the
// authors' figures.
//
// The speed-up of a split: the sum over the convolutions of the undivided layer's time, over the sum of the slowest
// part's time. One thread; the undivided layer has the fastest choice of several, the parts have the rule's, as a plan
// freezes them. Adding the partial sums of the filter split is not computing in the authors' sense: it is listed by
// itself. A layer is the convolution with its bias (a folded batch norm's, too) and without its activation; a fused
// stage is all nodes up to a pool or a residual block's end. Weights are seeded random numbers.
//
// Undivided and divided layers take turns, so that the ratio bears a noisy machine. As in kernels_bench, the caches
// hold what the run before has left there, and the thread's own clock counts.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <ctime>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "bench/splits_report.h"
#include "engine/blas_core.h"
#include "engine/choice.h"
#include "fleet/assemble.h"
#include "fleet/composer.h"
#include "fleet/verify.h"
#include "graph/builder.h"
#include "graph/cut_out.h"
#include "graph/operators.h"
#include "graph/passes/passes.h"
#include "graph/zoo/zoo.h"
#include "partition/extract.h"
#include "partition/planner.h"

namespace onnx_split {
namespace {

// ---- pieces of a network: a layer or a fused stage as a graph of its own

struct Piece {
  std::string name;        // of its first node in the network
  std::int64_t count = 1;  // how many like it the network has
  Graph graph;
};

using Nodes = std::vector<NodeId>;

Tensor random_tensor(Random& random, const Shape& shape) {
  const std::int64_t fan_in = shape.rank() < 2 ? 1 : shape.elements(1, shape.rank());
  const float bound = std::sqrt(6.0F / static_cast<float>(fan_in));
  TensorBuilder builder({DataType::kFloat32, shape});
  for (float& x : builder.as<float>()) x = random.uniform(-bound, bound);
  return std::move(builder).build();
}

// These nodes with names that don't depend on where in the network they stand, so that equal pieces have equal texts.
Expected<Graph> cut_piece(const Graph& network, const Nodes& nodes) {
  GraphBuilder builder("piece");
  Random random(1);
  std::map<ValueId, ValueId> standing;
  std::vector<ValueId> outputs;
  for (const NodeId id : nodes) {
    const Node& node = network.node(id);
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) {
      const Value& value = network.value(input);
      if (!standing.contains(input)) {
        const std::string name = fmt::format("v{}", standing.size());
        TRY_ASSIGN(const ValueId fresh, value.constant
                                            ? builder.add_constant(name, random_tensor(random, value.shape()))
                                            : builder.add_input(name, value.type));
        standing.emplace(input, fresh);
      }
      inputs.push_back(standing.at(input));
    }
    const ValueId output = node.outputs.front();
    TRY_ASSIGN(const ValueId fresh,
               builder.add(fmt::format("v{}", standing.size()), node.op, node.attributes, std::move(inputs)));
    standing.emplace(output, fresh);
    const std::vector<NodeId>& consumers = network.value(output).consumers;
    const bool leaves = std::any_of(consumers.begin(), consumers.end(), [&](NodeId consumer) {
      return std::find(nodes.begin(), nodes.end(), consumer) == nodes.end();
    });
    if (leaves) outputs.push_back(fresh);
  }
  return std::move(builder).build(outputs);
}

Expected<std::vector<Piece>> distinct_pieces(const Graph& network, const std::vector<Nodes>& all) {
  std::vector<Piece> pieces;
  std::map<std::string, std::size_t> seen;
  for (const Nodes& nodes : all) {
    TRY_ASSIGN(Graph graph, cut_piece(network, nodes));
    const auto [place, fresh] = seen.emplace(to_text(graph), pieces.size());
    if (fresh) {
      pieces.push_back({network.node(nodes.front()).name, 1, std::move(graph)});
    } else {
      ++pieces[place->second].count;
    }
  }
  return pieces;
}

std::vector<Nodes> convolutions(const Graph& network) {
  std::vector<Nodes> result;
  for (std::size_t i = 0; i < network.node_count(); ++i) {
    if (network.node(NodeId(i)).op == OpType::kConv) result.push_back({NodeId(i)});
  }
  return result;
}

// Up to each max pool, and to each activation of a residual sum; what follows the last of them has no convolution.
std::vector<Nodes> fused_stages(const Graph& network) {
  std::vector<Nodes> result;
  Nodes nodes;
  for (std::size_t i = 0; i < network.node_count(); ++i) {
    const Node& node = network.node(NodeId(i));
    nodes.push_back(NodeId(i));
    const NodeId before = network.value(node.inputs.front()).producer;
    const bool closes_block = node.op == OpType::kRelu && before.valid() && network.node(before).op == OpType::kAdd;
    if (node.op != OpType::kMaxPool && !closes_block) continue;
    result.push_back(std::move(nodes));
    nodes.clear();
  }
  return result;
}

std::int64_t macs_of(const Graph& graph) {
  std::int64_t macs = 0;
  for (const Node& node : graph.nodes()) macs += node_cost(graph, node).macs;
  return macs;
}

// "3x3/2 128→128 28x28": window, stride, channels, output's rows and columns.
std::string describe_convolution(const Graph& graph) {
  const Node& node = graph.nodes().front();
  const Shape& weights = graph.value(node.inputs[1]).shape();
  const Shape& output = graph.value(node.outputs[0]).shape();
  return fmt::format("{}x{}/{} {}→{} {}x{}", weights[2], weights[3], node.attributes.ints_or("strides", {1, 1})[0],
                     weights[1], weights[0], output[2], output[3]);
}

// ---- timing

double thread_ms() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

struct Timed {
  std::function<Expected<void>()> run;
  std::vector<double> ms;

  double median_ms() const {
    std::vector<double> sorted = ms;
    const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
    std::nth_element(sorted.begin(), middle, sorted.end());
    return *middle;
  }

  // Several runs of what is short, of which the first only fills the caches.
  Expected<void> take_turn() {
    constexpr double kTurnMs = 4.0;
    std::vector<double> runs;
    double spent_ms = 0.0;
    while (spent_ms < kTurnMs) {
      const double begin = thread_ms();
      TRY(run());
      runs.push_back(thread_ms() - begin);
      spent_ms += runs.back();
    }
    ms.insert(ms.end(), runs.begin() + (runs.size() > 1 ? 1 : 0), runs.end());
    return {};
  }
};

constexpr int kLeastRounds = 5;

Expected<void> take_turns(const std::vector<Timed*>& all, double seconds) {
  const auto begin = std::chrono::steady_clock::now();
  for (int round = 0;; ++round) {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    if (round >= kLeastRounds && spent.count() >= seconds) return {};
    for (Timed* timed : all) TRY(timed->take_turn());
  }
}

// One session with its inputs and memory for its outputs.
struct Computation {
  std::unique_ptr<Session> session;
  std::vector<Tensor> inputs;
  std::vector<TensorBuilder> outputs;

  Expected<void> run() {
    std::vector<TensorView> in;
    std::vector<MutableTensorView> out;
    for (const Tensor& tensor : inputs) in.push_back(tensor.view());
    for (TensorBuilder& builder : outputs) out.push_back(builder.view());
    return session->run(in, out);
  }
};

Expected<Timed> timed_graph(const Graph& graph, const KernelChoices& choices, std::vector<Tensor> inputs) {
  auto computation = std::make_shared<Computation>();
  TRY_ASSIGN(computation->session, Session::create(graph, {.threads = 1, .choices = choices, .reference = false}));
  computation->inputs = std::move(inputs);
  for (const ValueId id : graph.outputs()) computation->outputs.emplace_back(graph.value(id).type);
  return Timed{[computation] { return computation->run(); }, {}};
}

// ---- the undivided piece

// The rule's choice for a convolution, and others that might be faster: products that OpenBLAS packs its operands for,
// with all output channels at once, and small ones that it doesn't.
std::vector<std::string> candidates(const Graph& graph) {
  const Node& node = graph.nodes().front();
  const std::vector<TensorType> types = input_types(graph, node);
  const OpCall call{node.attributes, types};
  const Shape& output = graph.value(node.outputs[0]).shape();
  const std::int64_t positions = output[2] * output[3];
  const std::int64_t channels = output[1];
  const std::int64_t depth = graph.value(node.inputs[1]).shape().elements() / channels;
  struct Block {
    std::int64_t tile, depth, rows;
  };
  const std::array<Block, 11> blocks = {Block{512, 384, channels},
                                        {784, 330, channels},
                                        {1024, 192, channels},
                                        {1024, 384, channels},
                                        {4096, 192, channels},
                                        {64, 192, 48},
                                        {128, 192, 36},
                                        {192, 192, 24},
                                        {256, 96, 36},
                                        {512, 96, 18},
                                        {512, 64, 24}};
  std::vector<std::string> texts{to_text(choose(node.op, call, default_rule()))};
  for (const Block& block : blocks) {
    for (const Choice::Algorithm algorithm : {Choice::Algorithm::kIm2col, Choice::Algorithm::kDirect1x1}) {
      Choice choice{algorithm, std::min(block.tile, positions), 0, std::min(block.rows, channels)};
      if (algorithm == Choice::Algorithm::kIm2col) choice.depth = std::min(block.depth, depth);
      const std::string text = to_text(choice);
      if (!parse_choice(node.op, call, text)) continue;
      if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
    }
  }
  return texts;
}

// The fastest known choice of each convolution, by the text of its piece.
using FastestChoices = std::map<std::string, std::string>;

Expected<KernelChoices> fastest_choices(const Graph& stage, const FastestChoices& fastest) {
  KernelChoices choices;
  for (const Nodes& nodes : convolutions(stage)) {
    TRY_ASSIGN(const Graph layer, cut_piece(stage, nodes));
    const auto found = fastest.find(to_text(layer));
    if (found != fastest.end()) choices.emplace(stage.node(nodes.front()).name, found->second);
  }
  return choices;
}

// ---- the divided piece

struct Divided {
  std::vector<Timed> parts;
  Timed adding;           // of the parts' partial sums; nothing to run where there are none
  std::string refused;    // why the piece can't be divided so; then there are no parts
  double largest = 1.0;   // MACs of the largest part, over the whole piece's
  double repeated = 0.0;  // MACs that parts repeat, over the whole piece's
};

// Adds the parts' outputs in part order, as the device does that goes on with the sum.
Timed timed_adding(const Graph& graph, std::vector<Tensor> sums) {
  const auto target = std::make_shared<TensorBuilder>(graph.value(graph.outputs().front()).type);
  const auto region = std::make_shared<Region>(Region::whole(target->view().shape()));
  return Timed{[target, region, sums = std::move(sums)]() -> Expected<void> {
                 place({*region, sums.front().view()}, {*region, target->view()});
                 for (std::size_t i = 1; i < sums.size(); ++i) {
                   add({*region, sums[i].view()}, {*region, target->view()});
                 }
                 return {};
               },
               {}};
}

Expected<void> check_answer(const Graph& graph, const Plan& plan, const std::vector<Tensor>& inputs) {
  const SessionOptions options{.threads = 1, .choices = plan.choices, .reference = false};
  TRY_ASSIGN(Composer composer, Composer::create(graph, plan, options));
  TRY_ASSIGN(const VerifyReport report, verify(graph, composer, inputs, options));
  if (report.worst().relative() <= 1e-4) return {};
  return fail(ErrorCode::kInvalid, "the parts' answer differs from the undivided one's by {:.1e} of its largest value",
              report.worst().relative());
}

Expected<Divided> divide(const Graph& graph, const Way& way, const std::vector<Tensor>& inputs) {
  PlanRequest request;
  for (std::size_t i = 0; i < way.ways; ++i) request.devices.push_back(fmt::format("device{}", i));
  StageRequest stage;
  stage.split = way.split;
  stage.ways = way.ways;
  stage.grid = way.grid;
  request.stages = {stage};
  request.engine = {1, blas_core(), [](const Graph& part) { return choose_all(part, default_rule()); }};
  const Expected<Plan> plan = make_plan(graph, request);
  Divided divided;
  if (!plan && plan.error().code == ErrorCode::kUnsupported) {
    divided.refused = plan.error().message;
    return divided;
  }
  if (!plan) return tl::unexpected(plan.error());
  if (plan->stages.size() != 1) return fail(ErrorCode::kInvalid, "something needs the parts' sum");
  TRY(check_answer(graph, *plan, inputs));

  TRY_ASSIGN(std::vector<PartGraph> parts, extract_parts(graph, *plan));
  std::vector<Tensor> sums;
  const auto whole_macs = static_cast<double>(macs_of(graph));
  divided.largest = 0.0;
  for (const PartGraph& extracted : parts) {
    const Part& part = plan->stages[0].parts[extracted.id.part];
    std::vector<Tensor> part_inputs;
    for (const ValueRegion& input : part.inputs) {
      std::size_t index = 0;
      while (graph.value(graph.inputs()[index]).name != input.value) ++index;
      part_inputs.push_back(cut_out(inputs[index], input.region));
    }
    TRY_ASSIGN(Timed timed, timed_graph(extracted.graph, choices_of(*plan, extracted.id), std::move(part_inputs)));
    divided.parts.push_back(std::move(timed));
    divided.largest = std::max(divided.largest, static_cast<double>(part.macs) / whole_macs);
    divided.repeated += static_cast<double>(part.repeated_macs) / whole_macs;
    if (part.outputs.front().combine == Combine::kAdd) {
      Random random(3);
      sums.push_back(random_tensor(random, part.outputs.front().region.shape()));
    }
  }
  if (!sums.empty()) divided.adding = timed_adding(graph, std::move(sums));
  return divided;
}

// ---- one piece, measured

// The piece undivided, with one choice.
struct Contender {
  KernelChoices choices;
  Timed timed;
};

bool is_faster(const Timed& a, const Timed& b) { return a.median_ms() < b.median_ms(); }

// A few turns of each, to find those that aren't worth many.
Expected<std::vector<Contender>> contenders(const Graph& graph, const std::vector<KernelChoices>& choices,
                                            const std::vector<Tensor>& inputs) {
  constexpr double kHopeless = 1.1;
  std::vector<Contender> all;
  std::vector<Timed*> turns;
  for (const KernelChoices& choice : choices) {
    TRY_ASSIGN(Timed timed, timed_graph(graph, choice, inputs));
    all.push_back({choice, std::move(timed)});
  }
  for (Contender& contender : all) turns.push_back(&contender.timed);
  TRY(take_turns(turns, 0.0));
  const double best_ms = (*std::min_element(turns.begin(), turns.end(), [](const Timed* a, const Timed* b) {
                           return is_faster(*a, *b);
                         }))->median_ms();
  std::erase_if(all, [&](const Contender& one) { return one.timed.median_ms() > kHopeless * best_ms; });
  for (Contender& contender : all) contender.timed.ms.clear();
  return all;
}

// Times the piece undivided, with the best of the choices, and divided in each way.
Expected<Row> measure(const Piece& piece, const std::vector<KernelChoices>& choices, std::span<const Way> ways,
                      double seconds) {
  const Graph& graph = piece.graph;
  std::vector<Tensor> inputs;
  for (const ValueId id : graph.inputs()) inputs.push_back(zoo::random_input(graph.value(id).shape(), 2));
  TRY_ASSIGN(std::vector<Contender> undivided, contenders(graph, choices, inputs));
  std::vector<Divided> divided;
  for (const Way& way : ways) {
    auto result = divide(graph, way, inputs);
    if (!result) return fail_in(fmt::format("{}, {}", piece.name, way.name), std::move(result.error()));
    divided.push_back(std::move(*result));
  }
  std::vector<Timed*> all;
  for (Contender& contender : undivided) all.push_back(&contender.timed);
  for (Divided& way : divided) {
    for (Timed& timed : way.parts) all.push_back(&timed);
    if (way.adding.run) all.push_back(&way.adding);
  }
  TRY(take_turns(all, seconds));

  const auto fastest = std::min_element(undivided.begin(), undivided.end(), [](const Contender& a, const Contender& b) {
    return is_faster(a.timed, b.timed);
  });
  Row row{piece.name, "", piece.count, macs_of(graph), fastest->timed.median_ms(), "", {}};
  if (graph.node_count() == 1) row.choice = fastest->choices.begin()->second;
  for (const Divided& way : divided) {
    Outcome outcome{row.undivided_ms, 0.0, way.refused, way.largest, way.repeated};
    if (!way.parts.empty()) {
      outcome.slowest_ms = std::max_element(way.parts.begin(), way.parts.end(), is_faster)->median_ms();
    }
    if (way.adding.run) outcome.adding_ms = way.adding.median_ms();
    row.outcomes.push_back(std::move(outcome));
  }
  return row;
}

Expected<Measured> measure_network(const std::string& name, double seconds) {
  TRY_ASSIGN(Graph network, zoo::structure(name));
  TRY_ASSIGN(network, simplify(network));
  TRY_ASSIGN(const std::vector<Piece> layers, distinct_pieces(network, convolutions(network)));
  TRY_ASSIGN(const std::vector<Piece> stages, distinct_pieces(network, fused_stages(network)));
  const double layer_s = 0.7 * seconds / static_cast<double>(layers.size());
  const double stage_s = 0.3 * seconds / static_cast<double>(stages.size());
  Measured measured{name, {}, {}};
  FastestChoices fastest;
  for (const Piece& piece : layers) {
    fmt::print(stderr, "{}: {}\n", name, piece.name);
    std::vector<KernelChoices> choices;
    for (const std::string& text : candidates(piece.graph)) {
      choices.push_back({{piece.graph.nodes().front().name, text}});
    }
    TRY_ASSIGN(Row row, measure(piece, choices, kLayerWays, layer_s));
    row.what = describe_convolution(piece.graph);
    fastest.emplace(to_text(piece.graph), row.choice);
    measured.layers.push_back(std::move(row));
  }
  for (const Piece& piece : stages) {
    fmt::print(stderr, "{}: {} and what follows\n", name, piece.name);
    TRY_ASSIGN(const KernelChoices choices, fastest_choices(piece.graph, fastest));
    TRY_ASSIGN(Row row, measure(piece, {choices, {}}, kStageWays, stage_s));
    row.what = fmt::format("{} convolutions", convolutions(piece.graph).size());
    measured.stages.push_back(std::move(row));
  }
  return measured;
}

int run(int argc, char** argv) {
  CLI::App program(
      "What dividing the convolutions of VGG16 and ResNet50 gains in computing alone. Exit code 1: less "
      "than the bar.",
      "splits_bench");
  std::vector<std::string> networks;
  double seconds = 100.0;
  bool json = false;
  program.add_option("--network", networks, "vgg16 or resnet50; both unless told")
      ->check(CLI::IsMember({"vgg16", "resnet50"}));
  program.add_option("--seconds", seconds, "how long to time each network, about")->capture_default_str();
  program.add_flag("--json", json, "to stdout instead of tables");
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : 2;
  }
  if (networks.empty()) networks = {"vgg16", "resnet50"};
  Json results = Json::array();
  bool reached = true;
  for (const std::string& network : networks) {
    const Expected<Measured> measured = measure_network(network, seconds);
    if (!measured) {
      fmt::print(stderr, "splits_bench: {}: {}\n", network, measured.error().message);
      return 1;
    }
    reached = reached && reaches_bars(*measured);
    json ? results.push_back(to_json(*measured)) : print_measured(*measured);
  }
  if (json) fmt::print("{}\n", to_text(results, 2));
  return reached ? 0 : 1;
}

}  // namespace
}  // namespace onnx_split

int main(int argc, char** argv) {
  onnx_split::ensure_blas_core(argv);
  return onnx_split::run(argc, argv);
}
