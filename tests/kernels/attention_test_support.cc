#include "tests/kernels/attention_test_support.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/float16.h"

namespace hlwq::test {
namespace {

// Appends what `q` sees of keys and values [context, kv_heads * head_dim].
void attend(const AttentionShape& s, const float* q, const std::vector<double>& k,
            const std::vector<double>& v, int64_t context, std::vector<double>& out) {
  const int64_t kv_width = s.kv_heads * s.head_dim;
  for (int64_t h = 0; h < s.heads; ++h) {
    const int64_t offset = h * s.kv_heads / s.heads * s.head_dim;
    std::vector<double> scores, sum(static_cast<size_t>(s.head_dim));
    for (int64_t i = 0; i < context; ++i) {
      double dot = 0;
      for (int64_t c = 0; c < s.head_dim; ++c)
        dot += q[h * s.head_dim + c] * k[static_cast<size_t>(i * kv_width + offset + c)];
      scores.push_back(dot / std::sqrt(static_cast<double>(s.head_dim)));
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    for (int64_t i = 0; i < context; ++i) {
      const double weight = std::exp(scores[static_cast<size_t>(i)] - largest);
      total += weight;
      for (int64_t c = 0; c < s.head_dim; ++c)
        sum[static_cast<size_t>(c)] += weight * v[static_cast<size_t>(i * kv_width + offset + c)];
    }
    for (const double value : sum) out.push_back(value / total);
  }
}

}  // namespace

Pool::Pool(const AttentionShape& shape_in, DType dtype_in, int64_t slots_in, int64_t context)
    : shape(shape_in),
      dtype(dtype_in),
      slots(slots_in),
      used((context + kPageTokens - 1) / kPageTokens),
      stride(used + 2),
      page_bytes(2 * shape.kv_heads * kPageTokens * shape.head_dim * bytes_of(dtype) + 256),
      memory(slots * used * page_bytes),
      tables(slots * stride) {
  const int64_t all = slots * used;
  int64_t step = 5;  // walks through all pages, far apart
  while (std::gcd(step, all) != 1) ++step;
  for (int64_t s = 0; s < slots; ++s) {
    for (int64_t i = 0; i < stride; ++i) {
      tables[s * stride + i] =
          i < used ? static_cast<int32_t>((s * used + i + 3) * step % all) : -1;
    }
  }
}

float Pool::element(bool value, int64_t slot, int64_t position, int64_t head, int64_t i) const {
  const int64_t page = tables[slot * stride + position / kPageTokens];
  const int64_t row = ((value ? shape.kv_heads : 0) + head) * kPageTokens + position % kPageTokens;
  const std::byte* at =
      memory.data() + page * page_bytes + (row * shape.head_dim + i) * bytes_of(dtype);
  if (dtype == DType::kF32) {
    float v;
    std::memcpy(&v, at, sizeof(v));
    return v;
  }
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return f16_to_f32(bits);
}

void Pool::fill(Random& random) const {
  auto* const halves = reinterpret_cast<uint16_t*>(memory.data());
  for (size_t i = 0; i < memory.span().size() / sizeof(uint16_t); ++i)
    halves[i] = f32_to_f16(static_cast<float>(random.uniform(-2.0, 2.0)));
}

bool Pool::same_bytes(const Pool& other) const {
  return std::memcmp(memory.data(), other.memory.data(), memory.span().size()) == 0;
}

AttentionInputs::AttentionInputs(Random& random, const AttentionShape& s, int64_t tokens,
                                 double spread, RowStart start)
    : q(tokens, s.heads * s.head_dim, random.normals(tokens * s.heads * s.head_dim, spread), start),
      k(tokens, s.kv_heads * s.head_dim, random.normals(tokens * s.kv_heads * s.head_dim), start),
      v(tokens, s.kv_heads * s.head_dim, random.normals(tokens * s.kv_heads * s.head_dim), start) {}

void run(Backend& backend, const Pool& pool, const AttentionInputs& in, int64_t first,
         int64_t count, std::span<const Segment> segments, const Activation& out) {
  backend.attention({.shape = pool.shape,
                     .q = in.q.part(first, count),
                     .k = in.k.part(first, count),
                     .v = in.v.part(first, count),
                     .pages = pool.pages(),
                     .segments = segments,
                     .out = out});
}

float as_stored(float value, DType dtype) {
  if (dtype == DType::kF32) return value;
  return f16_to_f32(f32_to_f16(std::min(std::max(value, -65504.0f), 65504.0f)));
}

std::vector<double> expected_sequence(const AttentionInputs& in, const AttentionShape& shape,
                                      DType dtype, int64_t tokens) {
  std::vector<double> k, v, out;
  for (int64_t t = 0; t < tokens; ++t) {
    for (const float value : in.k.row_values(t)) k.push_back(as_stored(value, dtype));
    for (const float value : in.v.row_values(t)) v.push_back(as_stored(value, dtype));
    attend(shape, in.q.row(t), k, v, t + 1, out);
  }
  return out;
}

std::vector<double> expected_token(const Pool& pool, int64_t slot, int64_t context,
                                   const float* q) {
  std::vector<double> k, v, out;
  for (int64_t position = 0; position < context; ++position) {
    for (int64_t head = 0; head < pool.shape.kv_heads; ++head) {
      for (int64_t i = 0; i < pool.shape.head_dim; ++i) {
        k.push_back(pool.element(false, slot, position, head, i));
        v.push_back(pool.element(true, slot, position, head, i));
      }
    }
  }
  attend(pool.shape, q, k, v, context, out);
  return out;
}

ScratchNeeds attention_needs(const AttentionShape& shape, int64_t tokens, int64_t context) {
  return {.tokens = tokens,
          .width = shape.heads * shape.head_dim,
          .context = context,
          .attention = shape};
}

}  // namespace hlwq::test
