// Any bytes as the start of a safetensors file of any length: a refusal, or a header that keeps
// every promise and that our own writer can write again.
// Input: 8 bytes that choose the length of the file, then its first bytes.
// Links: hlwq::io

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "base/utf8.h"
#include "io/safetensors.h"

namespace {

void require(bool promise) {
  if (!promise) std::abort();
}

void check(const hlwq::SafetensorsHeader& header, uint64_t file_bytes) {
  uint64_t at = 0;
  for (const hlwq::TensorEntry& tensor : header.tensors) {
    require(tensor.begin == at && tensor.end >= at);
    const auto bytes = hlwq::checked_bytes(tensor.name, tensor.dtype, tensor.shape);
    require(bytes.has_value() && *bytes == tensor.bytes());
    at = tensor.end;
  }
  require(header.data_offset <= file_bytes && at == file_bytes - header.data_offset);

  std::vector<hlwq::TensorEntry> tensors = header.tensors;
  const auto text = hlwq::make_safetensors_header(tensors, header.metadata);
  require(text.has_value() && text->size() % 8 == 0);
  const auto again =
      hlwq::parse_safetensors_header(std::as_bytes(std::span(*text)), text->size() + at, "again");
  require(again.has_value() && again->tensors.size() == tensors.size() &&
          again->metadata == header.metadata);
  for (size_t i = 0; i < tensors.size(); ++i) {
    require(again->tensors[i].name == header.tensors[i].name);
    require(again->tensors[i].dtype == header.tensors[i].dtype);
    require(again->tensors[i].shape == header.tensors[i].shape);
    require(again->tensors[i].begin == header.tensors[i].begin);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  if (bytes < 8) return 0;
  uint64_t chosen = 0;
  std::memcpy(&chosen, data, 8);
  const std::span<const std::byte> file = std::as_bytes(std::span(data, bytes)).subspan(8);
  // Small choices are relative to what is there, so that the fuzzer finds exact lengths; the rest
  // stand for files that go on behind the prefix.
  const uint64_t file_bytes = chosen < 256 ? file.size() - file.size() * (chosen & 1) / 2 : chosen;

  // The caller's part: a prefix with the whole header, unless the length field cannot be right.
  uint64_t header_bytes = 0;
  if (file_bytes >= 8) {
    if (file.size() < 8) return 0;
    std::memcpy(&header_bytes, file.data(), 8);
    if (header_bytes <= hlwq::kMostSafetensorsHeaderBytes && header_bytes <= file_bytes - 8 &&
        header_bytes > file.size() - 8)
      return 0;
  }
  const auto header = hlwq::parse_safetensors_header(file, file_bytes, "input");
  if (header) {
    check(*header, file_bytes);
  } else {
    require(hlwq::is_utf8(header.error().message));
  }
  return 0;
}
