// The one place that compiles stb_image: JPEG and PNG from memory, nothing else, and with bounded allocations, because
// a small PNG may unpack to gigabytes whatever its header says.
#include <cstddef>
#include <cstdlib>

namespace onnx_split {

// No single allocation of the decoder is larger. Set by cli/picture.cc before it decodes.
thread_local std::size_t picture_allocation_limit_bytes = 0;

namespace {

void* bounded_malloc(std::size_t size) { return size > picture_allocation_limit_bytes ? nullptr : std::malloc(size); }

void* bounded_realloc(void* block, std::size_t size) {
  return size > picture_allocation_limit_bytes ? nullptr : std::realloc(block, size);
}

}  // namespace
}  // namespace onnx_split

#define STBI_MALLOC(size) ::onnx_split::bounded_malloc(size)
#define STBI_REALLOC(block, size) ::onnx_split::bounded_realloc(block, size)
#define STBI_FREE(block) std::free(block)
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 65535
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
