// The one place that compiles stb_image: JPEG and PNG from memory, nothing else.
//
// Allocations are bounded, because a small PNG may unpack to gigabytes whatever its header says, and they are zeroed,
// because Debian's version (2.27) follows tables that a damaged JPEG forgot to define. Its assertions are about the
// picture, not about our program, and its reasons hold bytes of the picture in a buffer that all threads share: both
// are off. cli/picture.cc guards against the rest.
#include <cstddef>
#include <cstdlib>

namespace onnx_split {

namespace {

thread_local std::size_t allocation_limit_bytes = 0;

void* bounded_zeroed_malloc(std::size_t size) { return size > allocation_limit_bytes ? nullptr : std::calloc(1, size); }

void* bounded_realloc(void* block, std::size_t size) {
  return size > allocation_limit_bytes ? nullptr : std::realloc(block, size);
}

}  // namespace

// From now on, in this thread, no single allocation of the decoder may be larger. Called by cli/picture.cc.
void limit_picture_allocations(std::size_t limit_bytes) { allocation_limit_bytes = limit_bytes; }

}  // namespace onnx_split

#define STBI_MALLOC(size) ::onnx_split::bounded_zeroed_malloc(size)
#define STBI_REALLOC(block, size) ::onnx_split::bounded_realloc(block, size)
#define STBI_FREE(block) std::free(block)
#define STBI_ASSERT(condition) static_cast<void>(0)
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_FAILURE_STRINGS
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 65535
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
