#include "fleet/part_store.h"

#include <unistd.h>

namespace onnx_split {

std::string_view part_file_name(PartFile file) { return file == PartFile::kModel ? "model" : "weights"; }

Expected<PartFile> part_file_from_name(std::string_view name) {
  for (const PartFile file : {PartFile::kModel, PartFile::kWeights}) {
    if (name == part_file_name(file)) return file;
  }
  return fail(ErrorCode::kInvalid, "part file \"{}\": expected model or weights", name);
}

Expected<PartStore> PartStore::create(const std::filesystem::path& model_dir, std::uint64_t epoch,
                                      std::uint64_t max_bytes) {
  std::error_code error;
  std::filesystem::create_directories(model_dir, error);
  if (error) return fail(ErrorCode::kIo, "{}: cannot create folder: {}", model_dir.string(), error.message());
  const std::filesystem::path folder = model_dir / fmt::format("epoch-{:x}-{}", epoch, ::getpid());
  if (!std::filesystem::create_directory(folder, error)) {
    return fail(error == std::errc::no_space_on_device ? ErrorCode::kExhausted : ErrorCode::kIo,
                "{}: cannot create folder: {}", folder.string(), error ? error.message() : "it exists");
  }
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  return PartStore(folder, max_bytes);
}

PartStore::Folder::~Folder() {
  if (path.empty()) return;
  std::error_code ignored;  // a destructor has nobody to tell
  std::filesystem::remove_all(path, ignored);
}

std::filesystem::path PartStore::path_of(PartId part, PartFile file) const {
  const std::filesystem::path folder = folder_.path / fmt::format("stage{}_part{}", part.stage, part.part);
  return folder / (file == PartFile::kModel ? "model.onnx" : std::string(kStoredWeightsName));
}

Expected<void> PartStore::begin(PartId part, PartFile file, std::uint64_t total) {
  if (max_bytes_ > 0 && (total > max_bytes_ || promised_bytes_ > max_bytes_ - total)) {
    return fail(ErrorCode::kExhausted, "{}: the part files have over {} bytes, the memory limit", to_string(part),
                max_bytes_);
  }
  const std::filesystem::path path = path_of(part, file);
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) {
    return fail(error == std::errc::no_space_on_device ? ErrorCode::kExhausted : ErrorCode::kIo,
                "{}: cannot create folder: {}", path.parent_path().string(), error.message());
  }
  TRY_ASSIGN(AtomicFile created, AtomicFile::create(path));
  promised_bytes_ += total;
  Incoming& incoming = incoming_[{part, file}];
  incoming.file.emplace(std::move(created));
  incoming.total = total;
  return {};
}

Expected<void> PartStore::append(PartId part, PartFile file, std::uint64_t offset, std::uint64_t total,
                                 std::span<const std::byte> piece) {
  if (!incoming_.contains({part, file})) TRY(begin(part, file, total));
  Incoming& incoming = incoming_[{part, file}];
  if (!incoming.file || total != incoming.total || offset != incoming.received ||
      piece.size() > incoming.total - incoming.received) {
    return fail(ErrorCode::kInvalid, "{}: {} piece at {} of {}: {} of {} bytes have come", to_string(part),
                part_file_name(file), offset, total, incoming.received, incoming.total);
  }
  auto written = incoming.file->write(piece);
  if (written) incoming.received += piece.size();
  if (written && incoming.received == incoming.total) {
    written = incoming.file->commit();
    incoming.complete = written.has_value();
    incoming.file.reset();
  }
  if (!written) incoming.file.reset();  // it takes no more pieces
  return written;
}

Expected<std::filesystem::path> PartStore::model_path(PartId part) const {
  for (const PartFile file : {PartFile::kModel, PartFile::kWeights}) {
    const auto found = incoming_.find({part, file});
    if (found == incoming_.end() || !found->second.complete) {
      return fail(ErrorCode::kInvalid, "{}: its {} file hasn't come whole", to_string(part), part_file_name(file));
    }
  }
  return path_of(part, PartFile::kModel);
}

}  // namespace onnx_split
