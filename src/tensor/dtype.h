#pragma once
// Element types, named as safetensors names them.

#include <cstdint>
#include <optional>
#include <string_view>

namespace hlwq {

enum class DType : uint8_t {
  kBool,
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kU64,
  kI64,
  kF8E4M3,
  kF8E5M2,
  kF16,
  kBF16,
  kF32,
  kF64,
};

[[nodiscard]] int bytes_of(DType dtype);
[[nodiscard]] std::string_view name_of(DType dtype);                    // "BF16"
[[nodiscard]] std::optional<DType> parse_dtype(std::string_view name);  // exact, case-sensitive
[[nodiscard]] bool is_weight_float(DType dtype);                        // F32, F16 or BF16

}  // namespace hlwq
