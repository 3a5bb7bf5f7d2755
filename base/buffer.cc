#include "base/buffer.h"

#include <cstring>
#include <new>

namespace onnx_split {

MutableBuffer::MutableBuffer(std::size_t size, bool zeroed) : size_(size) {
  constexpr auto kAlign = std::align_val_t{kBufferAlignment};
  data_ = std::shared_ptr<std::byte>(static_cast<std::byte*>(::operator new(size + 1, kAlign)),
                                     [](std::byte* p) { ::operator delete(p, kAlign); });
  if (zeroed) std::memset(data_.get(), 0, size);
}

}  // namespace onnx_split
