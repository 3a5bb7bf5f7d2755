// Memory for tensors that stay on the device, by transfer: reused once nobody has a Buffer of it any more, so that
// there is no more of it than ever waited at once. For one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/error.h"

namespace onnx_split {

class LocalPayloads {
 public:
  explicit LocalPayloads(std::size_t transfers) : by_transfer_(transfers) {}

  // `bytes` is always the same for one transfer. To be filled, and then shared. Errors: kExhausted.
  Expected<std::shared_ptr<MutableBuffer>> take(std::size_t transfer, std::size_t bytes);

 private:
  std::vector<std::vector<std::shared_ptr<MutableBuffer>>> by_transfer_;
};

// Of memory that isn't changed any more.
Buffer share(std::shared_ptr<MutableBuffer> filled);

}  // namespace onnx_split
