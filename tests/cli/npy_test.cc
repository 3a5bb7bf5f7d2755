#include "cli/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <numeric>

#include "base/file.h"
#include "base/random.h"

namespace onnx_split {
namespace {

using namespace std::string_literals;

class Npy : public ::testing::Test {
 protected:
  std::filesystem::path path(std::string_view name) const { return folder_->path() / name; }

  // A version 1.0 file with this header, word for word, and data.
  std::filesystem::path write(std::string_view header, std::string_view data) const {
    const std::string length{static_cast<char>(header.size() & 0xffU), static_cast<char>(header.size() >> 8U)};
    return write_raw("\x93NUMPY\x01\x00"s + length + std::string(header) + std::string(data));
  }

  std::filesystem::path write_raw(std::string_view bytes) const {
    EXPECT_TRUE(write_file(path("x.npy"), bytes));
    return path("x.npy");
  }

  // What reading it complains about, after the file's name.
  static std::string complaint(const std::filesystem::path& file) {
    const auto tensor = read_npy(file);
    if (tensor) return "none";
    const std::string prefix = file.string() + ": ";
    EXPECT_TRUE(tensor.error().message.starts_with(prefix)) << tensor.error().message;
    return tensor.error().message.substr(prefix.size());
  }

 private:
  Expected<TemporaryDirectory> folder_ = TemporaryDirectory::create("npy-test");
};

template <class T>
std::string bytes_of(std::initializer_list<T> elements) {
  std::string bytes(elements.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), elements.begin(), bytes.size());
  return bytes;
}

TEST_F(Npy, WhatIsWrittenIsReadBack) {
  std::vector<float> floats(120);
  std::iota(floats.begin(), floats.end(), -60.5F);
  const auto floats_of = [&](const Shape& shape) {
    return Tensor::floats(shape, std::span(floats).first(static_cast<std::size_t>(shape.elements())));
  };
  const std::array<bool, 3> bools{true, false, true};
  const std::array<std::int64_t, 2> ints{-1, std::int64_t{1} << 60};
  for (const Tensor& tensor : {floats_of({}), floats_of({0}), floats_of({7}), floats_of({1, 2, 3, 4, 5}),
                               floats_of({1, 1, 1, 1, 1, 1, 1, 120}), Tensor::ints(ints),
                               Tensor::from<bool>(Shape{3, 1}, std::span<const bool>(bools))}) {
    ASSERT_TRUE(write_npy(path("a.npy"), tensor.view()));
    const auto back = read_npy(path("a.npy"));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(back->type(), tensor.type());
    EXPECT_TRUE(std::ranges::equal(back->view().bytes(), tensor.view().bytes()));
  }
}

TEST_F(Npy, WritesWhatNumpyWrites) {
  ASSERT_TRUE(write_npy(path("a.npy"), Tensor::floats({2, 1}, std::array{1.0F, 2.0F}).view()));
  const auto file = read_file(path("a.npy"));
  ASSERT_TRUE(file);
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }";
  EXPECT_EQ(*file, "\x93NUMPY\x01\x00\x76\x00"s + header + std::string(117 - header.size(), ' ') + "\n" +
                       bytes_of({1.0F, 2.0F}));
}

TEST_F(Npy, DataBeginsAtAMultipleOf64Bytes) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{1, 2, 3}, Shape{1, 1, 1, 1, 1, 1, 1, 1234567}}) {
    ASSERT_TRUE(write_npy(path("a.npy"), TensorBuilder({DataType::kBool, shape}, true).view()));
    EXPECT_EQ((std::filesystem::file_size(path("a.npy")) - static_cast<std::size_t>(shape.elements())) % 64, 0U);
  }
}

TEST_F(Npy, ConvertsWiderFloatsAndNarrowerInts) {
  auto tensor = read_npy(write("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", bytes_of({0.1, 1e300})));
  ASSERT_TRUE(tensor) << tensor.error().message;
  EXPECT_THAT(tensor->as<float>(), ::testing::ElementsAre(0.1F, std::numeric_limits<float>::infinity()));
  tensor = read_npy(write("{'descr': '<i4', 'fortran_order': False, 'shape': (2,)}", bytes_of({-5, 7})));
  ASSERT_TRUE(tensor) << tensor.error().message;
  EXPECT_THAT(tensor->as<std::int64_t>(), ::testing::ElementsAre(-5, 7));
}

TEST_F(Npy, ReadsVersion2AndOtherSpellingsOfTheHeader) {
  const std::string header = R"({"shape":(2,),"fortran_order":False ,"descr":"<i8"})";
  const std::string length{static_cast<char>(header.size()), 0, 0, 0};
  const auto tensor = read_npy(write_raw("\x93NUMPY\x02\x00"s + length + header + bytes_of<std::int64_t>({3, 4})));
  ASSERT_TRUE(tensor) << tensor.error().message;
  EXPECT_THAT(tensor->as<std::int64_t>(), ::testing::ElementsAre(3, 4));
}

TEST_F(Npy, ReadsAPartOfAnArray) {
  const auto file = NpyFile::open(
      write("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }", bytes_of({0.0, 1.0, 2.0, 3.0, 4.0, 5.0})));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->type(), (TensorType{DataType::kFloat32, {3, 2}}));
  const auto row = file->read(2, Shape{1, 2});
  ASSERT_TRUE(row);
  EXPECT_EQ(row->shape(), (Shape{1, 2}));
  EXPECT_THAT(row->as<float>(), ::testing::ElementsAre(2.0F, 3.0F));
}

TEST_F(Npy, ReadsNumpysOwnFiles) {
  const std::filesystem::path digits = std::filesystem::path(ONNX_SPLIT_TEST_DATA) / "digits";
  const auto images = read_npy(digits / "digits_images.npy");
  ASSERT_TRUE(images) << images.error().message;
  EXPECT_EQ(images->type().to_string(), "float32[360,1,8,8]");
  const auto labels = read_npy(digits / "digits_labels.npy");
  ASSERT_TRUE(labels) << labels.error().message;
  EXPECT_EQ(labels->type().to_string(), "int64[360]");
}

TEST_F(Npy, SaysWhatIsWrongWithAHeader) {
  struct Row {
    std::string_view header;
    std::string_view complaint;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"", "header: expected '{', found the end"},
           {"{}", "header: the key descr is missing"},
           {"{'descr': '<f4', 'shape': (1,)}", "header: the key fortran_order is missing"},
           {"{'descr': '<f4', 'descr': '<f4'}",
            "header: expected each of the keys descr, fortran_order and shape once, found 'descr'"},
           {"{'color': 1}", "header: expected each of the keys descr, fortran_order and shape once, found 'color'"},
           {"{'descr' '<f4'}", "header: expected ':' at byte 9, found '''"},
           {"{'descr': '<f4'", "header: expected ',', found the end"},
           {"{'descr': '<f4\\n'}", "header: expected a short, plain string at byte 10, found '''"},
           {"{'descr': '0123456789012345678901234567890123456789'}",
            "header: expected a short, plain string at byte 10, found '''"},
           {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
            "header: an array of records isn't supported"},
           {"{'descr': '<f4', 'fortran_order': 0}", "header: expected True or False at byte 34, found '0'"},
           {"{'descr': '<f4', 'fortran_order': False, 'shape': 1}", "header: expected '(' at byte 50, found '1'"},
           {"{'descr': '<f4', 'fortran_order': False, 'shape': (1)}", "header: expected ',' at byte 52, found ')'"},
           {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,,)}",
            "header: expected an extent at byte 53, found ','"},
           {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2.5)}",
            "header: expected ',' at byte 55, found '.'"},
           {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "header: an extent at byte 51 is too large"},
           {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} \n\x01",
            "header: expected the end at byte 57, found the byte 0x01"},
           {"{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}",
            "elements of type '>f4' aren't supported; '<f4', '<f8', '<i8', '<i4' and '|b1' are"},
           {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2)}",
            "saved in Fortran order; save numpy.ascontiguousarray(array) instead"},
           {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "shape [-1] has a negative extent"},
           {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 16)}",
            "shape [4294967296,4294967296,16] has more than 1099511627776 elements"},
           {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1)}",
            "rank 9: at most 8 axes are supported"},
           {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3)}",
            "expected 12 bytes of data for '<f4' [1,3], found 4"},
           {"{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}",
            "expected 2 bytes of data for '|b1' [2], found 4"},
           {"{'descr': '|b1', 'fortran_order': False, 'shape': (4,)}", "a bool is neither 0 nor 1"},
       }) {
    EXPECT_EQ(complaint(write(row.header, "\x01\x02\x00\x00"s)), row.complaint) << row.header;
  }
}

TEST_F(Npy, SaysWhatIsWrongWithAFile) {
  EXPECT_EQ(complaint(path("missing.npy")), "cannot open: No such file or directory");
  EXPECT_EQ(complaint(path("")), "not a regular file");
  EXPECT_EQ(complaint(write_raw("")), "not a .npy array");
  EXPECT_EQ(complaint(write_raw("PK\x03\x04 an .npz")), "not a .npy array");
  EXPECT_EQ(complaint(write_raw("\x93NUMPY\x01")), "cut short in its header");
  EXPECT_EQ(complaint(write_raw("\x93NUMPY\x03\x00\x76\x00\x00\x00"s)),
            "version 3.0 of .npy isn't supported; 1.0 and 2.0 are");
  EXPECT_EQ(complaint(write_raw("\x93NUMPY\x02\x00\x76\x00"s)), "cut short in its header");
  EXPECT_EQ(complaint(write_raw("\x93NUMPY\x01\x00\xff\xff{}"s)),
            "cut short: expected a header of 65535 bytes, found 2");
  EXPECT_EQ(complaint(write_raw("\x93NUMPY\x02\x00\xff\xff\xff\xff{}"s)),
            "cut short: expected a header of 4294967295 bytes, found 2");
  EXPECT_EQ(complaint(write_raw("\x93NUMPY\x02\x00\x00\x00\x01\x00"s + std::string(65536, ' '))),
            "a header of 65536 bytes; at most 65535 are read");
}

TEST_F(Npy, EveryFileCutShortIsRefused) {
  ASSERT_TRUE(write_npy(path("a.npy"), Tensor::floats({2, 3}, std::array{1.F, 2.F, 3.F, 4.F, 5.F, 6.F}).view()));
  const auto whole = read_file(path("a.npy"));
  ASSERT_TRUE(whole);
  for (std::size_t size = 0; size < whole->size(); ++size) {
    EXPECT_NE(complaint(write_raw(std::string_view(*whole).substr(0, size))), "none") << size;
  }
}

TEST_F(Npy, ChangedBytesNeverCrash) {
  ASSERT_TRUE(write_npy(path("a.npy"), Tensor::floats({2, 3}, std::array{1.F, 2.F, 3.F, 4.F, 5.F, 6.F}).view()));
  const auto whole = read_file(path("a.npy"));
  ASSERT_TRUE(whole);
  Random random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string changed = *whole;
    for (int i = 0; i < 2; ++i) {
      changed[static_cast<std::size_t>(random.integer(6, 80))] = static_cast<char>(random.integer(0, 255));
    }
    const auto tensor = read_npy(write_raw(changed));
    if (tensor) {
      EXPECT_LE(tensor->type().size_bytes(), 6 * sizeof(double));
    }
  }
}

TEST_F(Npy, AFailedWriteLeavesWhatWasThere) {
  const Tensor tensor = Tensor::scalar(1);
  const auto written = write_npy(path("missing/a.npy"), tensor.view());
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().message, path("missing/a.npy").string() + ": cannot create: No such file or directory");
}

}  // namespace
}  // namespace onnx_split
