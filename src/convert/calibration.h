#pragma once
// What quantize may know besides the weights.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "quant/encode.h"

namespace hlwq {

// A matrix to be quantized. Names as in SourceTensor.
struct MatrixName {
  std::string name;
  int64_t cols = 0;
};

// A matrix that calibration hardly reached: its codes come from the weights alone.
struct UncoveredMatrix {
  std::string name;
  int64_t tokens = 0;  // that went through it
};

class Calibration {
 public:
  virtual ~Calibration() = default;
  // The first so many of these matrices that it can know about at once; at least one.
  [[nodiscard]] virtual size_t fits(std::span<const MatrixName> matrices) const = 0;
  // Knows about these from now on, and about those before no more. Errors: what running the model
  // reports, kCancelled.
  [[nodiscard]] virtual Status learn(std::span<const MatrixName> matrices) = 0;
  // Whether it knows enough about one of them; else its codes come from the weights alone.
  [[nodiscard]] virtual bool knows(const std::string& name) const = 0;
  // Codes and norms of some rows of a matrix that it knows; as encode_rows. By several threads.
  [[nodiscard]] virtual Result<Distortion> encode(const std::string& name,
                                                  std::span<const float> weights,
                                                  std::span<const float> levels,
                                                  std::span<uint8_t> codes,
                                                  std::span<uint16_t> norms) const = 0;
  // Of all it was asked to learn about so far. Tables whose rows are looked up are not in it.
  [[nodiscard]] virtual const std::vector<UncoveredMatrix>& uncovered() const = 0;
  // What the file says of it: the text and how much of it.
  [[nodiscard]] virtual std::string description() const = 0;
};

}  // namespace hlwq
