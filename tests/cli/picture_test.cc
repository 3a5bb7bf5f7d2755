#include "cli/picture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "base/file.h"
#include "base/random.h"

namespace onnx_split {
namespace {

using namespace std::string_literals;

constexpr std::array kMean{0.485F, 0.456F, 0.406F};
constexpr std::array kDeviation{0.229F, 0.224F, 0.225F};

TensorType input_of(std::int64_t channels, std::int64_t height, std::int64_t width) {
  return {DataType::kFloat32, {1, channels, height, width}};
}

// sample(y, x, channel)
template <class Sample>
Picture picture_of(std::int64_t height, std::int64_t width, std::int64_t channels, Sample sample) {
  Picture picture{height, width, channels, {}};
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      for (std::int64_t c = 0; c < channels; ++c) {
        picture.samples.push_back(static_cast<std::uint8_t>(sample(y, x, c)));
      }
    }
  }
  return picture;
}

void append(void* text, void* bytes, int size) {
  static_cast<std::string*>(text)->append(static_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

std::string png_of(const Picture& picture) {
  std::string bytes;
  stbi_write_png_to_func(append, &bytes, static_cast<int>(picture.width), static_cast<int>(picture.height),
                         static_cast<int>(picture.channels), picture.samples.data(), 0);
  return bytes;
}

std::string jpeg_of(const Picture& picture) {
  std::string bytes;
  stbi_write_jpg_to_func(append, &bytes, static_cast<int>(picture.width), static_cast<int>(picture.height),
                         static_cast<int>(picture.channels), picture.samples.data(), 95);
  return bytes;
}

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (const unsigned shift : {24U, 16U, 8U, 0U}) bytes += static_cast<char>(value >> shift);
  return bytes;
}

// stb_image doesn't look at checksums.
std::string chunk(const std::string& type, const std::string& data) {
  return big_endian(static_cast<std::uint32_t>(data.size())) + type + data + "\0\0\0\0"s;
}

// 8-bit grey.
std::string raw_png(std::uint32_t width, std::uint32_t height, const std::string& compressed) {
  return "\x89PNG\r\n\x1a\n"s + chunk("IHDR", big_endian(width) + big_endian(height) + "\x08\0\0\0\0"s) +
         chunk("IDAT", compressed) + chunk("IEND", "");
}

std::string compress(std::string bytes) {
  int size = 0;
  const std::unique_ptr<unsigned char, void (*)(void*)> compressed(
      stbi_zlib_compress(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size()), &size, 8),
      std::free);
  return {reinterpret_cast<const char*>(compressed.get()), static_cast<std::size_t>(size)};
}

class PictureFile : public ::testing::Test {
 protected:
  std::filesystem::path write(std::string_view name, std::string_view bytes) const {
    EXPECT_TRUE(write_file(folder_->path() / name, bytes));
    return folder_->path() / name;
  }

  static std::string complaint(const std::filesystem::path& file) {
    const auto picture = decode_picture(file, 3);
    if (picture) return "none";
    const std::string& message = picture.error().message;
    EXPECT_TRUE(message.starts_with(file.string() + ": ")) << message;
    return message.substr(file.string().size() + 2);
  }

 private:
  Expected<TemporaryDirectory> folder_ = TemporaryDirectory::create("picture-test");
};

TEST_F(PictureFile, APngIsDecodedExactly) {
  const Picture picture = picture_of(5, 7, 3, [](auto y, auto x, auto c) { return 40 * y + 5 * x + c; });
  const auto file = write("a.png", png_of(picture));
  EXPECT_TRUE(check_picture(file));
  const auto decoded = decode_picture(file, 3);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->height, 5);
  EXPECT_EQ(decoded->width, 7);
  EXPECT_EQ(decoded->samples, picture.samples);
}

TEST_F(PictureFile, AJpegIsDecodedNearly) {
  const Picture picture = picture_of(40, 30, 3, [](auto y, auto x, auto) { return 3 * y + 2 * x; });
  const auto file = write("a.jpg", jpeg_of(picture));
  EXPECT_TRUE(check_picture(file));
  const auto decoded = decode_picture(file, 3);
  ASSERT_TRUE(decoded) << decoded.error().message;
  ASSERT_EQ(decoded->samples.size(), picture.samples.size());
  for (std::size_t i = 0; i < picture.samples.size(); ++i) {
    EXPECT_NEAR(decoded->samples[i], picture.samples[i], 6);
  }
}

TEST_F(PictureFile, TransparencyIsDropped) {
  const auto file = write("a.png", png_of(picture_of(2, 2, 4, [](auto, auto, auto c) { return c == 3 ? 0 : 10 * c; })));
  const auto decoded = decode_picture(file, 3);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_THAT(decoded->samples, ::testing::ElementsAre(0, 10, 20, 0, 10, 20, 0, 10, 20, 0, 10, 20));
}

TEST_F(PictureFile, GreyAndColoursBecomeEachOther) {
  const auto grey = write("grey.png", png_of(picture_of(1, 2, 1, [](auto, auto x, auto) { return 100 + x; })));
  const auto colours = decode_picture(grey, 3);
  ASSERT_TRUE(colours) << colours.error().message;
  EXPECT_THAT(colours->samples, ::testing::ElementsAre(100, 100, 100, 101, 101, 101));
  const auto red = write("red.png", png_of(picture_of(1, 1, 3, [](auto, auto, auto c) { return c == 0 ? 255 : 0; })));
  const auto luma = decode_picture(red, 1);
  ASSERT_TRUE(luma) << luma.error().message;
  ASSERT_EQ(luma->samples.size(), 1U);
  EXPECT_NEAR(luma->samples[0], 0.299 * 255, 1);
}

TEST_F(PictureFile, SaysWhatIsWrongWithAFile) {
  const Picture picture = picture_of(30, 30, 3, [](auto y, auto x, auto c) { return 50 * c + y * x % 50; });
  const std::string png = png_of(picture);
  const std::string jpeg = jpeg_of(picture);
  std::string huge_table = jpeg;
  huge_table.replace(huge_table.find("\xff\xc4") + 5, 16, 16, '\xff');
  std::string late_table = jpeg;  // behind the compressed data
  late_table.insert(jpeg.size() - 2, "\xff\xc4\x00\x13\x00"s + std::string(16, '\xff'));
  constexpr std::string_view kDamagedPng = "a damaged PNG picture, or a kind of PNG that isn't supported";
  constexpr std::string_view kDamagedJpeg = "a damaged JPEG picture, or a kind of JPEG that isn't supported";
  struct Row {
    std::string_view name;
    std::string bytes;
    std::string_view complaint;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"cat.gif", "GIF89a\x01\x00\x01\x00\x80\x00\x00;"s, "not a JPEG or PNG picture"},
           {"text.jpg", "a cat", "not a JPEG or PNG picture"},
           {"empty.png", "", "not a JPEG or PNG picture"},
           {"bitmap.png", "BM\x1e\x00\x00\x00"s, "not a JPEG or PNG picture"},
           {"header.png", png.substr(0, 20), kDamagedPng},
           {"half.png", png.substr(0, png.size() / 2), kDamagedPng},
           {"half.jpg", jpeg.substr(0, jpeg.size() / 2), kDamagedJpeg},
           {"header.jpg", jpeg.substr(0, 4), kDamagedJpeg},
           {"table.jpg", huge_table, kDamagedJpeg},
           {"late.jpg", late_table, kDamagedJpeg},
           {"rows.png", raw_png(4, 4, compress(std::string(15, '\0'))), kDamagedPng},
           {"area.png", raw_png(20'000, 20'000, compress("0")),
            "20000x20000 pixels; at most 100000000 and 65535 a side are read"},
           {"side.png", raw_png(65'536, 1, compress("0")), kDamagedPng},
           {"bomb.png", raw_png(1, 1, compress(std::string(8 << 20, '\0'))), kDamagedPng},
       }) {
    EXPECT_EQ(complaint(write(row.name, row.bytes)), row.complaint) << row.name;
  }
  EXPECT_EQ(complaint("/nowhere/cat.png"), "cannot open: No such file or directory");
}

TEST_F(PictureFile, ChangedBytesNeverCrash) {
  const Picture picture = picture_of(24, 40, 3, [](auto y, auto x, auto c) { return 50 * c + y * x % 50; });
  Random random(1);
  for (const std::string& bytes : {png_of(picture), jpeg_of(picture)}) {
    for (int round = 0; round < 1000; ++round) {
      std::string changed = bytes;
      for (std::int64_t i = random.integer(1, 4); i > 0; --i) {
        const auto at = static_cast<std::size_t>(random.integer(8, static_cast<std::int64_t>(bytes.size()) - 1));
        changed[at] = static_cast<char>(random.integer(0, 255));
      }
      const auto decoded = decode_picture(write("changed.png", changed), 3);
      if (decoded) {
        EXPECT_EQ(decoded->samples.size(), static_cast<std::size_t>(decoded->height * decoded->width * 3));
      }
    }
  }
}

TEST(PictureTensor, AUniformPictureStaysUniform) {
  const Picture picture = picture_of(50, 33, 3, [](auto, auto, auto c) { return 60 * c + 30; });
  const auto tensor = picture_tensor(picture, input_of(3, 224, 224), {});
  ASSERT_TRUE(tensor) << tensor.error().message;
  const auto values = tensor->as<float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t c = i / (224 * 224);
    EXPECT_NEAR(values[i], (static_cast<float>(60 * c + 30) / 255 - kMean[c]) / kDeviation[c], 1e-5F);
  }
}

// On a gradient, resizing is reading between the samples: it shows where each output pixel's centre lies.
TEST(PictureTensor, TheCentreIsCutOutOfTheShorterSideResizedTo256) {
  constexpr std::int64_t kHeight = 480;
  constexpr std::int64_t kWidth = 640;
  const Picture picture =
      picture_of(kHeight, kWidth, 3, [](auto y, auto x, auto c) { return c == 0 ? x / 4 : (c == 1 ? y / 4 : 0); });
  const PictureOptions plain{{0}, {1}, {}};
  const auto tensor = picture_tensor(picture, input_of(3, 224, 224), plain);
  ASSERT_TRUE(tensor) << tensor.error().message;
  const auto values = tensor->as<float>();
  const double resized_width = 256 * 640 / 480;
  const double left = 58;  // Python's round((341 - 224) / 2.0)
  const double top = 16;
  for (std::size_t y = 0; y < 224; ++y) {
    for (std::size_t x = 0; x < 224; ++x) {
      const double at_x = (left + static_cast<double>(x) + 0.5) * kWidth / resized_width - 0.5;
      const double at_y = (top + static_cast<double>(y) + 0.5) * kHeight / 256 - 0.5;
      // x / 4 is a staircase half a step (1.5 samples / 4) below the line.
      EXPECT_NEAR(values[y * 224 + x] * 255, (at_x - 1.5) / 4, 0.3);
      EXPECT_NEAR(values[(224 + y) * 224 + x] * 255, (at_y - 1.5) / 4, 0.3);
    }
  }
}

TEST(PictureTensor, PortraitAndLandscapeAreEachOthersTranspose) {
  Random random(1);
  const Picture landscape = picture_of(37, 91, 1, [&](auto, auto, auto) { return random.integer(0, 255); });
  const Picture portrait = picture_of(
      91, 37, 1, [&](auto y, auto x, auto) { return landscape.samples[static_cast<std::size_t>(x * 91 + y)]; });
  const auto a = picture_tensor(landscape, input_of(1, 28, 28), {});
  const auto b = picture_tensor(portrait, input_of(1, 28, 28), {});
  ASSERT_TRUE(a && b);
  for (std::size_t y = 0; y < 28; ++y) {
    for (std::size_t x = 0; x < 28; ++x) {
      EXPECT_NEAR(a->as<float>()[y * 28 + x], b->as<float>()[x * 28 + y], 1e-6F);
    }
  }
}

// Worked by hand with Pillow's rule: halving puts weights 3, 3, 1 (sum 7) on the outer, 1, 3, 3 on the other side.
TEST(PictureTensor, ShrinkingIsAntialiasedAsPillowDoesIt) {
  const Picture picture = picture_of(1, 4, 1, [](auto, auto x, auto) { return std::array{70, 0, 140, 210}[x]; });
  const auto tensor = picture_tensor(picture, input_of(1, 1, 2), {{}, {}, 0});
  ASSERT_TRUE(tensor) << tensor.error().message;
  EXPECT_NEAR(tensor->as<float>()[0] * 255, (3 * 70 + 3 * 0 + 140) / 7.0, 1e-4);
  EXPECT_NEAR(tensor->as<float>()[1] * 255, (0 + 3 * 140 + 3 * 210) / 7.0, 1e-4);
}

TEST(PictureTensor, GrowingIsBilinear) {
  const Picture picture = picture_of(1, 2, 1, [](auto, auto x, auto) { return 100 * x; });
  const auto tensor = picture_tensor(picture, input_of(1, 1, 4), {{}, {}, 0});
  ASSERT_TRUE(tensor) << tensor.error().message;
  constexpr std::array kExpected{0.0F, 25.0F, 75.0F, 100.0F};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(tensor->as<float>()[i] * 255, kExpected[i], 1e-4F);
}

TEST(PictureTensor, TheRightSizeIsntResampled) {
  Random random(1);
  const Picture picture = picture_of(9, 11, 3, [&](auto, auto, auto) { return random.integer(0, 255); });
  const auto tensor = picture_tensor(picture, input_of(3, 9, 9), {{}, {}, 9});
  ASSERT_TRUE(tensor) << tensor.error().message;
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t y = 0; y < 9; ++y) {
      for (std::size_t x = 0; x < 9; ++x) {
        const float sample = picture.samples[(y * 11 + x + 1) * 3 + c];
        EXPECT_NEAR(tensor->as<float>()[(c * 9 + y) * 9 + x], (sample / 255 - kMean[c]) / kDeviation[c], 1e-5F);
      }
    }
  }
}

TEST(PictureTensor, EveryPictureCoversEveryInputByDefault) {
  for (const auto& [height, width] : {std::pair(8, 8), std::pair(1, 1), std::pair(30, 40), std::pair(299, 7)}) {
    for (const auto& [picture_height, picture_width] : {std::pair(1, 1), std::pair(1, 3000), std::pair(640, 3)}) {
      const Picture picture = picture_of(picture_height, picture_width, 1, [](auto, auto, auto) { return 255; });
      const auto tensor = picture_tensor(picture, input_of(1, height, width), {});
      ASSERT_TRUE(tensor) << tensor.error().message;
      EXPECT_TRUE(std::ranges::all_of(tensor->as<float>(), [](float v) { return std::abs(v - 1) < 1e-5F; }));
    }
  }
}

TEST(PictureTensor, MeanAndDeviationAreOneForAllOrOneAChannel) {
  const Picture picture = picture_of(2, 2, 3, [](auto, auto, auto) { return 51; });
  const auto tensor = picture_tensor(picture, input_of(3, 2, 2), {{0.1F, 0.2F, 0.3F}, {0.5F}, {}});
  ASSERT_TRUE(tensor) << tensor.error().message;
  EXPECT_NEAR(tensor->as<float>()[0], 0.2F, 1e-6F);
  EXPECT_NEAR(tensor->as<float>()[4], 0.0F, 1e-6F);
  EXPECT_NEAR(tensor->as<float>()[8], -0.2F, 1e-6F);
}

TEST(PictureTensor, AResizeThatDoesntCoverIsAnError) {
  const Picture picture = picture_of(100, 80, 1, [](auto, auto, auto) { return 0; });
  const auto tensor = picture_tensor(picture, input_of(1, 50, 90), {{}, {}, 60});
  ASSERT_FALSE(tensor);
  EXPECT_EQ(tensor.error().message, "resized to 60x75 pixels it is smaller than the network's 90x50");
}

TEST(PictureInput, SaysWhatDoesntFit) {
  const auto complaint = [](const TensorType& type, const PictureOptions& options) {
    const auto fits = check_picture_input(type, options);
    return fits ? "none" : fits.error().message;
  };
  const std::string prefix = "a picture is float32[1,3,H,W] or float32[1,1,H,W], the network takes ";
  EXPECT_EQ(complaint(input_of(3, 224, 224), {}), "none");
  EXPECT_EQ(complaint(input_of(1, 28, 28), {{0.5F}, {0.5F}, 28}), "none");
  EXPECT_EQ(complaint(input_of(4, 2, 2), {}), prefix + "float32[1,4,2,2]");
  EXPECT_EQ(complaint({DataType::kFloat32, {2, 3, 4, 4}}, {}), prefix + "float32[2,3,4,4]");
  EXPECT_EQ(complaint({DataType::kFloat32, {1, 3, 16, 112, 112}}, {}), prefix + "float32[1,3,16,112,112]");
  EXPECT_EQ(complaint({DataType::kInt64, {1, 3, 4, 4}}, {}), prefix + "int64[1,3,4,4]");
  EXPECT_EQ(complaint(input_of(3, 4, 4), {{0, 0}, {}, {}}), "the mean has 2 values, the network's input 3 channels");
  EXPECT_EQ(complaint(input_of(1, 4, 4), {{}, {1, 1, 1}, {}}),
            "the deviation has 3 values, the network's input 1 channels");
  EXPECT_EQ(complaint(input_of(3, 4, 4), {{}, {1, 0, 1}, {}}), "the deviation isn't above 0");
  EXPECT_EQ(complaint(input_of(3, 4, 4), {{NAN}, {}, {}}), "the mean isn't finite");
  EXPECT_EQ(complaint(input_of(3, 8, 9), {{}, {}, 7}),
            "expected to resize to 0, or 8 to 65535 pixels for an input of float32[1,3,8,9], found 7");
}

}  // namespace
}  // namespace onnx_split
