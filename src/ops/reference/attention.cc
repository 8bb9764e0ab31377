// Causal grouped-query attention over paged keys and values.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/float16.h"
#include "ops/reference/reference_backend.h"

namespace hlwq {
namespace {

enum class Half { kKeys = 0, kValues = 1 };

// Where token `position` of a slot's sequence keeps the vector of one KV head.
std::byte* vector_at(const AttentionArgs& args, Half half, int64_t slot, int64_t position,
                     int64_t kv_head) {
  const KvPages& pages = args.pages;
  const AttentionShape& shape = args.shape;
  const int32_t page = pages.tables[slot * pages.table_stride + position / kPageTokens];
  const int64_t head = (half == Half::kKeys ? 0 : shape.kv_heads) + kv_head;
  const int64_t element = (head * kPageTokens + position % kPageTokens) * shape.head_dim;
  return pages.data + page * pages.page_bytes + element * bytes_of(pages.dtype);
}

// FP16 cannot hold every value; the largest it has stands for those beyond. NaN stays NaN.
void store_vector(const float* values, int64_t count, DType dtype, std::byte* out) {
  if (dtype == DType::kF32) {
    std::memcpy(out, values, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = f32_to_f16(std::clamp(values[i], -65504.0f, 65504.0f));
    std::memcpy(out + i * 2, &bits, sizeof(bits));
  }
}

double load_element(const std::byte* vector, int64_t i, DType dtype) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, vector + i * 4, sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, vector + i * 2, sizeof(bits));
  return f16_to_f32(bits);
}

}  // namespace

void ReferenceBackend::attention(const AttentionArgs& args) {
  const AttentionShape& shape = args.shape;
  HLWQ_CHECK(args.pages.dtype == DType::kF16 || args.pages.dtype == DType::kF32);
  HLWQ_CHECK(shape.heads % shape.kv_heads == 0);
  for (const Segment& segment : args.segments) {
    for (int64_t i = 0; i < segment.tokens; ++i) {
      const int64_t row = segment.first_token + i, position = segment.position + i;
      for (int64_t h = 0; h < shape.kv_heads; ++h) {
        store_vector(args.k.row(row) + h * shape.head_dim, shape.head_dim, args.pages.dtype,
                     vector_at(args, Half::kKeys, segment.slot, position, h));
        store_vector(args.v.row(row) + h * shape.head_dim, shape.head_dim, args.pages.dtype,
                     vector_at(args, Half::kValues, segment.slot, position, h));
      }
      attend(args, segment, i);
    }
  }
  quantize({args.out});
}

void ReferenceBackend::attend(const AttentionArgs& args, const Segment& segment, int64_t token) {
  const AttentionShape& shape = args.shape;
  const DType dtype = args.pages.dtype;
  const int64_t row = segment.first_token + token, context = segment.position + token + 1;
  const double scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
  std::vector<double> weights(static_cast<size_t>(context));
  std::vector<double> sum(static_cast<size_t>(shape.head_dim));
  for (int64_t h = 0; h < shape.heads; ++h) {
    const int64_t kv_head = h / (shape.heads / shape.kv_heads);
    const float* q = args.q.row(row) + h * shape.head_dim;
    double largest = -std::numeric_limits<double>::infinity();
    for (int64_t s = 0; s < context; ++s) {
      const std::byte* k = vector_at(args, Half::kKeys, segment.slot, s, kv_head);
      double dot = 0;
      for (int64_t i = 0; i < shape.head_dim; ++i) dot += q[i] * load_element(k, i, dtype);
      weights[static_cast<size_t>(s)] = dot * scale;
      largest = std::max(largest, dot * scale);
    }
    double total = 0;
    std::fill(sum.begin(), sum.end(), 0.0);
    for (int64_t s = 0; s < context; ++s) {
      const double weight = std::exp(weights[static_cast<size_t>(s)] - largest);
      const std::byte* v = vector_at(args, Half::kValues, segment.slot, s, kv_head);
      total += weight;
      for (int64_t i = 0; i < shape.head_dim; ++i) {
        sum[static_cast<size_t>(i)] += weight * load_element(v, i, dtype);
      }
    }
    float* out = args.out.x.row(row) + h * shape.head_dim;
    for (int64_t i = 0; i < shape.head_dim; ++i) {
      out[i] = static_cast<float>(sum[static_cast<size_t>(i)] / total);
    }
  }
}

}  // namespace hlwq
