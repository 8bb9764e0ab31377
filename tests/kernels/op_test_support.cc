#include "tests/kernels/op_test_support.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#include "base/float16.h"

namespace hlwq::test {
namespace {

// Unnormalized Walsh-Hadamard transform, recursive: the pairs at distance 1 first, as in D1.
void rotate(float* z) {
  float next[kBlock];
  for (int distance = 1; distance < kBlock; distance *= 2) {
    for (int i = 0; i < kBlock; ++i) {
      const float a = z[i & ~distance], b = z[i | distance];
      next[i] = (i & distance) == 0 ? a + b : a - b;
    }
    std::copy_n(next, kBlock, z);
  }
}

struct ExpectedBlock {
  int8_t xq[kBlock] = {};
  float sx = 0;
  int32_t sum = 0;
};

ExpectedBlock expected_block(const float* x, int64_t count) {
  float z[kBlock] = {};
  std::copy_n(x, count, z);
  rotate(z);
  float m = 0;
  for (const float v : z) {
    if (!std::isfinite(v)) return {};
    m = std::max(m, std::abs(v));
  }
  ExpectedBlock block;
  if (m < 1e-30f) return block;
  block.sx = m / 127.0f;
  for (int i = 0; i < kBlock; ++i) {
    block.xq[i] = static_cast<int8_t>(std::nearbyint(z[i] / block.sx));
    block.sum += block.xq[i];
  }
  return block;
}

LevelGrid grid_of(int bits, float step) {
  LevelGrid grid;
  grid.bits = bits;
  grid.step = step;
  return grid;
}

}  // namespace

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(next()));
  return radius * std::cos(2.0 * std::numbers::pi * next());
}

std::vector<float> Random::normals(int64_t count, double deviation, double mean) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(mean + deviation * normal());
  return values;
}

Rows::Rows(int64_t rows, int64_t cols, const std::vector<float>& values, RowStart start)
    : Rows(rows, cols, start) {
  EXPECT_EQ(static_cast<int64_t>(values.size()), rows * cols);
  for (int64_t r = 0; r < rows; ++r) std::copy_n(values.data() + r * cols, cols, row(r));
}

std::vector<float> Rows::values() const {
  std::vector<float> out;
  for (int64_t r = 0; r < rows_; ++r) out.insert(out.end(), row(r), row(r) + cols_);
  return out;
}

bool Rows::gaps_untouched() const {
  for (int64_t r = 0; r < rows_; ++r) {
    for (int64_t i = cols_; i < stride_; ++i) {
      if (f32_bits(row(r)[i]) != 0xffffffffu) return false;
    }
  }
  return true;
}

TestActivation::TestActivation(int64_t token_count, int64_t col_count, RowStart start)
    : x(token_count, col_count, start),
      tokens(token_count),
      cols(col_count),
      blocks(blocks_of(col_count)),
      xq(token_count * blocks * kBlock),
      sx(token_count * blocks),
      sum(token_count * blocks) {}

TestActivation::TestActivation(int64_t token_count, int64_t col_count,
                               const std::vector<float>& values, RowStart start)
    : TestActivation(token_count, col_count, start) {
  x = Rows(token_count, col_count, values, start);
}

Activation TestActivation::part(int64_t first, int64_t count) const {
  const int64_t at = first * blocks;
  return {x.part(first, count),
          {xq.data() + at * kBlock, sx.data() + at, sum.data() + at, count, blocks}};
}

Activation TestActivation::floats() const { return {x.view(), {}}; }

void TestActivation::quantize() {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t b = 0; b < blocks; ++b) {
      const ExpectedBlock block =
          expected_block(x.row(t) + b * kBlock, std::min<int64_t>(kBlock, cols - b * kBlock));
      std::copy_n(block.xq, kBlock, xq.data() + (t * blocks + b) * kBlock);
      sx[t * blocks + b] = block.sx;
      sum[t * blocks + b] = block.sum;
    }
  }
}

void TestActivation::expect_quantized() const {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t b = 0; b < blocks; ++b) {
      const ExpectedBlock want =
          expected_block(x.row(t) + b * kBlock, std::min<int64_t>(kBlock, cols - b * kBlock));
      const int64_t at = t * blocks + b;
      ASSERT_EQ(f32_bits(want.sx), f32_bits(sx[at])) << "scale of token " << t << " block " << b;
      ASSERT_EQ(want.sum, sum[at]) << "sum of token " << t << " block " << b;
      for (int i = 0; i < kBlock; ++i) {
        ASSERT_EQ(want.xq[i], xq[at * kBlock + i])
            << "token " << t << " block " << b << " at " << i;
      }
    }
  }
}

Matrix CodedMatrix::matrix() const {
  return {.data = memory.data(), .rows = rows, .cols = cols, .grid = &grid, .layout = layout};
}

void CodedMatrix::pack() {
  const CodedShape shape{layout, grid.bits, rows, cols};
  memory = Array<std::byte>(shape.bytes());
  pack_rows(shape, 0, codes, norms, memory.span());
}

LevelGrid symmetric_grid(int bits) {
  LevelGrid grid = grid_of(bits, 0x1.8p-5f);
  const int half = 1 << (bits - 1);
  for (int k = 0; k < half; ++k) {
    // Ascending magnitudes with uneven gaps, the last one 127.
    const int v = half == 128 ? k : (k + 1) * 127 / half - (k + 1 < half ? k % 2 : 0);
    grid.v[static_cast<size_t>(half + k)] = static_cast<int16_t>(v);
    grid.v[static_cast<size_t>(half - 1 - k)] = static_cast<int16_t>(-v - 1);
  }
  grid.symmetric = true;
  return grid;
}

LevelGrid lopsided_grid(int bits) {
  LevelGrid grid = grid_of(bits, 0x1.234p-6f);
  const int last = (1 << bits) - 1;
  for (int k = 0; k <= last; ++k) {
    const int cubic = k * k * k;  // dense near -128
    const int v = bits == 8 ? k - 128 : -128 + std::max(k, 255 * cubic / (last * last * last));
    grid.v[static_cast<size_t>(k)] = static_cast<int16_t>(v);
  }
  return grid;
}

LevelGrid wide_grid(int bits) {
  LevelGrid grid = grid_of(bits, 0x1.6p-14f);
  const int last = (1 << bits) - 1;
  for (int k = 0; k <= last; ++k) {
    grid.v[static_cast<size_t>(k)] = static_cast<int16_t>(-32768 + 65535 / last * k);
  }
  grid.wide = true;
  grid.symmetric = false;
  return grid;
}

CodedMatrix random_coded(Random& random, const LevelGrid& grid, CodeLayout layout, int64_t rows,
                         int64_t cols, double norm) {
  CodedMatrix w{.grid = grid,
                .layout = layout,
                .rows = rows,
                .cols = cols,
                .codes = {},
                .norms = {},
                .memory = {}};
  w.codes.resize(static_cast<size_t>(rows * w.blocks() * kBlock));
  w.norms.resize(static_cast<size_t>(rows * w.blocks()));
  for (uint8_t& code : w.codes) code = static_cast<uint8_t>(random.below(grid.levels()));
  for (uint16_t& bits : w.norms) {
    bits = f32_to_f16(static_cast<float>(norm * random.uniform(0.1, 2.0)));
  }
  w.pack();
  return w;
}

Matrix PlainMatrix::matrix() const {
  return {.data = memory.data(), .rows = rows, .cols = cols, .dtype = dtype};
}

PlainMatrix random_plain(Random& random, DType dtype, int64_t rows, int64_t cols,
                         double deviation) {
  PlainMatrix w{.rows = rows,
                .cols = cols,
                .dtype = dtype,
                .values = {},
                .memory = Array<std::byte>(rows * cols * bytes_of(dtype))};
  for (int64_t i = 0; i < rows * cols; ++i) {
    const auto value = static_cast<float>(deviation * random.normal());
    const uint16_t half = dtype == DType::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
    std::byte* at = w.memory.data() + i * bytes_of(dtype);
    if (dtype == DType::kF32) {
      std::memcpy(at, &value, sizeof(value));
      w.values.push_back(value);
    } else {
      std::memcpy(at, &half, sizeof(half));
      w.values.push_back(dtype == DType::kF16 ? f16_to_f32(half) : bf16_to_f32(half));
    }
  }
  return w;
}

std::vector<float> integer_product(const CodedMatrix& w, const TestActivation& x) {
  const int64_t blocks = w.blocks();
  const float g = w.grid.step / 256.0f;
  std::vector<float> y(static_cast<size_t>(x.tokens * w.rows));
  std::vector<int16_t> v(static_cast<size_t>(blocks * kBlock));
  for (int64_t o = 0; o < w.rows; ++o) {
    for (size_t i = 0; i < v.size(); ++i) {
      v[i] = w.grid.v[w.codes[static_cast<size_t>(o) * v.size() + i]];
    }
    for (int64_t t = 0; t < x.tokens; ++t) {
      float total = 0;
      for (int64_t first = 0; first < blocks; first += kChunkBlocks) {
        float chunk = 0;
        for (int64_t b = first; b < std::min<int64_t>(blocks, first + kChunkBlocks); ++b) {
          const int8_t* xq = x.xq.data() + (t * blocks + b) * kBlock;
          int32_t dot = 0, sum = 0;
          for (int i = 0; i < kBlock; ++i) {
            dot += v[static_cast<size_t>(b * kBlock + i)] * xq[i];
            sum += xq[i];
          }
          const float s = x.sx[t * blocks + b] * g;
          const float norm = f16_to_f32(w.norms[static_cast<size_t>(o * blocks + b)]);
          const float factor = norm * s;
          chunk = std::fma(factor, static_cast<float>(2 * dot + sum), chunk);
        }
        total = total + chunk;
      }
      y[static_cast<size_t>(t * w.rows + o)] = total;
    }
  }
  return y;
}

std::vector<double> decoded_weights(const CodedMatrix& w) {
  std::vector<double> out(static_cast<size_t>(w.rows * w.cols));
  for (int64_t o = 0; o < w.rows; ++o) {
    for (int64_t b = 0; b < w.blocks(); ++b) {
      const uint8_t* codes = w.codes.data() + (o * w.blocks() + b) * kBlock;
      const double norm = f16_to_f32(w.norms[static_cast<size_t>(o * w.blocks() + b)]);
      for (int64_t i = 0; i < std::min<int64_t>(kBlock, w.cols - b * kBlock); ++i) {
        double sum = 0;
        for (uint32_t j = 0; j < kBlock; ++j) {
          const double level = (w.grid.v[codes[j]] + 0.5) * static_cast<double>(w.grid.step);
          sum += std::popcount(static_cast<uint32_t>(i) & j) % 2 == 0 ? level : -level;
        }
        out[static_cast<size_t>(o * w.cols + b * kBlock + i)] = norm * sum / kBlock;
      }
    }
  }
  return out;
}

std::vector<double> product(const std::vector<float>& x, const std::vector<double>& w,
                            int64_t cols) {
  const int64_t tokens = static_cast<int64_t>(x.size()) / cols;
  const int64_t rows = static_cast<int64_t>(w.size()) / cols;
  std::vector<double> y;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t o = 0; o < rows; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < cols; ++i) {
        sum += static_cast<double>(x[static_cast<size_t>(t * cols + i)]) *
               w[static_cast<size_t>(o * cols + i)];
      }
      y.push_back(sum);
    }
  }
  return y;
}

std::vector<float> to_float(const std::vector<double>& values) {
  std::vector<float> out;
  for (const double v : values) out.push_back(static_cast<float>(v));
  return out;
}

double nmse(const std::vector<double>& want, const std::vector<float>& got) {
  EXPECT_EQ(want.size(), got.size());
  double error = 0, power = 0;
  for (size_t i = 0; i < want.size() && i < got.size(); ++i) {
    if (std::isnan(got[i])) return std::numeric_limits<double>::infinity();
    error += (got[i] - want[i]) * (got[i] - want[i]);
    power += want[i] * want[i];
  }
  return error == 0 ? 0 : error / power;
}

testing::AssertionResult same_bits(std::span<const float> want, std::span<const float> got) {
  if (want.size() != got.size()) {
    return testing::AssertionFailure() << want.size() << " values against " << got.size();
  }
  size_t different = 0, first = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (f32_bits(want[i]) == f32_bits(got[i])) continue;
    if (different++ == 0) first = i;
  }
  if (different == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << different << " of " << want.size() << " differ, first at "
                                     << first << ": want " << want[first] << ", got " << got[first];
}

testing::AssertionResult same_bits(const std::vector<float>& want, const std::vector<float>& got) {
  return same_bits(std::span<const float>(want), std::span<const float>(got));
}

}  // namespace hlwq::test
