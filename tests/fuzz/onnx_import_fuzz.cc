// The importer, with whatever bytes.

#include "onnx_import/import.h"
#include "tests/fuzz/check_model.h"
#include "tests/fuzz/fuzz.h"

using namespace onnx_split;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto graph = import_onnx_bytes(fuzz::bytes_of(data, size), {});
  if (graph) fuzz::check_imported(*graph, static_cast<unsigned>(size));
  return 0;
}
