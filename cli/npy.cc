#include "cli/npy.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <optional>
#include <string>

#include "base/file.h"

namespace onnx_split {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are copied as they lie in the file");

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kAlignment = 64;
// An array's header has about 100 bytes; NumPy itself reads at most 10000.
constexpr std::size_t kMaxHeaderBytes = 65535;

struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

// The header's text: a Python dictionary with exactly the keys descr, fortran_order and shape, in any order.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  Expected<Header> parse() {
    std::optional<std::string> descr;
    std::optional<bool> fortran_order;
    std::optional<std::vector<std::int64_t>> shape;
    TRY(expect('{'));
    while (!accept('}')) {
      TRY_ASSIGN(const std::string key, string());
      TRY(expect(':'));
      if (key == "descr" && !descr) {
        if (peek() == '[') return fail(ErrorCode::kUnsupported, "an array of records isn't supported");
        TRY_ASSIGN(descr, string());
      } else if (key == "fortran_order" && !fortran_order) {
        TRY_ASSIGN(fortran_order, boolean());
      } else if (key == "shape" && !shape) {
        TRY_ASSIGN(shape, tuple());
      } else {
        return fail(ErrorCode::kInvalid, "expected each of the keys descr, fortran_order and shape once, found '{}'",
                    key);
      }
      if (peek() != '}') TRY(expect(','));
    }
    if (peek() != '\0') return expected("the end");
    if (!descr || !fortran_order || !shape) {
      return fail(ErrorCode::kInvalid, "the key {} is missing",
                  !descr           ? "descr"
                  : !fortran_order ? "fortran_order"
                                   : "shape");
    }
    return Header{std::move(*descr), *fortran_order, std::move(*shape)};
  }

 private:
  // The next character that isn't white, '\0' at the end.
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  Expected<void> expect(char c) {
    if (!accept(c)) return expected(fmt::format("'{}'", c));
    return {};
  }

  tl::unexpected<Error> expected(std::string_view what) {
    const char found = peek();
    if (at_ == text_.size()) return fail(ErrorCode::kInvalid, "expected {}, found the end", what);
    if (found < ' ' || found > '~') {
      return fail(ErrorCode::kInvalid, "expected {} at byte {}, found the byte 0x{:02x}", what, at_,
                  static_cast<unsigned char>(found));
    }
    return fail(ErrorCode::kInvalid, "expected {} at byte {}, found '{}'", what, at_, found);
  }

  // Short and without escapes, as all that belong here are.
  Expected<std::string> string() {
    constexpr std::size_t kLongest = 32;
    const char quote = peek();
    if (quote != '\'' && quote != '"') return expected("a string");
    const std::size_t begin = at_ + 1;
    std::size_t end = begin;
    const auto plain = [](char c) { return c >= ' ' && c <= '~' && c != '\\'; };
    while (end < text_.size() && end - begin <= kLongest && text_[end] != quote && plain(text_[end])) ++end;
    if (end == text_.size() || text_[end] != quote) return expected("a short, plain string");
    at_ = end + 1;
    return std::string(text_.substr(begin, end - begin));
  }

  Expected<bool> boolean() {
    peek();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return value;
    }
    return expected("True or False");
  }

  // (), (3,), (2, 3) or (2, 3,); but (3) is no tuple.
  Expected<std::vector<std::int64_t>> tuple() {
    std::vector<std::int64_t> items;
    TRY(expect('('));
    while (!accept(')')) {
      TRY_ASSIGN(const std::int64_t item, integer());
      items.push_back(item);
      if (items.size() == 1 || peek() != ')') TRY(expect(','));
    }
    return items;
  }

  Expected<std::int64_t> integer() {
    peek();
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error == std::errc::result_out_of_range) {
      return fail(ErrorCode::kInvalid, "an extent at byte {} is too large", at_);
    }
    if (error != std::errc{}) return expected("an extent");
    at_ = static_cast<std::size_t>(end - text_.data());
    return value;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

template <class From, class To>
void convert(std::span<const std::byte> from, std::span<To> to) {
  for (std::size_t i = 0; i < to.size(); ++i) {
    From element;
    std::memcpy(&element, from.data() + i * sizeof(From), sizeof(From));
    to[i] = static_cast<To>(element);
  }
}

std::string_view descr_of(DataType type) {
  switch (type) {
    case DataType::kFloat32: return "<f4";
    case DataType::kInt64: return "<i8";
    case DataType::kBool: return "|b1";
  }
  return "";
}

std::string header_text(const TensorType& type) {
  std::string shape;
  for (const std::int64_t extent : type.shape) shape += fmt::format("{},{}", extent, type.shape.rank() > 1 ? " " : "");
  if (type.shape.rank() > 1) shape.resize(shape.size() - 2);
  std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr_of(type.type), shape);
  const std::size_t before = kMagic.size() + 4;
  const std::size_t unpadded = before + text.size() + 1;
  text.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  return text + '\n';
}

}  // namespace

const NpyFile::Element NpyFile::kElements[] = {
    {Stored::kFloat32, "<f4", 4, DataType::kFloat32}, {Stored::kFloat64, "<f8", 8, DataType::kFloat32},
    {Stored::kInt64, "<i8", 8, DataType::kInt64},     {Stored::kInt32, "<i4", 4, DataType::kInt64},
    {Stored::kBool, "|b1", 1, DataType::kBool},
};

Expected<NpyFile> NpyFile::open(const std::filesystem::path& path) {
  TRY_ASSIGN(const Buffer file, map_file(path));
  auto opened = parse(path, file);
  if (!opened) return fail_in(path.string(), std::move(opened.error()));
  return opened;
}

Expected<NpyFile> NpyFile::parse(const std::filesystem::path& path, const Buffer& file) {
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()), file.size());
  const auto byte = [&](std::size_t at) { return static_cast<std::size_t>(static_cast<unsigned char>(bytes[at])); };
  if (!bytes.starts_with(kMagic)) return fail(ErrorCode::kInvalid, "not a .npy array");
  if (bytes.size() < 10) return fail(ErrorCode::kInvalid, "cut short in its header");
  const std::size_t major = byte(6);
  if ((major != 1 && major != 2) || byte(7) != 0) {
    return fail(ErrorCode::kUnsupported, "version {}.{} of .npy isn't supported; 1.0 and 2.0 are", major, byte(7));
  }
  const std::size_t before = major == 1 ? 10 : 12;
  if (bytes.size() < before) return fail(ErrorCode::kInvalid, "cut short in its header");
  std::size_t header_bytes = byte(8) | byte(9) << 8U;
  if (major == 2) header_bytes |= byte(10) << 16U | byte(11) << 24U;
  if (header_bytes > bytes.size() - before) {
    return fail(ErrorCode::kInvalid, "cut short: expected a header of {} bytes, found {}", header_bytes,
                bytes.size() - before);
  }
  if (header_bytes > kMaxHeaderBytes) {
    return fail(ErrorCode::kUnsupported, "a header of {} bytes; at most {} are read", header_bytes, kMaxHeaderBytes);
  }

  auto header = HeaderParser(bytes.substr(before, header_bytes)).parse();
  if (!header) return fail_in("header", std::move(header.error()));
  const auto* const element = std::ranges::find(kElements, header->descr, &Element::descr);
  if (element == std::end(kElements)) {
    return fail(ErrorCode::kUnsupported,
                "elements of type '{}' aren't supported; '<f4', '<f8', '<i8', '<i4' and '|b1' are", header->descr);
  }
  if (header->fortran_order) {
    return fail(ErrorCode::kUnsupported, "saved in Fortran order; save numpy.ascontiguousarray(array) instead");
  }
  TRY_ASSIGN(Shape shape, Shape::checked(std::move(header->shape)));
  const std::size_t data_bytes = static_cast<std::size_t>(shape.elements()) * element->size_bytes;
  const Buffer data = file.sub(before + header_bytes, file.size() - before - header_bytes);
  if (data.size() != data_bytes) {
    return fail(ErrorCode::kInvalid, "expected {} bytes of data for '{}' {}, found {}", data_bytes, element->descr,
                shape.to_string(), data.size());
  }
  return NpyFile(path, *element, {element->type, std::move(shape)}, data);
}

Expected<Tensor> NpyFile::read(std::int64_t first_element, const Shape& shape) const {
  CHECK(first_element >= 0 && first_element <= type_.shape.elements());
  CHECK(shape.elements() <= type_.shape.elements() - first_element);
  const std::span<const std::byte> from =
      data_.bytes().subspan(static_cast<std::size_t>(first_element) * element_->size_bytes,
                            static_cast<std::size_t>(shape.elements()) * element_->size_bytes);
  // Any other byte in a bool is undefined behaviour to whoever reads it.
  if (element_->stored == Stored::kBool && std::ranges::any_of(from, [](std::byte b) { return b > std::byte{1}; })) {
    return fail(ErrorCode::kInvalid, "{}: a bool is neither 0 nor 1", path_.string());
  }
  TensorBuilder tensor({type_.type, shape});
  switch (element_->stored) {
    case Stored::kFloat64: convert<double>(from, tensor.as<float>()); break;
    case Stored::kInt32: convert<std::int32_t>(from, tensor.as<std::int64_t>()); break;
    case Stored::kFloat32:
    case Stored::kInt64:
    case Stored::kBool: std::ranges::copy(from, tensor.view().bytes().begin()); break;
  }
  return std::move(tensor).build();
}

Expected<Tensor> read_npy(const std::filesystem::path& path) {
  TRY_ASSIGN(const NpyFile file, NpyFile::open(path));
  return file.read();
}

Expected<void> write_npy(const std::filesystem::path& path, TensorView tensor) {
  const std::string header = header_text(tensor.type());
  TRY_ASSIGN(AtomicFile file, AtomicFile::create(path));
  TRY(file.write(kMagic));
  const char version_and_length[] = {1, 0, static_cast<char>(header.size() & 0xffU),
                                     static_cast<char>(header.size() >> 8U)};
  TRY(file.write(std::string_view(version_and_length, sizeof version_and_length)));
  TRY(file.write(header));
  TRY(file.write(tensor.bytes()));
  return file.commit();
}

}  // namespace onnx_split
