// Softmax attention over pages of keys and values, for up to four queries that share a KV head.
// Math    page by page in ascending positions: m' = max(m, scores), l = l*e^(m-m') + sum e^(s-m'),
//         acc = acc*e^(m-m') + sum e^(s-m') v; out = acc / l. Pages are the splits, so a query's
//         order depends on its position alone.
// Shapes  q, out [head_dim] a query; K and V of a page [64][head_dim], F16 or F32
// Bytes   4 * head_dim a key at F16, shared by the queries of a call
// Method  each key is widened once for all queries; out is the accumulator

HLWQ_INLINE Lanes load_element_lanes(const void* base, int64_t at, int64_t n, bool half) {
  if (half) {
    const auto* p = static_cast<const uint16_t*>(base) + at;
    return n == 16
               ? load_f16(p)
               : load_weights_first<WeightKind::kF16>(reinterpret_cast<const uint8_t*>(p), 0, n);
  }
  const float* p = static_cast<const float*>(base) + at;
  return n == 16 ? load(p) : load_first(p, n);
}

template <int Queries>
void attend_to(const Attend& a) {
  float largest[Queries], total[Queries];
  for (int j = 0; j < Queries; ++j) {
    largest[j] = -__builtin_inff();
    total[j] = 0.0f;
    for (int64_t i = 0; i < a.head_dim; ++i) a.out[j][i] = 0.0f;
  }
  for (int64_t first = 0; first < a.visible; first += a.page_tokens) {
    const uint8_t* page = a.pages + a.table[first / a.page_tokens] * a.page_bytes;
    const int64_t keys = a.visible - first < a.page_tokens ? a.visible - first : a.page_tokens;
    alignas(64) float scores[Queries][kMaxPageTokens];
    for (int64_t s = 0; s < keys; ++s) {
      Lanes sums[Queries];
      for (int j = 0; j < Queries; ++j) sums[j] = set1(0.0f);
      for (int64_t i = 0; i < a.head_dim; i += 16) {
        const int64_t n = a.head_dim - i < 16 ? a.head_dim - i : 16;
        const Lanes k = load_element_lanes(page, a.k_offset + s * a.head_dim + i, n, a.half);
        for (int j = 0; j < Queries; ++j) {
          const float* q = a.q[j] + i;
          sums[j] = fma(n == 16 ? load(q) : load_first(q, n), k, sums[j]);
        }
      }
      for (int j = 0; j < Queries; ++j) scores[j][s] = sum_lanes(sums[j]) * a.scale;
    }
    for (int j = 0; j < Queries; ++j) {
      float m = largest[j];
      for (int64_t s = 0; s < keys; ++s) m = scores[j][s] > m ? scores[j][s] : m;
      // Keys that are not there weigh e^-infinity = 0.
      for (int64_t s = keys; s < kMaxPageTokens; ++s) scores[j][s] = -__builtin_inff();
      alignas(64) float shrink[16] = {largest[j] - m};
      store(shrink, exponential(load(shrink)));
      Lanes sum = set1(0.0f);
      for (int64_t s = 0; s < kMaxPageTokens; s += 16) {
        const Lanes weight = exponential(load(scores[j] + s) - set1(m));
        store(scores[j] + s, weight);
        sum = sum + weight;
      }
      total[j] = __builtin_fmaf(total[j], shrink[0], sum_lanes(sum));
      largest[j] = m;
      for (int64_t i = 0; i < a.head_dim; i += 16) {
        const int64_t n = a.head_dim - i < 16 ? a.head_dim - i : 16;
        store_first(a.out[j] + i, load_first(a.out[j] + i, n) * set1(shrink[0]), n);
      }
    }
    for (int64_t i = 0; i < a.head_dim; i += 16) {
      const int64_t n = a.head_dim - i < 16 ? a.head_dim - i : 16;
      Lanes acc[Queries];
      for (int j = 0; j < Queries; ++j) acc[j] = load_first(a.out[j] + i, n);
      for (int64_t s = 0; s < keys; ++s) {
        const Lanes v = load_element_lanes(page, a.v_offset + s * a.head_dim + i, n, a.half);
        for (int j = 0; j < Queries; ++j) acc[j] = fma(set1(scores[j][s]), v, acc[j]);
      }
      for (int j = 0; j < Queries; ++j) store_first(a.out[j] + i, acc[j], n);
    }
  }
  for (int j = 0; j < Queries; ++j) {
    for (int64_t i = 0; i < a.head_dim; i += 16) {
      const int64_t n = a.head_dim - i < 16 ? a.head_dim - i : 16;
      store_first(a.out[j] + i, load_first(a.out[j] + i, n) / set1(total[j]), n);
    }
  }
}

void attend(const Attend& a) {
  switch (a.queries) {
    case 1:
      return attend_to<1>(a);
    case 2:
      return attend_to<2>(a);
    case 3:
      return attend_to<3>(a);
    default:
      return attend_to<4>(a);
  }
}
