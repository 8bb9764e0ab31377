#pragma once
// Writes HLWQ checkpoints in the profiles others read (docs/format.md#writer-profiles). A writer
// streams: tensors are declared, the shards planned, then rows are filled in any order.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "quant/codebook.h"
#include "tensor/dtype.h"

namespace hlwq {

// P1, P2, P3; and P2 with every width packed, which no published tool reads.
enum class Profile { kV5Int8, kV5Packed, kHlwqQ5, kPacked };
[[nodiscard]] std::string_view name_of(Profile profile);  // "v5-int8", ...
[[nodiscard]] Result<Profile> parse_profile(std::string_view name);

// One parameter of the checkpoint to be written, in order.
struct OutputTensor {
  std::string name;  // ".weight" names; coded ones lose the suffix in P1/P2
  std::vector<int64_t> shape;
  bool coded = false;          // 2-D; else stored plain as `dtype`
  int bits = 5;                // of coded ones
  DType dtype = DType::kBF16;  // of plain ones
};

struct WriterOptions {
  Profile profile = Profile::kV5Packed;
  std::string base_model;  // name recorded in polar_config.json; may be empty
  uint64_t shard_bytes = 5'000'000'000;
  bool resume = false;                 // shards already complete on disk (same header) are kept
  std::vector<Levels> levels_by_bits;  // index = bits; the table of each width in use
  std::vector<std::string> notes;      // free text for polar_config.json "quantization"
};

// Shard files appear under their final names as each is completed, the index and
// polar_config.json last. A crash leaves complete shards and one temporary file.
class HlwqWriter {
 public:
  // Plans only; nothing is written before begin_shard. Errors: kUnsupported (a profile that cannot
  // hold a width or table), kInvalidArgument.
  static Result<HlwqWriter> create(const std::string& folder, std::vector<OutputTensor> tensors,
                                   const WriterOptions& options);
  HlwqWriter(HlwqWriter&&) noexcept;
  HlwqWriter& operator=(HlwqWriter&&) noexcept;
  ~HlwqWriter();

  // Tensors are grouped into shards in declaration order; work shard by shard.
  [[nodiscard]] size_t shard_count() const;
  [[nodiscard]] std::pair<size_t, size_t> shard_tensors(
      size_t shard) const;  // [first, last) tensors
  // True when resume found this shard complete: skip its tensors.
  [[nodiscard]] bool shard_done(size_t shard) const;
  [[nodiscard]] Status begin_shard(size_t shard);
  // Codes [rows, blocks*128] one a byte and FP16 norms [rows, blocks] of a coded tensor of the open
  // shard. write_rows and write_plain may be called by several threads for parts that do not
  // overlap; everything else is one thread's.
  [[nodiscard]] Status write_rows(size_t tensor, int64_t first_row, std::span<const uint8_t> codes,
                                  std::span<const uint16_t> norms);
  // Raw bytes of a plain tensor in its declared dtype.
  [[nodiscard]] Status write_plain(size_t tensor, uint64_t offset,
                                   std::span<const std::byte> bytes);
  [[nodiscard]] Status end_shard();
  // Index, polar_config.json. Call after the last shard.
  [[nodiscard]] Status finish();
  [[nodiscard]] uint64_t bytes() const;  // of all planned files' tensors

 private:
  struct Impl;
  explicit HlwqWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hlwq
