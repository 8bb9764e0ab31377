#pragma once
// A checkpoint folder, plain or HLWQ in any published wire variant, as one list of parameters.
// Variants, packings and sniffing rules: docs/format.md.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "quant/codebook.h"
#include "quant/packing.h"
#include "tensor/dtype.h"

namespace hlwq {

// Wire variants of docs/format.md. kPlain: no coded tensor at all.
enum class Variant { kPlain, kF1, kF2, kF3, kF4, kF5, kF6, kF7, kF8, kF9 };
[[nodiscard]] std::string_view name_of(
    Variant variant);  // "plain", "F1 (polar_engine_v4 live dump)", ...

// A parameter the caller's model has: gives names their spelling and shapes their tails where the
// file has neither (F5, F6, F9).
struct ExpectedTensor {
  std::string name;  // as in the model's plain checkpoint, "....weight"
  std::vector<int64_t> shape;
};

// How the codes of one matrix are stored.
struct CodedInfo {
  int bits = 0;
  Packing packing = Packing::kI8;
  int64_t rows = 0, cols = 0, blocks = 0;  // out_features, in_features, blocks a row
  bool flat = false;                       // F9 whose blocks cross rows: only read_f32 works
  bool has_codebook = false;               // the file carries the table
};

struct CheckpointTensor {
  std::string name;  // parameter name; coded ones end in ".weight"
  std::vector<int64_t> shape;
  DType dtype = DType::kBF16;  // of plain tensors
  std::optional<CodedInfo> coded;
  uint64_t stored_bytes = 0;  // all tensors that make it up
  int32_t slot = -1;          // internal: which stored tensor(s)
};

class Checkpoint {
 public:
  // `path`: a folder or one .safetensors file. `expected`: the caller's parameters; without them
  // names and tails are taken from the file. Validates every shape, dtype, packing and code width
  // (contradictions are errors naming the tensor), not the payload.
  // Errors: kMissing, kBadHeader, kBadLayout, kUnsupported (other formats, named), kIo.
  static Result<Checkpoint> open(const std::string& path,
                                 std::span<const ExpectedTensor> expected = {});
  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  [[nodiscard]] Variant variant() const;
  [[nodiscard]] const std::string& path() const;
  [[nodiscard]] const std::vector<CheckpointTensor>& tensors() const;  // file order
  [[nodiscard]] const CheckpointTensor* find(std::string_view name) const;
  [[nodiscard]] uint64_t bytes() const;  // of all files
  // What polar_config.json says; empty where it says nothing. Text from outside.
  [[nodiscard]] const std::string& quantization() const;
  [[nodiscard]] const std::string& base_model() const;
  // The table in force for a coded tensor: the file's, else WIRE (of EOQ's for F9).
  [[nodiscard]] const Levels& levels(const CheckpointTensor& tensor) const;

  // Rows count along dimension 0; a row is the product of the other dimensions. A 3-D tensor's
  // dimension 0 is the expert. All reads may run on several threads at once.
  // Raw bytes of a plain tensor, in its own dtype.
  [[nodiscard]] Status read_plain(const CheckpointTensor& tensor, int64_t first_row, int64_t rows,
                                  std::span<std::byte> out) const;
  // Plain or coded, as FP32 (BF16 and F16 widened, codes decoded).
  [[nodiscard]] Status read_f32(const CheckpointTensor& tensor, int64_t first_row, int64_t rows,
                                std::span<float> out) const;
  // Codes [rows, blocks*128], one a byte, and FP16 norms [rows, blocks] of a coded, non-flat
  // tensor. Errors: kBadValue for a code outside the table or a norm that is negative, infinite or
  // NaN (names tensor and row); kIo.
  [[nodiscard]] Status read_codes(const CheckpointTensor& tensor, int64_t first_row, int64_t rows,
                                  std::span<uint8_t> codes, std::span<uint16_t> norms) const;

 private:
  struct Impl;
  explicit Checkpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hlwq
