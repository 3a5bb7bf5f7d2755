// Manifests. One that is read is written and read as the same, and its parts stay inside its values.

#include "base/check.h"
#include "partition/manifest.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate_json.h"

using namespace onnx_split;

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  Random random(seed);
  return fuzz::put_or_mutate(fuzz::mutated_json(fuzz::text_of(data, size), random), data, size, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto json = parse_json(fuzz::text_of(data, size));
  if (!json) return 0;
  const auto manifest = manifest_from_json(*json);
  if (!manifest) return 0;

  const std::string written = to_text(manifest_to_json(*manifest));
  const auto read = parse_json(written);
  CHECK(read.has_value());
  const auto again = manifest_from_json(*read);
  CHECK(again.has_value() && to_text(manifest_to_json(*again)) == written);

  for (const ManifestPart& part : manifest->parts) {
    CHECK(!part.file.empty() && part.file.find('/') == std::string::npos && part.file.front() != '.');
    for (const auto* tensors : {&part.inputs, &part.outputs}) {
      for (const ManifestTensor& tensor : *tensors) {
        const TensorType* type = manifest->find_value(tensor.region.value);
        CHECK(type != nullptr && tensor.region.region.inside(type->shape));
      }
    }
  }
  return 0;
}
