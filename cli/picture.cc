#include "cli/picture.h"

#define STBI_NO_STDIO
#include <stb/stb_image.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "base/file.h"

namespace onnx_split {

void limit_picture_allocations(std::size_t limit_bytes);  // cli/stb_image.cc

namespace {

using namespace std::string_view_literals;

struct Encoded {
  Buffer file;
  std::string_view format;
  std::int64_t height = 0;
  std::int64_t width = 0;

  const stbi_uc* data() const { return reinterpret_cast<const stbi_uc*>(file.bytes().data()); }
  int size() const { return static_cast<int>(file.size()); }
};

Expected<std::string_view> format_of(const Buffer& file) {
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()), file.size());
  if (bytes.starts_with("\xff\xd8\xff"sv)) return "JPEG";
  if (bytes.starts_with("\x89PNG\r\n\x1a\n"sv)) return "PNG";
  return fail(ErrorCode::kUnsupported, "not a JPEG or PNG picture");
}

tl::unexpected<Error> damaged(std::string_view format) {
  return fail(ErrorCode::kInvalid, "a damaged {0} picture, or a kind of {0} that isn't supported", format);
}

// Refuses a JPEG with a Huffman table of more than 256 symbols, which stb_image 2.27 writes past the end of its table
// (2.28 checks it). Finds every table that stb_image would: what follows is where it looks for markers. Bytes beyond
// the end count as 0, as they do there.
Expected<void> check_huffman_tables(std::span<const std::byte> jpeg, bool until_frame_header) {
  constexpr std::size_t kMaxSymbols = 256;
  const auto byte = [&](std::size_t at) { return at < jpeg.size() ? std::to_integer<std::size_t>(jpeg[at]) : 0; };
  std::size_t at = 2;
  while (true) {
    while (at < jpeg.size() && byte(at) != 0xff) ++at;
    while (at < jpeg.size() && byte(at) == 0xff) ++at;
    if (at >= jpeg.size()) return {};
    const std::size_t marker = byte(at++);
    const bool frame_header = marker >= 0xc0 && marker <= 0xc2;
    if (marker == 0xd9 || (frame_header && until_frame_header)) return {};
    // A stuffed 0xff and the restart markers inside compressed data.
    if (marker == 0 || (marker >= 0xd0 && marker <= 0xd7)) continue;
    const std::size_t length = byte(at) << 8U | byte(at + 1);
    for (std::size_t table = at + 2; marker == 0xc4 && table < at + length;) {
      std::size_t symbols = 0;
      for (std::size_t i = 1; i <= 16; ++i) symbols += byte(table + i);
      if (symbols > kMaxSymbols) return damaged("JPEG");
      table += 17 + symbols;
    }
    at += std::max<std::size_t>(length, 2);
  }
}

// Reads the header. On success the decoder may allocate what a picture of this size needs, in this thread.
Expected<Encoded> open_encoded(Buffer file) {
  constexpr std::size_t kSmall = std::size_t{64} << 10U;
  TRY_ASSIGN(const std::string_view format, format_of(file));
  if (file.size() > std::numeric_limits<int>::max()) {
    return fail(ErrorCode::kUnsupported, "a picture file of {} bytes is too large", file.size());
  }
  if (format == "JPEG") TRY(check_huffman_tables(file.bytes(), true));
  Encoded encoded{std::move(file), format};
  limit_picture_allocations(kSmall);
  int width = 0;
  int height = 0;
  int channels = 0;
  if (stbi_info_from_memory(encoded.data(), encoded.size(), &width, &height, &channels) == 0) return damaged(format);
  encoded.width = width;
  encoded.height = height;
  if (encoded.width * encoded.height > kMaxPicturePixels || std::max(encoded.width, encoded.height) > kMaxPictureSide) {
    return fail(ErrorCode::kUnsupported, "{}x{} pixels; at most {} and {} a side are read", width, height,
                kMaxPicturePixels, kMaxPictureSide);
  }
  // At most four samples of 16 bits a pixel, twice over where a buffer grows by doubling, JPEG's blocks at the border,
  // and the collected compressed data.
  constexpr std::int64_t kBorder = 64;
  const auto blocks = static_cast<std::size_t>((encoded.width + kBorder) * (encoded.height + kBorder));
  limit_picture_allocations(kSmall + std::max(blocks * 16, encoded.file.size() * 2));
  return encoded;
}

Expected<Picture> decode(Buffer file, std::int64_t channels) {
  TRY_ASSIGN(const Encoded encoded, open_encoded(std::move(file)));
  if (encoded.format == "JPEG") TRY(check_huffman_tables(encoded.file.bytes(), false));
  int width = 0;
  int height = 0;
  int found_channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> samples(
      stbi_load_from_memory(encoded.data(), encoded.size(), &width, &height, &found_channels,
                            static_cast<int>(channels)),
      stbi_image_free);
  if (!samples) return damaged(encoded.format);
  if (width != encoded.width || height != encoded.height) return damaged(encoded.format);
  const auto count = static_cast<std::size_t>(encoded.height * encoded.width * channels);
  return Picture{encoded.height, encoded.width, channels, {samples.get(), samples.get() + count}};
}

std::int64_t channels_of(const TensorType& input) { return input.shape[1]; }

// One value a channel.
std::vector<float> per_channel(const std::vector<float>& given, std::int64_t channels, std::array<float, 3> colour,
                               float grey) {
  const auto count = static_cast<std::size_t>(channels);
  if (given.size() == count) return given;
  if (given.size() == 1) return std::vector<float>(count, given.front());
  return channels == 3 ? std::vector<float>(colour.begin(), colour.end()) : std::vector<float>(count, grey);
}

// The resized picture that the centre is cut out of, and where.
struct Geometry {
  std::int64_t height;
  std::int64_t width;
  std::int64_t top;
  std::int64_t left;
};

// Rounds a half to the even neighbour, as Python's round does.
std::int64_t round_even(double value) { return std::llrint(value); }

Expected<Geometry> geometry_of(const Picture& picture, std::int64_t height, std::int64_t width,
                               std::optional<std::int64_t> resize) {
  if (resize == 0) return Geometry{height, width, 0, 0};
  const std::int64_t cover_height = resize ? *resize : round_even(static_cast<double>(height) * 256 / 224);
  const std::int64_t cover_width = resize ? *resize : round_even(static_cast<double>(width) * 256 / 224);
  Geometry geometry{cover_height, cover_width, 0, 0};
  if (picture.height * cover_width <= picture.width * cover_height) {
    geometry.width = cover_height * picture.width / picture.height;
  } else {
    geometry.height = cover_width * picture.height / picture.width;
  }
  if (geometry.height < height || geometry.width < width) {
    return fail(ErrorCode::kInvalid, "resized to {}x{} pixels it is smaller than the network's {}x{}", geometry.width,
                geometry.height, width, height);
  }
  geometry.top = round_even(static_cast<double>(geometry.height - height) / 2);
  geometry.left = round_even(static_cast<double>(geometry.width - width) / 2);
  return geometry;
}

// What one output sample is made of: the input samples from `begin` on, weighted.
struct Taps {
  std::int64_t begin;
  std::vector<float> weights;
};

// A triangle as wide as two input samples, or two output samples where the picture shrinks, cut off at the border: what
// Pillow calls bilinear and torchvision antialiased. For the output samples [first, first + count) of `to`.
std::vector<Taps> triangle_taps(std::int64_t from, std::int64_t to, std::int64_t first, std::int64_t count) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double support = std::max(scale, 1.0);
  std::vector<Taps> all;
  for (std::int64_t i = first; i < first + count; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    Taps taps{std::max<std::int64_t>(0, static_cast<std::int64_t>(centre - support + 0.5)), {}};
    const std::int64_t end = std::min(from, static_cast<std::int64_t>(centre + support + 0.5));
    std::vector<double> weights;
    double sum = 0;
    for (std::int64_t k = taps.begin; k < end; ++k) {
      const double distance = std::abs(static_cast<double>(k) + 0.5 - centre) / support;
      weights.push_back(std::max(0.0, 1.0 - distance));
      sum += weights.back();
    }
    for (const double weight : weights) taps.weights.push_back(static_cast<float>(weight / sum));
    all.push_back(std::move(taps));
  }
  return all;
}

// One row of the resized picture, before its columns are resized: samples of 0..255.
void mix_rows(const Picture& picture, const Taps& taps, std::span<float> row) {
  std::ranges::fill(row, 0.0F);
  const std::uint8_t* from = picture.samples.data() + static_cast<std::size_t>(taps.begin) * row.size();
  for (const float weight : taps.weights) {
    for (std::size_t i = 0; i < row.size(); ++i) row[i] += weight * static_cast<float>(from[i]);
    from += row.size();
  }
}

float mix_columns(std::span<const float> row, const Taps& taps, std::size_t channels, std::size_t channel) {
  float sum = 0;
  std::size_t at = static_cast<std::size_t>(taps.begin) * channels + channel;
  for (const float weight : taps.weights) {
    sum += weight * row[at];
    at += channels;
  }
  return sum;
}

}  // namespace

Expected<void> check_picture(const std::filesystem::path& path) {
  TRY_ASSIGN(Buffer file, map_file(path));
  if (auto encoded = open_encoded(std::move(file)); !encoded) return fail_in(path.string(), std::move(encoded.error()));
  return {};
}

Expected<Picture> decode_picture(const std::filesystem::path& path, std::int64_t channels) {
  CHECK(channels == 1 || channels == 3);
  TRY_ASSIGN(Buffer file, map_file(path));
  auto picture = decode(std::move(file), channels);
  if (!picture) return fail_in(path.string(), std::move(picture.error()));
  return picture;
}

Expected<void> check_picture_input(const TensorType& input, const PictureOptions& options) {
  const Shape& shape = input.shape;
  const bool fits = input.type == DataType::kFloat32 && shape.rank() == 4 && shape[0] == 1 &&
                    (shape[1] == 1 || shape[1] == 3) && std::min(shape[2], shape[3]) > 0 &&
                    std::max(shape[2], shape[3]) <= kMaxPictureSide;
  if (!fits) {
    return fail(ErrorCode::kUnsupported, "a picture is float32[1,3,H,W] or float32[1,1,H,W], the network takes {}",
                input.to_string());
  }
  for (const auto& [name, values] : {std::pair("mean", &options.mean), std::pair("deviation", &options.deviation)}) {
    if (!values->empty() && values->size() != 1 && values->size() != static_cast<std::size_t>(channels_of(input))) {
      return fail(ErrorCode::kInvalid, "the {} has {} values, the network's input {} channels", name, values->size(),
                  channels_of(input));
    }
    if (!std::ranges::all_of(*values, [](float v) { return std::isfinite(v); })) {
      return fail(ErrorCode::kInvalid, "the {} isn't finite", name);
    }
  }
  if (!std::ranges::all_of(options.deviation, [](float deviation) { return deviation > 0; })) {
    return fail(ErrorCode::kInvalid, "the deviation isn't above 0");
  }
  const std::int64_t least = std::min(shape[2], shape[3]);
  if (options.resize && *options.resize != 0 && (*options.resize < least || *options.resize > kMaxPictureSide)) {
    return fail(ErrorCode::kInvalid, "expected to resize to 0, or {} to {} pixels for an input of {}, found {}", least,
                kMaxPictureSide, input.to_string(), *options.resize);
  }
  return {};
}

Expected<Tensor> picture_tensor(const Picture& picture, const TensorType& input, const PictureOptions& options) {
  const std::int64_t height = input.shape[2];
  const std::int64_t width = input.shape[3];
  CHECK(picture.channels == channels_of(input));
  CHECK(picture.samples.size() == static_cast<std::size_t>(picture.height * picture.width * picture.channels));
  TRY_ASSIGN(const Geometry geometry, geometry_of(picture, height, width, options.resize));
  const std::vector<Taps> rows = triangle_taps(picture.height, geometry.height, geometry.top, height);
  const std::vector<Taps> columns = triangle_taps(picture.width, geometry.width, geometry.left, width);
  const std::vector<float> mean = per_channel(options.mean, picture.channels, {0.485F, 0.456F, 0.406F}, 0.0F);
  const std::vector<float> deviation = per_channel(options.deviation, picture.channels, {0.229F, 0.224F, 0.225F}, 1.0F);

  const auto channels = static_cast<std::size_t>(picture.channels);
  std::vector<float> row(static_cast<std::size_t>(picture.width) * channels);
  TensorBuilder tensor(input);
  const std::span<float> nchw = tensor.as<float>();
  for (std::size_t y = 0; y < rows.size(); ++y) {
    mix_rows(picture, rows[y], row);
    for (std::size_t c = 0; c < channels; ++c) {
      const std::span<float> to = nchw.subspan((c * rows.size() + y) * columns.size(), columns.size());
      for (std::size_t x = 0; x < columns.size(); ++x) {
        to[x] = (mix_columns(row, columns[x], channels, c) / 255.0F - mean[c]) / deviation[c];
      }
    }
  }
  return std::move(tensor).build();
}

Expected<Tensor> load_picture(const std::filesystem::path& path, const TensorType& input,
                              const PictureOptions& options) {
  if (auto fits = check_picture_input(input, options); !fits) return fail_in(path.string(), std::move(fits.error()));
  TRY_ASSIGN(const Picture picture, decode_picture(path, channels_of(input)));
  auto tensor = picture_tensor(picture, input, options);
  if (!tensor) return fail_in(path.string(), std::move(tensor.error()));
  return tensor;
}

}  // namespace onnx_split
