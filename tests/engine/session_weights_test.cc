// What becomes of a session's weights: laid out by kernels, read where they are, taken out of their file.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "engine/evaluate.h"
#include "engine/session.h"
#include "tests/engine/compare.h"
#include "tests/support/expect.h"

namespace onnx_split::test {
namespace {

using testing::must;

// One convolution lays its weights out, and something else reads them through a view.
TEST(Session, WeightsThatAreReadElsewhereStay) {
  Random random(1);
  GraphBuilder builder("shared");
  const Tensor x = random_tensor(random, Shape{1, 16, 1, 1});
  const ValueId input = must(builder.add_input("x", x.type()));
  const ValueId weights = must(builder.add_constant("w", random_tensor(random, Shape{16, 16, 1, 1})));
  const ValueId conv = must(builder.add("conv", OpType::kConv, {}, {input, weights}));
  const ValueId view = must(builder.add("view", OpType::kReshape, {{"shape", Ints{16, 16}}}, {weights}));
  const ValueId flat = must(builder.add("flat", OpType::kFlatten, {}, {conv}));
  const ValueId product = must(builder.add("product", OpType::kMatMul, {}, {flat, view}));
  const Graph graph = must(std::move(builder).build({product, conv}));
  const auto fast = must(evaluate_once(graph, std::array{x}));
  const auto slow = must(evaluate_once(graph, std::array{x}, {.threads = 1, .choices = {}, .reference = true}));
  EXPECT_LE(distance(fast[0], slow[0]), 1e-5);
}

TEST(Session, WeightsAreThereOnce) {
  Random random(1);
  const Case c{OpType::kConv,
               {{"pads", Ints(4, 1)}},
               {random_tensor(random, Shape{1, 32, 8, 8}), random_tensor(random, Shape{32, 32, 3, 3})}};
  for (const char* choice : {"direct", "winograd2", "winograd4", "im2col tile=64 depth=96 rows=32"}) {
    const Graph graph = must(graph_of(c, true));
    const ValueId weights = graph.nodes().front().inputs[1];
    const std::size_t bytes = graph.value(weights).type.size_bytes();
    const auto session =
        must(Session::create(graph, {.threads = 1, .choices = {{graph.nodes().front().name, choice}}}));
    const bool in_place = std::string_view(choice).starts_with("im2col");
    EXPECT_EQ(session->graph().value(weights).constant->buffer().size(), in_place ? bytes : 0U) << choice;
    EXPECT_EQ(graph.value(weights).constant->buffer().size(), bytes);  // ours is another
    EXPECT_GE(session->weight_bytes(), bytes) << choice;
  }
}

// Pages that look like a mapped file's, but are zeros once they have been given back.
struct ForgetfulFile {
  explicit ForgetfulFile(const Tensor& tensor) {
    const std::span<const std::byte> data = tensor.buffer().bytes();
    void* const pages = ::mmap(nullptr, data.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    std::memcpy(pages, data.data(), data.size());
    owner = std::shared_ptr<void>(pages, [size = data.size()](void* address) { ::munmap(address, size); });
    bytes = {static_cast<const std::byte*>(pages), data.size()};
  }
  bool has_given_back_whole_pages() const {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const auto pages = bytes.first(bytes.size() / page * page);
    return std::all_of(pages.begin(), pages.end(), [](std::byte byte) { return byte == std::byte{0}; });
  }

  std::shared_ptr<void> owner;
  std::span<const std::byte> bytes;
};

TEST(Session, TakesWeightsOutOfTheirFile) {
  Random random(1);
  const Tensor x = random_tensor(random, Shape{1, 1500});
  const Tensor weights = random_tensor(random, Shape{1500, 1501});  // 9 MB, no whole number of pages
  const auto product_with = [&](const Tensor& w) {
    GraphBuilder builder("product");
    const ValueId input = must(builder.add_input("x", x.type()));
    const ValueId constant = must(builder.add_constant("w", w));
    const ValueId product = must(builder.add("product", OpType::kMatMul, {}, {input, constant}));
    return must(std::move(builder).build({product}));
  };
  for (const char* choice : {"gemv", "sgemm tile=128 rows=1"}) {
    const SessionOptions options{.threads = 2, .choices = {{"product", choice}}, .reference = false};
    const ForgetfulFile file(weights);
    Graph graph = product_with(Tensor(weights.type(), Buffer(file.bytes, file.owner, true)));
    const auto session = must(Session::create(std::move(graph), options));
    EXPECT_TRUE(file.has_given_back_whole_pages()) << choice;
    EXPECT_EQ(file.owner.use_count(), 1) << choice;  // ours
    EXPECT_EQ(session->weight_bytes(), file.bytes.size()) << choice;
    const auto expected = must(evaluate(*must(Session::create(product_with(weights), options)), std::array{x}));
    EXPECT_TRUE(same_bits(must(evaluate(*session, std::array{x})), expected)) << choice;
  }
}

}  // namespace
}  // namespace onnx_split::test
