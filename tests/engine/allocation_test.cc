// Promise 6: run() allocates nothing. This program's malloc counts, and with it operator new. Sanitizers bring a malloc
// of their own: under them the test is skipped.
#include <atomic>
#include <cstdlib>

#include "tests/engine/compare.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)

namespace {
std::atomic<std::size_t> allocations{0};
}  // namespace

// The C library's own functions behind these names.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_memalign(alignment, size);
}
}

namespace onnx_split::test {
namespace {

std::size_t allocations_of_a_run(const Case& c, unsigned threads) {
  const auto graph = graph_of(c, true);
  EXPECT_TRUE(graph.has_value());
  const auto session = Session::create(*graph, {.threads = threads, .choices = {}, .reference = false});
  EXPECT_TRUE(session.has_value());
  std::vector<TensorBuilder> builders;
  for (const ValueId id : graph->outputs()) builders.emplace_back(graph->value(id).type);
  std::vector<MutableTensorView> outputs;
  for (TensorBuilder& builder : builders) outputs.push_back(builder.view());
  const std::array inputs{c.inputs[0].view()};
  EXPECT_TRUE((*session)->run(inputs, outputs).has_value());
  const std::size_t before = allocations;
  const bool done = (*session)->run(inputs, outputs).has_value();
  const std::size_t after = allocations;
  EXPECT_TRUE(done);
  return after - before;
}

TEST(Allocation, IsCounted) {
  const std::size_t before = allocations;
  const auto number = std::make_unique<std::atomic<int>>(1);
  const MutableBuffer aligned(100);
  EXPECT_GE(allocations - before, 2U);
}

TEST(Allocation, RunAllocatesNothing) {
  Random random(1);
  const Tensor x = random_tensor(random, Shape{1, 8, 30, 30}, 0.1F, 1.0F);
  const Tensor channel = random_tensor(random, Shape{8}, 0.1F, 1.0F);
  const Attributes window{{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}};
  const std::vector<std::int64_t> indices{1, 0, 5};
  const std::vector<Case> cases{
      {OpType::kConv, {{"pads", Ints(4, 1)}}, {x, random_tensor(random, Shape{40, 8, 3, 3})}},
      {OpType::kConv, {}, {x, random_tensor(random, Shape{40, 8, 1, 1})}},
      {OpType::kConv, {{"group", std::int64_t{8}}}, {x, random_tensor(random, Shape{8, 1, 3, 3})}},
      {OpType::kGemm, {}, {random_tensor(random, Shape{1, 50}), random_tensor(random, Shape{50, 90})}},
      {OpType::kGemm, {}, {random_tensor(random, Shape{7, 50}), random_tensor(random, Shape{50, 90})}},
      {OpType::kMatMul, {}, {x, random_tensor(random, Shape{30, 20})}},
      {OpType::kMaxPool, window, {x}},
      {OpType::kAveragePool, window, {x}},
      {OpType::kGlobalAveragePool, {}, {x}},
      {OpType::kBatchNormalization, {}, {x, channel, channel, channel, channel}},
      {OpType::kLrn, {{"size", std::int64_t{5}}}, {x}},
      {OpType::kSoftmax, {{"axis", std::int64_t{1}}}, {x}},
      {OpType::kSigmoid, {}, {x}},
      {OpType::kAdd, {}, {x, x}},
      {OpType::kMul, {}, {x, random_tensor(random, Shape{8, 1, 1})}},
      {OpType::kSum, {}, {x, x, x}},
      {OpType::kConcat, {{"axis", std::int64_t{1}}}, {x, x}},
      {OpType::kSplit, {{"axis", std::int64_t{1}}}, {x}, 2},
      {OpType::kSlice, {{"starts", Ints{1}}, {"ends", Ints{5}}, {"axes", Ints{2}}}, {x}},
      {OpType::kTranspose, {}, {x}},
      {OpType::kExpand, {{"shape", Ints{2, 8, 30, 30}}}, {x}},
      {OpType::kPad, {{"pads", Ints{0, 0, 1, 1, 0, 0, 1, 1}}}, {x}},
      {OpType::kGather, {{"axis", std::int64_t{1}}}, {x, Tensor::ints(indices)}},
      {OpType::kReduceMean, {{"axes", Ints{2, 3}}}, {x}},
      {OpType::kResize, {{"sizes", Ints{1, 8, 60, 60}}}, {x}},
      {OpType::kFlatten, {}, {x}},
  };
  for (const Case& c : cases) {
    for (const unsigned threads : {1U, 3U}) EXPECT_EQ(allocations_of_a_run(c, threads), 0U) << describe(c);
  }
}

}  // namespace
}  // namespace onnx_split::test

#endif
