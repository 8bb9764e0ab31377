#pragma once
// SHA-256 (FIPS 180-4): names logits and files by their bytes. Not for secrets.

#include <cstddef>
#include <span>
#include <string>

namespace hlwq {

// 64 lower-case hexadecimal digits.
[[nodiscard]] std::string sha256_hex(std::span<const std::byte> bytes);

}  // namespace hlwq
