// Softmax attention over pages of keys and values, for up to four queries that share a KV head.
// Math    page by page in ascending positions: m' = max(m, scores), l = l*e^(m-m') + sum e^(s-m'),
//         acc = acc*e^(m-m') + sum e^(s-m') v; out = acc / l. Pages are the splits, so a query's
//         order depends on its position alone.
// Shapes  q, out [head_dim] a query; K and V of a page [64][head_dim], F16 or F32
// Bytes   4 * head_dim a key at F16, shared by the queries of a call
// Method  each key is widened once for all queries; 64 values wide, so that eight or more chains of
//         fma run; out is the accumulator

// Sixteen elements of a page, or the first n of them, from element `at` on.
template <bool Half>
HLWQ_INLINE Lanes load_elements(const uint8_t* page, int64_t at) {
  if constexpr (Half) return load_f16(reinterpret_cast<const uint16_t*>(page) + at);
  return load(reinterpret_cast<const float*>(page) + at);
}
template <bool Half>
HLWQ_INLINE Lanes load_elements_first(const uint8_t* page, int64_t at, int64_t n) {
  if constexpr (Half) return load_weights_first<WeightKind::kF16>(page, at, n);
  return load_first(reinterpret_cast<const float*>(page) + at, n);
}

// Scores of keys [0, keys) of a page; those after them become -infinity.
template <int Queries, bool Half>
HLWQ_INLINE void score_keys(const Attend& a, const uint8_t* page, int64_t keys,
                            float (&scores)[Queries][kMaxPageTokens]) {
  constexpr int kKeys = 2;  // keys that share a load of the queries
  for (int64_t first = 0; first < kMaxPageTokens; first += 16) {
    Lanes sums[Queries][16];
    for (int s = 0; s < 16; s += kKeys) {
      // The last keys of a page may be missing: the pool holds memory for them, their scores are
      // overwritten below.
      if (first + s >= keys) {
        for (int j = 0; j < Queries; ++j) {
          for (int k = 0; k < kKeys; ++k) sums[j][s + k] = set1(0.0f);
        }
        continue;
      }
      Lanes dots[Queries][kKeys];
      for (int j = 0; j < Queries; ++j) {
        for (int k = 0; k < kKeys; ++k) dots[j][k] = set1(0.0f);
      }
      const int64_t at = a.k_offset + (first + s) * a.head_dim;
      int64_t i = 0;
      for (; i + 16 <= a.head_dim; i += 16) {
        Lanes key[kKeys];
        for (int k = 0; k < kKeys; ++k) key[k] = load_elements<Half>(page, at + k * a.head_dim + i);
        for (int j = 0; j < Queries; ++j) {
          const Lanes q = load(a.q[j] + i);
          for (int k = 0; k < kKeys; ++k) dots[j][k] = fma(q, key[k], dots[j][k]);
        }
      }
      if (const int64_t n = a.head_dim - i; n > 0) {
        for (int k = 0; k < kKeys; ++k) {
          const Lanes key = load_elements_first<Half>(page, at + k * a.head_dim + i, n);
          for (int j = 0; j < Queries; ++j) {
            dots[j][k] = fma(load_first(a.q[j] + i, n), key, dots[j][k]);
          }
        }
      }
      for (int j = 0; j < Queries; ++j) {
        for (int k = 0; k < kKeys; ++k) sums[j][s + k] = dots[j][k];
      }
    }
    for (int j = 0; j < Queries; ++j) {
      store(scores[j] + first, sum_each(sums[j]) * set1(a.scale));
    }
  }
  for (int j = 0; j < Queries; ++j) {
    for (int64_t s = keys; s < kMaxPageTokens; ++s) scores[j][s] = -__builtin_inff();
  }
}

// out = out * shrink + weights . V for Parts * 16 elements from i on.
template <int Queries, bool Half, int Parts>
HLWQ_INLINE void add_values(const Attend& a, const uint8_t* page, int64_t keys, int64_t i,
                            const float (&weights)[Queries][kMaxPageTokens],
                            const float (&shrink)[Queries]) {
  Lanes sums[Queries][Parts];
  for (int j = 0; j < Queries; ++j) {
    for (int c = 0; c < Parts; ++c) sums[j][c] = load(a.out[j] + i + 16 * c) * set1(shrink[j]);
  }
  for (int64_t s = 0; s < keys; ++s) {
    const int64_t at = a.v_offset + s * a.head_dim + i;
    for (int c = 0; c < Parts; ++c) {
      const Lanes v = load_elements<Half>(page, at + 16 * c);
      for (int j = 0; j < Queries; ++j) sums[j][c] = fma(set1(weights[j][s]), v, sums[j][c]);
    }
  }
  for (int j = 0; j < Queries; ++j) {
    for (int c = 0; c < Parts; ++c) store(a.out[j] + i + 16 * c, sums[j][c]);
  }
}

// The same for the last n < 16 elements.
template <int Queries, bool Half>
HLWQ_INLINE void add_last_values(const Attend& a, const uint8_t* page, int64_t keys, int64_t i,
                                 int64_t n, const float (&weights)[Queries][kMaxPageTokens],
                                 const float (&shrink)[Queries]) {
  for (int j = 0; j < Queries; ++j) {
    Lanes sum = load_first(a.out[j] + i, n) * set1(shrink[j]);
    for (int64_t s = 0; s < keys; ++s) {
      const Lanes v = load_elements_first<Half>(page, a.v_offset + s * a.head_dim + i, n);
      sum = fma(set1(weights[j][s]), v, sum);
    }
    store_first(a.out[j] + i, sum, n);
  }
}

template <int Queries, bool Half>
void attend_to(const Attend& a) {
  constexpr int kParts = 4;
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
    score_keys<Queries, Half>(a, page, keys, scores);
    float shrink[Queries];
    for (int j = 0; j < Queries; ++j) {
      Lanes most = set1(largest[j]);
      for (int64_t s = 0; s < kMaxPageTokens; s += 16) most = at_least(load(scores[j] + s), most);
      const float m = largest_lane(most);
      alignas(64) float factor[16];
      store(factor, exponential(set1(largest[j] - m)));
      shrink[j] = factor[0];
      Lanes sum = set1(0.0f);
      for (int64_t s = 0; s < kMaxPageTokens; s += 16) {
        const Lanes weight = exponential(load(scores[j] + s) - set1(m));
        store(scores[j] + s, weight);
        sum = sum + weight;
      }
      total[j] = __builtin_fmaf(total[j], shrink[j], sum_lanes(sum));
      largest[j] = m;
    }
    int64_t i = 0;
    for (; i + 16 * kParts <= a.head_dim; i += 16 * kParts) {
      add_values<Queries, Half, kParts>(a, page, keys, i, scores, shrink);
    }
    for (; i + 16 <= a.head_dim; i += 16) {
      add_values<Queries, Half, 1>(a, page, keys, i, scores, shrink);
    }
    if (i < a.head_dim) {
      add_last_values<Queries, Half>(a, page, keys, i, a.head_dim - i, scores, shrink);
    }
  }
  for (int j = 0; j < Queries; ++j) {
    for (int64_t i = 0; i < a.head_dim; i += 16) {
      const int64_t n = a.head_dim - i < 16 ? a.head_dim - i : 16;
      store_first(a.out[j] + i, load_first(a.out[j] + i, n) / set1(total[j]), n);
    }
  }
}

template <bool Half>
void attend_pages(const Attend& a) {
  switch (a.queries) {
    case 1:
      return attend_to<1, Half>(a);
    case 2:
      return attend_to<2, Half>(a);
    case 3:
      return attend_to<3, Half>(a);
    default:
      return attend_to<4, Half>(a);
  }
}

void attend(const Attend& a) { return a.half ? attend_pages<true>(a) : attend_pages<false>(a); }
