#pragma once
// Inputs, guarded outputs and the expected values of the op tests. Everything expected is computed
// here from codes, norms and plain numbers, never by a back end.

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/backends.h"
#include "ops/backend.h"

namespace hlwq::test {

// Reproducible from the seed; tests print it by SCOPED_TRACE where they make several.
class Random {
 public:
  explicit Random(uint64_t seed) : seed_(seed) {}
  double uniform(double low, double high) { return low + (high - low) * next(); }
  double normal();
  int64_t below(int64_t count) { return static_cast<int64_t>(next() * static_cast<double>(count)); }
  std::vector<float> normals(int64_t count, double deviation = 1.0, double mean = 0.0);

 private:
  double next() { return random_uniform(seed_, counter_++); }
  uint64_t seed_, counter_ = 0;
};

// `count` elements that every back end can read and write, aligned as Backend::allocate aligns
// them, filled with bytes no op leaves behind (floats read as NaN).
template <typename T>
class Array {
 public:
  Array() = default;
  explicit Array(int64_t count) {
    auto buffer = allocate_shared(static_cast<size_t>(count) * sizeof(T), "test");
    EXPECT_TRUE(buffer);
    buffer_ = std::move(*buffer);
    for (std::byte& b : buffer_.as<std::byte>()) b = std::byte{0xff};
  }
  explicit Array(const std::vector<T>& values) : Array(static_cast<int64_t>(values.size())) {
    for (size_t i = 0; i < values.size(); ++i) data()[i] = values[i];
  }
  [[nodiscard]] T* data() const { return reinterpret_cast<T*>(buffer_.data()); }
  [[nodiscard]] std::span<T> span() const { return buffer_.as<T>(); }
  T& operator[](int64_t i) const { return data()[i]; }

 private:
  Buffer buffer_;
};

// Where rows start: anywhere, or at multiples of 16 bytes, as a model's do. Kernels that load four
// values at once take rows of the two kinds different ways, which must not show.
enum class RowStart { kAnywhere, kAligned };
inline constexpr RowStart kRowStarts[] = {RowStart::kAnywhere, RowStart::kAligned};

// Numbers of tokens on both sides of where kernels cut them into tiles, and of where another kernel
// takes over.
inline constexpr int64_t kBatches[] = {1, 2, 3, 5, 8, 9, 16, 17, 33, 65, 130};
inline constexpr int64_t kLargestBatch = 130;

// FP32 rows with a gap after each, so that stray writes show. All NaN.
class Rows {
 public:
  Rows(int64_t rows, int64_t cols, RowStart start = RowStart::kAnywhere)
      : rows_(rows),
        cols_(cols),
        stride_(cols + (start == RowStart::kAligned ? 4 - cols % 4 : 3)),
        memory_(rows * stride_) {}
  Rows(int64_t rows, int64_t cols, const std::vector<float>& values,
       RowStart start = RowStart::kAnywhere);
  [[nodiscard]] MutF32View view() const { return {memory_.data(), rows_, cols_, stride_}; }
  [[nodiscard]] MutF32View part(int64_t first, int64_t count) const {
    return {row(first), count, cols_, stride_};
  }
  [[nodiscard]] MutF32View row_view(int64_t r) const { return part(r, 1); }
  [[nodiscard]] float* row(int64_t r) const { return memory_.data() + r * stride_; }
  [[nodiscard]] std::span<const float> row_values(int64_t r) const {
    return {row(r), static_cast<size_t>(cols_)};
  }
  [[nodiscard]] std::vector<float> values() const;  // without the gaps
  [[nodiscard]] bool gaps_untouched() const;

 private:
  int64_t rows_, cols_, stride_;
  Array<float> memory_;
};

// An activation with room for its int8 form, which starts as nonsense.
class TestActivation {
 public:
  TestActivation(int64_t tokens, int64_t cols, RowStart start = RowStart::kAnywhere);
  TestActivation(int64_t tokens, int64_t cols, const std::vector<float>& values,
                 RowStart start = RowStart::kAnywhere);
  [[nodiscard]] Activation view() const { return part(0, tokens); }       // with q
  [[nodiscard]] Activation part(int64_t first, int64_t count) const;      // some rows, with q
  [[nodiscard]] Activation token(int64_t t) const { return part(t, 1); }  // one row, with q
  [[nodiscard]] Activation floats() const;                                // without q
  // Fills q as D1 says, by the test's own arithmetic.
  void quantize();
  // q holds what D1 makes of the FP32 rows, bit for bit.
  void expect_quantized() const;

  Rows x;
  int64_t tokens, cols, blocks;
  Array<int8_t> xq;
  Array<float> sx;
  Array<int32_t> sum;
};

// A coded matrix with its codes kept beside the packed form.
struct CodedMatrix {
  LevelGrid grid;
  CodeLayout layout = CodeLayout::kTiled5;
  int64_t rows = 0, cols = 0;
  std::vector<uint8_t> codes;   // [rows, blocks*128]
  std::vector<uint16_t> norms;  // FP16 bits [rows, blocks]
  Array<std::byte> memory;

  [[nodiscard]] int64_t blocks() const { return blocks_of(cols); }
  [[nodiscard]] Matrix matrix() const;
  void pack();  // codes and norms into memory
};

// 2^bits levels on the int8 grid, symmetric, up to 127 (kTiled5 fits at 5 bits).
[[nodiscard]] LevelGrid symmetric_grid(int bits);
// On the int8 grid, from -128 to 127 but not symmetric.
[[nodiscard]] LevelGrid lopsided_grid(int bits);
// Levels that need 16 bits, from -32768 to 32767.
[[nodiscard]] LevelGrid wide_grid(int bits);

[[nodiscard]] CodedMatrix random_coded(Random& random, const LevelGrid& grid, CodeLayout layout,
                                       int64_t rows, int64_t cols, double norm = 0.5);

// A plain matrix of random weights.
struct PlainMatrix {
  int64_t rows = 0, cols = 0;
  DType dtype = DType::kF32;
  std::vector<double> values;  // as the dtype holds them
  Array<std::byte> memory;
  [[nodiscard]] Matrix matrix() const;
};
[[nodiscard]] PlainMatrix random_plain(Random& random, DType dtype, int64_t rows, int64_t cols,
                                       double deviation = 1.0);

// D1's product of quantized rows, bit for bit: [tokens, rows].
[[nodiscard]] std::vector<float> integer_product(const CodedMatrix& w, const TestActivation& x);

// The weights that codes and norms stand for, by the definition of the format: [rows, cols].
[[nodiscard]] std::vector<double> decoded_weights(const CodedMatrix& w);

// x Wᵀ in FP64: x [tokens, cols], w [rows, cols] -> [tokens, rows].
[[nodiscard]] std::vector<double> product(const std::vector<float>& x, const std::vector<double>& w,
                                          int64_t cols);

[[nodiscard]] std::vector<float> to_float(const std::vector<double>& values);

// sum (got - want)^2 / sum want^2; 0 when equal, infinite when anything is NaN.
[[nodiscard]] double nmse(const std::vector<double>& want, const std::vector<float>& got);

// Every output written, equal to the last bit; says where they first differ.
[[nodiscard]] testing::AssertionResult same_bits(const std::vector<float>& want,
                                                 const std::vector<float>& got);
[[nodiscard]] testing::AssertionResult same_bits(std::span<const float> want,
                                                 std::span<const float> got);

}  // namespace hlwq::test
