#pragma once
// Small checkpoints on disk, made without the code under test: bit packing, F16 and rotation here
// are the plainest loops that follow docs/format.md.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace hlwq::test {

// A folder of its own under the system's temporary folder, removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(std::string_view name) const;  // creates folders above it

 private:
  std::string path_;
};

struct StoredTensor {
  std::string name;
  DType dtype = DType::kU8;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};

template <typename T>
StoredTensor stored(std::string name, DType dtype, std::vector<int64_t> shape,
                    const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {std::move(name), dtype, std::move(shape), {bytes.begin(), bytes.end()}};
}

// Writes one .safetensors file; fails the test when that fails.
void write_tensors(const std::string& path, const std::vector<StoredTensor>& tensors);
void write_text(const std::string& path, std::string_view text);
std::vector<std::byte> read_bytes(const std::string& path);

// A tensor of the golden vectors; ADD_FAILUREs and is empty when it is not there.
StoredTensor golden(std::string_view name);
// All golden tensors whose name starts with `prefix`, the prefix taken off.
std::vector<StoredTensor> golden_group(std::string_view prefix);
template <typename T>
std::vector<T> golden_values(std::string_view name) {
  const StoredTensor tensor = golden(name);
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::copy(tensor.bytes.begin(), tensor.bytes.end(),
            std::as_writable_bytes(std::span(values)).begin());
  return values;
}

// One bit at a time. `msb_first`: of codes and bytes alike.
std::vector<uint8_t> pack_bits(const std::vector<uint8_t>& codes, int bits, bool msb_first);
// Half-block nibbles.
std::vector<uint8_t> pack_nibbles(const std::vector<uint8_t>& codes);

// Codes as rotated Gaussian weights have them, drawn from the cells of `levels`; FP16 norms in
// [0.5, 2). Printable by the seed alone.
std::vector<uint8_t> random_codes(size_t count, std::span<const float> levels, uint64_t seed);
std::vector<uint16_t> random_norms(size_t count, uint64_t seed);

// Decoding by the definition, in double: codes [n, 128], one block each, norms [n].
std::vector<double> decode_blocks(const std::vector<uint8_t>& codes,
                                  const std::vector<uint16_t>& norms,
                                  std::span<const float> levels);

}  // namespace hlwq::test
