#include "io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/check.h"
#include "io/printable.h"

namespace hlwq {
namespace {

Status check_range(const std::string& path, const TensorEntry& tensor, uint64_t offset,
                   uint64_t bytes) {
  if (offset <= tensor.bytes() && bytes <= tensor.bytes() - offset) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: tensor \"{}\" has {} bytes; {} from byte {} go past its end", path,
                          printable(tensor.name), tensor.bytes(), bytes, offset));
}

// The length field and, when the length can be right, the header behind it.
Result<std::vector<std::byte>> read_prefix(const InputFile& file) {
  constexpr uint64_t kLengthBytes = 8;
  std::vector<std::byte> prefix(std::min(file.bytes(), kLengthBytes));
  HLWQ_TRY(file.read(0, prefix));
  if (prefix.size() < kLengthBytes) return prefix;
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, prefix.data(), kLengthBytes);
  if (header_bytes > std::min(kMostSafetensorsHeaderBytes, file.bytes() - kLengthBytes))
    return prefix;
  prefix.resize(kLengthBytes + header_bytes);
  HLWQ_TRY(file.read(kLengthBytes, std::span(prefix).subspan(kLengthBytes)));
  return prefix;
}

}  // namespace

SafetensorsFile::SafetensorsFile(InputFile file, SafetensorsHeader header)
    : file_(std::move(file)), header_(std::move(header)) {
  by_name_.reserve(header_.tensors.size());
  for (size_t i = 0; i < header_.tensors.size(); ++i) by_name_.emplace(header_.tensors[i].name, i);
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  HLWQ_TRY_ASSIGN(InputFile file, InputFile::open(path));
  HLWQ_TRY_ASSIGN(const std::vector<std::byte> prefix, read_prefix(file));
  HLWQ_TRY_ASSIGN(SafetensorsHeader header, parse_safetensors_header(prefix, file.bytes(), path));
  return SafetensorsFile(std::move(file), std::move(header));
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  return found == by_name_.end() ? nullptr : &header_.tensors[found->second];
}

Status SafetensorsFile::read(const TensorEntry& tensor, uint64_t offset,
                             std::span<std::byte> out) const {
  HLWQ_TRY(check_range(path(), tensor, offset, out.size()));
  return file_.read(header_.data_offset + tensor.begin + offset, out);
}

SafetensorsWriter::SafetensorsWriter(OutputFile file, SafetensorsHeader header)
    : file_(std::move(file)), header_(std::move(header)), written_(header_.tensors.size(), 0) {}

Result<SafetensorsWriter> SafetensorsWriter::create(
    const std::string& path, std::vector<TensorEntry> tensors,
    const std::map<std::string, std::string>& metadata) {
  SafetensorsHeader header;
  header.tensors = std::move(tensors);
  header.metadata = metadata;
  HLWQ_TRY_ASSIGN(const std::string text, make_safetensors_header(header.tensors, metadata));
  header.data_offset = text.size();
  HLWQ_TRY_ASSIGN(OutputFile file, OutputFile::create(path));
  HLWQ_TRY(file.append(std::as_bytes(std::span(text))));
  return SafetensorsWriter(std::move(file), std::move(header));
}

Status SafetensorsWriter::write(size_t index, uint64_t offset, std::span<const std::byte> bytes) {
  HLWQ_CHECK(index < header_.tensors.size());
  const TensorEntry& tensor = header_.tensors[index];
  HLWQ_TRY(check_range(file_.path(), tensor, offset, bytes.size()));
  HLWQ_TRY(file_.write_at(header_.data_offset + tensor.begin + offset, bytes));
  std::atomic_ref(written_[index]).fetch_add(bytes.size(), std::memory_order_relaxed);
  return {};
}

Status SafetensorsWriter::commit() {
  for (size_t i = 0; i < header_.tensors.size(); ++i) {
    const TensorEntry& tensor = header_.tensors[i];
    if (written_[i] != tensor.bytes())
      return fail(ErrorCode::kBadLayout,
                  fmt::format("{}: tensor \"{}\": {} bytes written, it has {}", file_.path(),
                              printable(tensor.name), written_[i], tensor.bytes()));
  }
  return file_.commit();
}

}  // namespace hlwq
