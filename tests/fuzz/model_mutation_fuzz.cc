// The importer, and what comes behind it, with models that are nearly right: the mutator changes dimensions, types,
// attributes, operators and edges of a model, not bytes.

#include "base/hash.h"
#include "onnx/onnx.pb.h"
#include "onnx_import/import.h"
#include "tests/fuzz/check_model.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate_model.h"

using namespace onnx_split;

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  Random random(seed);
  onnx::ModelProto model;
  if (!model.ParseFromArray(data, static_cast<int>(size)) || !model.has_graph()) fuzz::make_model(model);
  fuzz::mutate_model(model, random);
  const std::string bytes = model.SerializeAsString();
  return bytes.size() > max_size ? size : fuzz::put_or_mutate(bytes, data, size, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  ImportOptions options;
  options.simplify = false;
  const auto plain = import_onnx_bytes(bytes, {}, options);
  options.simplify = true;
  const auto graph = import_onnx_bytes(bytes, {}, options);
  if (graph) fuzz::check_imported(*graph, static_cast<unsigned>(hash64(bytes)));
  return 0;
}
