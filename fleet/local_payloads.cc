#include "fleet/local_payloads.h"

#include <new>
#include <utility>

#include "base/check.h"

namespace onnx_split {

Expected<std::shared_ptr<MutableBuffer>> LocalPayloads::take(std::size_t transfer, std::size_t bytes) {
  std::vector<std::shared_ptr<MutableBuffer>>& known = by_transfer_[transfer];
  for (const std::shared_ptr<MutableBuffer>& buffer : known) {
    if (buffer.use_count() > 1) continue;
    CHECK(buffer->bytes().size() == bytes);
    return buffer;
  }
  try {
    return known.emplace_back(std::make_shared<MutableBuffer>(bytes));
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "no memory for a tensor of {} bytes", bytes);
  }
}

Buffer share(std::shared_ptr<MutableBuffer> filled) {
  const std::span<const std::byte> bytes = filled->bytes();
  return {bytes, std::move(filled)};
}

}  // namespace onnx_split
