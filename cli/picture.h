// JPEG and PNG pictures as a network's input, prepared as torchvision prepares them for its networks: resize so that
// the shorter side has `resize` pixels (bilinear, antialiased), cut out the centre, scale to 0..1, normalise.
//
// The input is float32 [1,3,H,W] (red, green, blue) or [1,1,H,W] (grey). Transparency is dropped, 16-bit samples become
// 8-bit ones, and a camera's note which side is up (EXIF) is ignored. Files may be hostile: dimensions are checked
// before anything is decoded, and the decoder's memory is bounded by them. Errors begin with the path. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "graph/tensor.h"

namespace onnx_split {

inline constexpr std::int64_t kMaxPicturePixels = 100'000'000;
inline constexpr std::int64_t kMaxPictureSide = 65'535;

struct PictureOptions {
  // Of 0..1, one value a channel or one for all. Empty: ImageNet's (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225) for
  // a coloured input; mean 0 and deviation 1 for a grey one.
  std::vector<float> mean;
  std::vector<float> deviation;
  // The shorter side in pixels; 0 stretches the picture to exactly H×W. By default the picture is made just large
  // enough to cover 256/224 of H×W: for 224×224 that is a shorter side of 256.
  std::optional<std::int64_t> resize;
};

// Decoded samples of 0..255: rows from the top, in each pixel all channels (3: red, green, blue; 1: grey).
struct Picture {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  std::vector<std::uint8_t> samples;
};

// Whether the file is a JPEG or PNG picture that decode_picture would try: its header only.
Expected<void> check_picture(const std::filesystem::path& path);

// channels: 1 or 3; colours become grey by their luma.
Expected<Picture> decode_picture(const std::filesystem::path& path, std::int64_t channels);

// Whether pictures can become an input of this type with these options; what load_picture checks first.
Expected<void> check_picture_input(const TensorType& input, const PictureOptions& options);

// The picture as a tensor of the type `input`, which must pass check_picture_input and have the picture's channels. An
// error where the resized picture doesn't cover H×W, which only a `resize` below the longer of both can do.
Expected<Tensor> picture_tensor(const Picture& picture, const TensorType& input, const PictureOptions& options);

// check_picture_input, decode_picture and picture_tensor.
Expected<Tensor> load_picture(const std::filesystem::path& path, const TensorType& input,
                              const PictureOptions& options);

}  // namespace onnx_split
