// Causal grouped-query attention over paged keys and values.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/check.h"
#include "base/float16.h"
#include "ops/host_kv.h"
#include "ops/kv_pages.h"
#include "ops/reference/reference_backend.h"
#include "quant/hadamard.h"
#include "quant/kv_codec.h"

namespace hlwq {
namespace {

// Where plain pages keep a vector.
std::byte* vector_at(const AttentionArgs& args, const KvPlace& place) {
  const KvPages& pages = args.pages;
  const AttentionShape& shape = args.shape;
  const int32_t page = pages.tables[place.slot * pages.table_stride + place.position / kPageTokens];
  const int64_t head = (place.half == KvHalf::kKeys ? 0 : shape.kv_heads) + place.kv_head;
  const int64_t element = (head * kPageTokens + place.position % kPageTokens) * shape.head_dim;
  return pages.data + page * pages.page_bytes + element * bytes_of(pages.dtype);
}

// FP16 cannot hold every value; the largest it has stands for those beyond. NaN stays NaN.
void store_vector(const AttentionArgs& args, const KvPlace& place, const float* values) {
  if (args.pages.coded()) return store_coded_kv(args.pages, args.shape, place, values);
  std::byte* const out = vector_at(args, place);
  const int64_t count = args.shape.head_dim;
  if (args.pages.dtype == DType::kF32) {
    std::memcpy(out, values, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = f32_to_f16(std::clamp(values[i], -65504.0f, 65504.0f));
    std::memcpy(out + i * 2, &bits, sizeof(bits));
  }
}

void load_vector(const AttentionArgs& args, const KvPlace& place, bool exact, float* out) {
  const int64_t count = args.shape.head_dim;
  if (args.pages.coded() && !exact)
    return load_coded_kv(args.pages, args.shape, place, {out, static_cast<size_t>(count)});
  const std::byte* const from =
      args.pages.coded()
          ? reinterpret_cast<const std::byte*>(exact_kv(args.pages, args.shape, place))
          : vector_at(args, place);
  if (args.pages.dtype == DType::kF32) {
    std::memcpy(out, from, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, from + i * 2, sizeof(bits));
    out[i] = f16_to_f32(bits);
  }
}

// The keys or values [last.position + 1, head_dim] that the query at `last` reads, as it reads
// them: coded halves rotated.
std::vector<float> visible_vectors(const AttentionArgs& args, KvHalf half, const KvPlace& last) {
  const int64_t context = last.position + 1, dim = args.shape.head_dim;
  const int64_t coded = coded_pages(last.position) * kPageTokens;
  std::vector<float> vectors(static_cast<size_t>(context * dim));
  KvPlace place = last;
  place.half = half;
  for (place.position = 0; place.position < context; ++place.position)
    load_vector(args, place, place.position >= coded, vectors.data() + place.position * dim);
  return vectors;
}

void rotate(std::vector<double>& x) {
  butterfly(x.data(), static_cast<int>(x.size()));
  for (double& v : x) v /= std::sqrt(static_cast<double>(x.size()));
}

}  // namespace

void ReferenceBackend::attention(const AttentionArgs& args) {
  const AttentionShape& shape = args.shape;
  HLWQ_CHECK(args.pages.dtype == DType::kF16 || args.pages.dtype == DType::kF32);
  HLWQ_CHECK(shape.heads % shape.kv_heads == 0);
  HLWQ_CHECK(!args.pages.coded() || is_kv_dim(shape.head_dim));
  for (const Segment& segment : args.segments) {
    for (int64_t i = 0; i < segment.tokens; ++i) {
      const int64_t row = segment.first_token + i, position = segment.position + i;
      for (int64_t h = 0; h < shape.kv_heads; ++h) {
        for (const KvHalf half : {KvHalf::kKeys, KvHalf::kValues}) {
          const F32View& from = half == KvHalf::kKeys ? args.k : args.v;
          store_vector(args, {half, segment.slot, position, h}, from.row(row) + h * shape.head_dim);
        }
      }
      attend(args, segment, i);
    }
  }
  quantize({args.out});
}

void ReferenceBackend::attend(const AttentionArgs& args, const Segment& segment, int64_t token) {
  const AttentionShape& shape = args.shape;
  const int64_t row = segment.first_token + token, context = segment.position + token + 1;
  const int64_t dim = shape.head_dim, shared = shape.heads / shape.kv_heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
  std::vector<double> weights(static_cast<size_t>(context));
  std::vector<double> q(static_cast<size_t>(dim)), sum(q.size());
  for (int64_t kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
    const KvPlace last = {.slot = segment.slot, .position = context - 1, .kv_head = kv_head};
    const std::vector<float> keys = visible_vectors(args, KvHalf::kKeys, last);
    const std::vector<float> values = visible_vectors(args, KvHalf::kValues, last);
    for (int64_t h = kv_head * shared; h < (kv_head + 1) * shared; ++h) {
      const float* given = args.q.row(row) + h * dim;
      std::copy(given, given + dim, q.begin());
      if (args.pages.key_bits < kPlainKvBits) rotate(q);
      double largest = -std::numeric_limits<double>::infinity();
      for (int64_t s = 0; s < context; ++s) {
        const float* k = keys.data() + s * dim;
        double dot = 0;
        for (int64_t i = 0; i < dim; ++i) dot += q[static_cast<size_t>(i)] * k[i];
        weights[static_cast<size_t>(s)] = dot * scale;
        largest = std::max(largest, dot * scale);
      }
      double total = 0;
      std::fill(sum.begin(), sum.end(), 0.0);
      for (int64_t s = 0; s < context; ++s) {
        const double weight = std::exp(weights[static_cast<size_t>(s)] - largest);
        const float* v = values.data() + s * dim;
        total += weight;
        for (int64_t i = 0; i < dim; ++i) sum[static_cast<size_t>(i)] += weight * v[i];
      }
      if (args.pages.value_bits < kPlainKvBits) rotate(sum);
      float* out = args.out.x.row(row) + h * dim;
      for (int64_t i = 0; i < dim; ++i)
        out[i] = static_cast<float>(sum[static_cast<size_t>(i)] / total);
    }
  }
}

}  // namespace hlwq
