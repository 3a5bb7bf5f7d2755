#include "cli/input.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <unordered_set>

#include "cli/npy.h"
#include "graph/zoo/zoo.h"
#include "onnx_import/import.h"

namespace onnx_split {
namespace {

namespace fs = std::filesystem;

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return extension;
}

// random or random:SEED; nothing where it is neither.
Expected<std::optional<std::uint64_t>> parse_random(std::string_view text) {
  constexpr std::string_view kWord = "random";
  if (text == kWord) return std::optional<std::uint64_t>(0);
  if (!text.starts_with(kWord) || text[kWord.size()] != ':') return std::nullopt;
  const std::string_view digits = text.substr(kWord.size() + 1);
  std::uint64_t seed = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), seed);
  if (error != std::errc{} || end != digits.data() + digits.size()) {
    return fail(ErrorCode::kInvalid, "{}: expected random or random:SEED with a whole number", text);
  }
  return std::optional(seed);
}

// How many items of type `wanted` something of type `found` holds.
Expected<std::size_t> items_in(const TensorType& found, const TensorType& wanted) {
  if (found == wanted) return std::size_t{1};
  const auto mismatch = [&] {
    return fail(ErrorCode::kInvalid, "expected {}, found {}", wanted.to_string(), found.to_string());
  };
  if (found.type != wanted.type || wanted.shape.rank() == 0 || wanted.shape[0] != 1) return mismatch();
  const std::span<const std::int64_t> rest = wanted.shape.dims().subspan(1);
  const std::span<const std::int64_t> dims = found.shape.dims();
  if (std::ranges::equal(dims, rest)) return std::size_t{1};
  const bool batched = !dims.empty() && std::ranges::equal(dims.subspan(1), rest);
  // Without elements there could be any number of items in a file of a few bytes.
  if (!batched || found.shape.elements() == 0) return mismatch();
  return static_cast<std::size_t>(dims[0]);
}

std::string quoted_list(std::span<const std::string> names) {
  std::string text;
  for (const std::string& name : names) text += fmt::format("{}\"{}\"", text.empty() ? "" : ", ", name);
  return text;
}

bool is_there(const fs::path& path) {
  std::error_code ignored;  // who opens it gets the reason
  return fs::exists(path, ignored);
}

}  // namespace

const InputSource::Source& InputSource::Feed::source_of(std::size_t item) const {
  CHECK(item < items());
  return *std::prev(std::ranges::upper_bound(sources, item, {}, &Source::first_item));
}

Expected<InputSource> InputSource::open(std::span<const std::string> specs, const Graph& graph,
                                        const PictureOptions& options) {
  InputSource source;
  source.options_ = options;
  for (const ValueId id : graph.inputs()) {
    source.feeds_.push_back({graph.value(id).name, graph.value(id).type, {}});
  }
  if (source.feeds_.empty()) return fail(ErrorCode::kUnsupported, "the network has no input");
  for (const std::string& spec : specs) TRY(source.add_spec(spec));
  TRY(source.check_counts());
  source.make_labels_unique();
  source.size_ = source.feeds_.front().items();
  return source;
}

Expected<void> InputSource::add_spec(const std::string& spec) {
  const auto add = [this](Feed& feed, const std::string& what) -> Expected<void> {
    TRY_ASSIGN(const std::optional<std::uint64_t> seed, parse_random(what));
    return seed ? add_random(feed, what, *seed) : add_path(feed, what);
  };
  // A name may hold a "=" itself, and a path may: so the network's names decide, the longest first.
  Feed* named = nullptr;
  for (Feed& feed : feeds_) {
    const bool matches = spec.starts_with(feed.input) && spec.substr(feed.input.size()).starts_with('=');
    if (matches && (named == nullptr || feed.input.size() > named->input.size())) named = &feed;
  }
  if (named != nullptr) return add(*named, spec.substr(named->input.size() + 1));

  std::vector<std::string> names;
  for (const Feed& feed : feeds_) names.push_back(feed.input);
  const std::size_t equals = spec.find('=');
  if (equals != std::string::npos && (feeds_.size() > 1 || !is_there(spec))) {
    return fail(ErrorCode::kNotFound, "{}: no input \"{}\"; the network has {}", spec, spec.substr(0, equals),
                quoted_list(names));
  }
  if (feeds_.size() == 1) return add(feeds_.front(), spec);
  TRY_ASSIGN(const std::optional<std::uint64_t> seed, parse_random(spec));
  if (!seed) {
    return fail(ErrorCode::kInvalid, "{}: expected NAME=X, because the network has the inputs {}", spec,
                quoted_list(names));
  }
  for (std::size_t i = 0; i < feeds_.size(); ++i) TRY(add_random(feeds_[i], spec, *seed + i));
  return {};
}

Expected<void> InputSource::add_random(Feed& feed, const std::string& spec, std::uint64_t seed) {
  if (feed.type.type != DataType::kFloat32) {
    return fail(ErrorCode::kUnsupported, "{}: random numbers are float32, the input \"{}\" is {}", spec, feed.input,
                feed.type.to_string());
  }
  std::string label = spec;
  std::ranges::replace(label, ':', '-');
  feed.sources.push_back({Kind::kRandom, {}, seed, std::move(label), 1, feed.items()});
  return {};
}

Expected<void> InputSource::add_path(Feed& feed, const fs::path& path) {
  std::error_code ignored;  // add_file gets the reason
  return fs::is_directory(path, ignored) ? add_directory(feed, path) : add_file(feed, path);
}

Expected<void> InputSource::add_directory(Feed& feed, const fs::path& path) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::directory_iterator entry(path, error);
  for (const fs::directory_iterator end; !error && entry != end; entry.increment(error)) {
    if (!entry->path().filename().string().starts_with('.')) files.push_back(entry->path());
  }
  if (error) return fail(ErrorCode::kIo, "{}: cannot list: {}", path.string(), error.message());
  if (files.empty()) return fail(ErrorCode::kNotFound, "{}: no files in this folder", path.string());
  std::ranges::sort(files, {}, [](const fs::path& file) { return file.filename().string(); });
  for (const fs::path& file : files) TRY(add_file(feed, file));
  return {};
}

Expected<void> InputSource::add_file(Feed& feed, const fs::path& path) {
  const std::string extension = lower_extension(path);
  Source source{Kind::kArray, path, 0, path.stem().string(), 1, feed.items()};
  Expected<std::size_t> items = 1;
  if (extension == ".npy") {
    TRY_ASSIGN(const NpyFile file, NpyFile::open(path));
    items = items_in(file.type(), feed.type);
  } else if (extension == ".pb") {
    source.kind = Kind::kTensor;
    TRY_ASSIGN(const Tensor tensor, import_tensor(path));
    items = items_in(tensor.type(), feed.type);
    if (items && *items != 1) items = fail(ErrorCode::kUnsupported, "several items in one .pb file; use .npy");
  } else if (extension == ".jpg" || extension == ".jpeg" || extension == ".png") {
    source.kind = Kind::kPicture;
    if (auto fits = check_picture_input(feed.type, options_); !fits) {
      return fail_in(path.string(), std::move(fits.error()));
    }
    TRY(check_picture(path));
  } else if (!is_there(path)) {
    return fail(ErrorCode::kNotFound, "{}: no such file", path.string());
  } else if (extension == ".gif" || extension == ".bmp" || extension == ".webp" || extension == ".tif" ||
             extension == ".tiff") {
    return fail(ErrorCode::kUnsupported, "{}: not a JPEG or PNG picture", path.string());
  } else {
    return fail(ErrorCode::kUnsupported, "{}: not a .npy, .pb, .jpg, .jpeg or .png file", path.string());
  }
  if (!items) return fail_in(path.string(), std::move(items.error()));
  source.items = *items;
  feed.sources.push_back(std::move(source));
  return {};
}

Expected<void> InputSource::check_counts() const {
  const Feed& first = feeds_.front();
  for (const Feed& feed : feeds_) {
    if (feed.sources.empty()) return fail(ErrorCode::kInvalid, "nothing is given for the input \"{}\"", feed.input);
  }
  for (const Feed& feed : feeds_) {
    if (feed.items() == first.items()) continue;
    return fail(ErrorCode::kInvalid, "expected as many items for each input, found {} for \"{}\" and {} for \"{}\"",
                first.items(), first.input, feed.items(), feed.input);
  }
  return {};
}

void InputSource::make_labels_unique() {
  std::vector<Source>& sources = feeds_.front().sources;
  std::unordered_map<std::string, std::size_t> uses;
  for (const Source& source : sources) ++uses[source.label];
  std::unordered_set<std::string> taken;
  for (Source& source : sources) {
    // "a[0].npy" beside an a.npy of several items must not be called "a[0]" too.
    const bool unclear = uses[source.label] > 1 || source.label.ends_with(']');
    if (unclear && source.kind != Kind::kRandom) source.label = source.path.filename().string();
    const std::string base = source.label;
    for (int copy = 2; !taken.insert(source.label).second; ++copy) source.label = fmt::format("{}-{}", base, copy);
  }
}

std::string InputSource::label(std::size_t item) const {
  const Source& source = feeds_.front().source_of(item);
  return source.items == 1 ? source.label : fmt::format("{}[{}]", source.label, item - source.first_item);
}

Expected<std::vector<Tensor>> InputSource::load(std::size_t item) const {
  CHECK(item < size_);
  std::vector<Tensor> tensors;
  for (const Feed& feed : feeds_) {
    TRY_ASSIGN(Tensor tensor, load_from(feed.source_of(item), feed.type, item));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Expected<Tensor> InputSource::load_from(const Source& source, const TensorType& type, std::size_t item) const {
  const auto changed = [&] {
    return fail(ErrorCode::kIo, "{}: has changed since it was opened", source.path.string());
  };
  switch (source.kind) {
    case Kind::kRandom: return zoo::random_input(type.shape, source.seed);
    case Kind::kPicture: return load_picture(source.path, type, options_);
    case Kind::kTensor: {
      TRY_ASSIGN(const Tensor tensor, import_tensor(source.path));
      if (items_in(tensor.type(), type) != 1) return changed();
      return Tensor(type, tensor.buffer());
    }
    case Kind::kArray: break;
  }
  TRY_ASSIGN(const NpyFile file, NpyFile::open(source.path));
  if (items_in(file.type(), type) != source.items) return changed();
  return file.read(static_cast<std::int64_t>(item - source.first_item) * type.shape.elements(), type.shape);
}

}  // namespace onnx_split
