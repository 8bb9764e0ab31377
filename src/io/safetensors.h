#pragma once
// The safetensors container: an 8-byte little-endian header length, a JSON header, the bytes.
// Source: the format's README (huggingface/safetensors); every rule it states is checked.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "io/file.h"
#include "tensor/dtype.h"

namespace hlwq {

// The longest header that the format allows, and the longest that is read or written.
inline constexpr uint64_t kMostSafetensorsHeaderBytes = 100'000'000;

struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;   // rank 0 is a scalar
  uint64_t begin = 0, end = 0;  // bytes from the start of the data section
  [[nodiscard]] uint64_t bytes() const { return end - begin; }
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;             // by ascending begin
  std::map<std::string, std::string> metadata;  // "__metadata__"
  uint64_t data_offset = 0;                     // of the data section in the file
};

// Bytes of a dense tensor. Errors: kBadLayout when a dimension is negative or the bytes reach 2^63,
// also those of the dimensions beside a 0.
[[nodiscard]] Result<uint64_t> checked_bytes(std::string_view name, DType dtype,
                                             std::span<const int64_t> shape);

// Validates everything that can be known from the header: its cap of 100 MB, UTF-8, duplicate
// keys, field types, dtypes, products, offsets that cover [0, data bytes) with no hole or overlap.
// `prefix` holds the first min(file_bytes, 8 + header length) bytes of the file, or just the first
// 8 when the length is above the cap. Errors: kBadHeader, kBadLayout, kUnsupported (an unknown
// dtype, more than 16 dimensions); names `where` and the tensor.
[[nodiscard]] Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> prefix,
                                                                 uint64_t file_bytes,
                                                                 std::string_view where);

// An open file; reads are safe from several threads.
class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::string& path);
  [[nodiscard]] const std::string& path() const { return file_.path(); }
  [[nodiscard]] std::span<const TensorEntry> tensors() const { return header_.tensors; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const {
    return header_.metadata;
  }
  [[nodiscard]] const TensorEntry* find(std::string_view name) const;
  // Fills `out` with the tensor's bytes from `offset` on. Errors: kIo; kInvalidArgument past its
  // end.
  [[nodiscard]] Status read(const TensorEntry& tensor, uint64_t offset,
                            std::span<std::byte> out) const;

 private:
  SafetensorsFile(InputFile file, SafetensorsHeader header);
  InputFile file_;
  SafetensorsHeader header_;
  std::unordered_map<std::string, size_t> by_name_;
};

// Writes one file whose tensors are declared first and filled in any order. Nothing appears under
// `path` before `commit`.
class SafetensorsWriter {
 public:
  // `tensors`: name, dtype and shape; offsets are assigned in the order given, starting at 0, with
  // the header padded so that the data section starts at a multiple of 8.
  static Result<SafetensorsWriter> create(const std::string& path, std::vector<TensorEntry> tensors,
                                          const std::map<std::string, std::string>& metadata);
  // Writes part of tensor number `index` from byte `offset` of it on. Safe from several threads for
  // parts that do not overlap; each byte is written once.
  [[nodiscard]] Status write(size_t index, uint64_t offset, std::span<const std::byte> bytes);
  // Errors: kBadLayout when bytes of a tensor are missing; kIo.
  [[nodiscard]] Status commit();
  [[nodiscard]] const SafetensorsHeader& header() const { return header_; }

 private:
  SafetensorsWriter(OutputFile file, SafetensorsHeader header);
  OutputFile file_;
  SafetensorsHeader header_;
  std::vector<uint64_t> written_;  // bytes so far, per tensor
};

// The exact header bytes (length field included) a writer makes for these tensors; fills offsets.
// Used to plan shards and to recognise a finished shard on resume.
[[nodiscard]] Result<std::string> make_safetensors_header(
    std::vector<TensorEntry>& tensors, const std::map<std::string, std::string>& metadata);

}  // namespace hlwq
