// Matrix products: plain, coded by integers (D1) and coded by decoded levels; embedding rows.

#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/float16.h"
#include "ops/integer_dot.h"
#include "ops/reference/reference_backend.h"

namespace hlwq {
namespace {

void store(const Projection& p, int64_t token, int64_t row, float product) {
  float* y = p.y.row(token) + row;
  *y = finish_product(product, p.bias == nullptr ? nullptr : p.bias + row,
                      p.accumulate ? y : nullptr);
}

uint16_t load_u16(const std::byte* data, int64_t index) {
  uint16_t bits;
  std::memcpy(&bits, data + index * 2, sizeof(bits));
  return bits;
}

}  // namespace

float plain_at(const Matrix& matrix, int64_t row, int64_t col) {
  const int64_t at = row * matrix.cols + col;
  switch (matrix.dtype) {
    case DType::kBF16:
      return bf16_to_f32(load_u16(matrix.data, at));
    case DType::kF16:
      return f16_to_f32(load_u16(matrix.data, at));
    default: {
      HLWQ_CHECK(matrix.dtype == DType::kF32);
      float value;
      std::memcpy(&value, matrix.data + at * 4, sizeof(value));
      return value;
    }
  }
}

std::vector<int16_t> row_levels(const Matrix& matrix, int64_t row) {
  const CodedShape shape = matrix.coded_shape();
  std::vector<int16_t> v(static_cast<size_t>(matrix.blocks() * kBlock));
  for (size_t i = 0; i < v.size(); ++i) {
    v[i] = matrix.grid->v[code_at(shape, matrix.data, row, static_cast<int64_t>(i))];
  }
  return v;
}

float norm_value(const Matrix& matrix, int64_t row, int64_t block) {
  return f16_to_f32(norm_at(matrix.coded_shape(), matrix.data, row, block));
}

void ReferenceBackend::project(const ProjectArgs& args) {
  if (args.norm)
    rms_norm(
        {.x = args.norm->x, .weight = args.norm->weight, .eps = args.norm->eps, .out = args.x});
  for (const Projection& projection : args.projections) multiply(projection, args.x);
}

void ReferenceBackend::multiply(const Projection& projection, const Activation& x) {
  const Matrix& w = projection.weight;
  HLWQ_CHECK(w.data != nullptr && w.cols == x.x.cols);
  HLWQ_CHECK(projection.y.rows == x.x.rows && projection.y.cols == w.rows);
  if (!w.coded()) return multiply_plain(projection, x.x);
  if (compute_ == Compute::kInt8) return multiply_integer(projection, x);
  multiply_decoded(projection, x.x);
}

void ReferenceBackend::multiply_plain(const Projection& projection, F32View x) {
  const Matrix& w = projection.weight;
  std::vector<float> weights(static_cast<size_t>(w.cols));
  for (int64_t o = 0; o < w.rows; ++o) {
    for (int64_t i = 0; i < w.cols; ++i) weights[static_cast<size_t>(i)] = plain_at(w, o, i);
    for (int64_t t = 0; t < x.rows; ++t) {
      double sum = 0;
      for (int64_t i = 0; i < w.cols; ++i) {
        sum += static_cast<double>(weights[static_cast<size_t>(i)]) * x.row(t)[i];
      }
      store(projection, t, o, static_cast<float>(sum));
    }
  }
}

void ReferenceBackend::multiply_integer(const Projection& projection, const Activation& x) {
  const Matrix& w = projection.weight;
  const QuantizedView& q = x.q;
  HLWQ_CHECK(q.xq != nullptr && q.rows == x.x.rows && q.blocks == w.blocks());
  const float factor = grid_factor(w.grid->step);
  for (int64_t o = 0; o < w.rows; ++o) {
    const std::vector<int16_t> v = row_levels(w, o);
    std::vector<float> norms(static_cast<size_t>(q.blocks));
    for (int64_t b = 0; b < q.blocks; ++b) norms[static_cast<size_t>(b)] = norm_value(w, o, b);
    for (int64_t t = 0; t < q.rows; ++t) {
      CanonicalSum sum;
      for (int64_t b = 0; b < q.blocks; ++b) {
        const int64_t at = t * q.blocks + b;
        const int8_t* xq = q.xq + at * kBlock;
        const int16_t* levels = v.data() + b * kBlock;
        int32_t dot = 0;
        for (int i = 0; i < kBlock; ++i) dot += static_cast<int32_t>(levels[i]) * xq[i];
        sum.add(norms[static_cast<size_t>(b)], q.sx[at] * factor, centered_dot(dot, q.sum[at]));
      }
      store(projection, t, o, sum.total());
    }
  }
}

void ReferenceBackend::multiply_decoded(const Projection& projection, F32View x) {
  const Matrix& w = projection.weight;
  const int64_t blocks = w.blocks();
  std::vector<double> rotated(static_cast<size_t>(x.rows * blocks * kBlock), 0.0);
  for (int64_t t = 0; t < x.rows; ++t) {
    double* row = rotated.data() + t * blocks * kBlock;
    for (int64_t i = 0; i < x.cols; ++i) row[i] = x.row(t)[i];
    for (int64_t b = 0; b < blocks; ++b) butterfly128(row + b * kBlock);
    for (int64_t i = 0; i < blocks * kBlock; ++i) {
      non_finite_ = non_finite_ || !std::isfinite(row[i]);
    }
  }
  const double step = w.grid->step;
  for (int64_t o = 0; o < w.rows; ++o) {
    const std::vector<int16_t> v = row_levels(w, o);
    for (int64_t t = 0; t < x.rows; ++t) {
      double total = 0;
      for (int64_t b = 0; b < blocks; ++b) {
        const double* row = rotated.data() + (t * blocks + b) * kBlock;
        const int16_t* levels = v.data() + b * kBlock;
        double dot = 0;
        for (int i = 0; i < kBlock; ++i) dot += (levels[i] + 0.5) * step * row[i];
        // Both rotations are unnormalized, each lacking 1/sqrt(128).
        total += static_cast<double>(norm_value(w, o, b)) / kBlock * dot;
      }
      store(projection, t, o, static_cast<float>(total));
    }
  }
}

void ReferenceBackend::embed(const EmbedArgs& args) {
  const Matrix& table = args.table;
  HLWQ_CHECK(args.y.rows == static_cast<int64_t>(args.ids.size()) && args.y.cols == table.cols);
  for (int64_t t = 0; t < args.y.rows; ++t) {
    const int64_t id = args.ids[static_cast<size_t>(t)];
    HLWQ_CHECK(id >= 0 && id < table.rows);
    float* y = args.y.row(t);
    if (!table.coded()) {
      for (int64_t i = 0; i < table.cols; ++i) y[i] = plain_at(table, id, i);
      continue;
    }
    const std::vector<int16_t> v = row_levels(table, id);
    for (int64_t b = 0; b < table.blocks(); ++b) {
      int32_t odd[kBlock];
      for (int i = 0; i < kBlock; ++i) odd[i] = 2 * v[static_cast<size_t>(b * kBlock + i)] + 1;
      const int64_t left = table.cols - b * kBlock;
      decode_block(odd, norm_value(table, id, b), grid_factor(table.grid->step), y + b * kBlock,
                   static_cast<int>(left < kBlock ? left : kBlock));
    }
  }
}

}  // namespace hlwq
