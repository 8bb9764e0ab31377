// Softmax attention over pages of keys and values, for groups of queries that share a KV head.
// Math    page by page in ascending positions: m' = max(m, scores), l = l*e^(m-m') + sum e^(s-m'),
//         acc = acc*e^(m-m') + sum e^(s-m') v; out = acc / l. Pages are the splits, so a query's
//         order depends on its position alone.
// Shapes  q, out [head_dim] a query; K and V of a page [64][head_dim], F16 or F32, or codes
// Bytes   4 * head_dim a key at F16, shared by the queries of a tile
// Floor   16 values of a key and of a value: one fma each a query
// Method  several groups: a page is widened once for all of them (one of codes is always), then 16
// keys (or 64 values of
//         each key) stay in L1 while the groups pass. A register tile of 4 queries x 4 keys (or 64
//         values), so that 8 loads serve 16 fma; out is the accumulator

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

inline constexpr int64_t kScoreKeys = 16;  // of a tree of sums
inline constexpr int64_t kMaxCodedDim = 256;
using PageScores = float[kMaxQueries][kMaxPageTokens];

// Keys or values of one KV head in a page.
struct PageRows {
  const uint8_t* data;
  int64_t head_dim;
};

// Scores of keys [first, first + 16), of which those from `keys` on become -infinity.
template <int Queries, bool Half>
HLWQ_INLINE void score_keys(const QueryGroup& group, const PageRows& page, int64_t first,
                            int64_t keys, float scale, PageScores& scores) {
  constexpr int kKeys = kLanesInRegisters >= 32 ? 4 : 2;  // keys that share a load of the queries
  Lanes sums[Queries][kScoreKeys];
  for (int s = 0; s < kScoreKeys; s += kKeys) {
    // The last keys of a page may be missing: there is memory for them, their scores are
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
    const int64_t at = (first + s) * page.head_dim;
    int64_t i = 0;
    for (; i + 16 <= page.head_dim; i += 16) {
      Lanes key[kKeys];
      for (int k = 0; k < kKeys; ++k) {
        key[k] = load_elements<Half>(page.data, at + k * page.head_dim + i);
      }
      for (int j = 0; j < Queries; ++j) {
        const Lanes q = load(group.q[j] + i);
        for (int k = 0; k < kKeys; ++k) dots[j][k] = fma(q, key[k], dots[j][k]);
      }
    }
    if (const int64_t n = page.head_dim - i; n > 0) {
      for (int k = 0; k < kKeys; ++k) {
        const Lanes key = load_elements_first<Half>(page.data, at + k * page.head_dim + i, n);
        for (int j = 0; j < Queries; ++j) {
          dots[j][k] = fma(load_first(group.q[j] + i, n), key, dots[j][k]);
        }
      }
    }
    for (int j = 0; j < Queries; ++j) {
      for (int k = 0; k < kKeys; ++k) sums[j][s + k] = dots[j][k];
    }
  }
  for (int j = 0; j < Queries; ++j) {
    store(scores[j] + first, sum_each(sums[j]) * set1(scale));
    for (int64_t s = keys > first ? keys : first; s < first + kScoreKeys; ++s) {
      scores[j][s] = -__builtin_inff();
    }
  }
}

// out = out * shrink + weights . V for Parts * 16 elements from i on.
template <int Queries, bool Half, int Parts>
HLWQ_INLINE void add_values(const QueryGroup& group, const PageRows& page, int64_t keys, int64_t i,
                            const PageScores& weights, const float* shrink) {
  Lanes sums[Queries][Parts];
  for (int j = 0; j < Queries; ++j) {
    for (int c = 0; c < Parts; ++c) sums[j][c] = load(group.out[j] + i + 16 * c) * set1(shrink[j]);
  }
  for (int64_t s = 0; s < keys; ++s) {
    const int64_t at = s * page.head_dim + i;
    for (int c = 0; c < Parts; ++c) {
      const Lanes v = load_elements<Half>(page.data, at + 16 * c);
      for (int j = 0; j < Queries; ++j) sums[j][c] = fma(set1(weights[j][s]), v, sums[j][c]);
    }
  }
  for (int j = 0; j < Queries; ++j) {
    for (int c = 0; c < Parts; ++c) store(group.out[j] + i + 16 * c, sums[j][c]);
  }
}

// The same for the last n < 16 elements.
template <int Queries, bool Half>
HLWQ_INLINE void add_last_values(const QueryGroup& group, const PageRows& page, int64_t keys,
                                 int64_t i, const PageScores& weights, const float* shrink) {
  const int64_t n = page.head_dim - i;
  for (int j = 0; j < Queries; ++j) {
    Lanes sum = load_first(group.out[j] + i, n) * set1(shrink[j]);
    for (int64_t s = 0; s < keys; ++s) {
      const Lanes v = load_elements_first<Half>(page.data, s * page.head_dim + i, n);
      sum = fma(set1(weights[j][s]), v, sum);
    }
    store_first(group.out[j] + i, sum, n);
  }
}

// The softmax of one group so far.
struct Softmax {
  float largest[kMaxQueries], total[kMaxQueries], shrink[kMaxQueries];
};

// Takes the scores of a page in and turns them into weights.
HLWQ_INLINE void weigh_scores(int queries, PageScores& scores, Softmax& softmax) {
  alignas(64) float factor[16] = {};
  float m[kMaxQueries];
  for (int j = 0; j < queries; ++j) {
    Lanes most = set1(softmax.largest[j]);
    for (int64_t s = 0; s < kMaxPageTokens; s += 16) most = at_least(load(scores[j] + s), most);
    m[j] = largest_lane(most);
    factor[j] = softmax.largest[j] - m[j];
    softmax.largest[j] = m[j];
  }
  store(factor, exponential(load(factor)));
  for (int j = 0; j < queries; ++j) {
    Lanes sum = set1(0.0f);
    for (int64_t s = 0; s < kMaxPageTokens; s += 16) {
      const Lanes weight = exponential(load(scores[j] + s) - set1(m[j]));
      store(scores[j] + s, weight);
      sum = sum + weight;
    }
    softmax.shrink[j] = factor[j];
    softmax.total[j] = __builtin_fmaf(softmax.total[j], factor[j], sum_lanes(sum));
  }
}

// What a tile keeps between its pages.
struct AttendTile {
  alignas(64) PageScores scores[kMaxGroups];
  Softmax softmax[kMaxGroups];
};

template <int N>
struct Count {
  static constexpr int value = N;
};

// fn(a constant) with the number of queries of a group.
template <typename Fn>
HLWQ_INLINE void with_queries(int queries, Fn&& fn) {
  switch (queries) {
    case 1:
      return fn(Count<1>{});
    case 2:
      return fn(Count<2>{});
    case 3:
      return fn(Count<3>{});
    default:
      return fn(Count<4>{});
  }
}

// All groups that read this form of the page of keys from position `first` on take it in.
template <bool Half>
void attend_page(const Attend& a, int64_t first, bool coded, const PageRows& k, const PageRows& v,
                 AttendTile& tile) {
  constexpr int kParts = 4;
  // Keys that group g sees of this page; none: it ended before, or reads the other form.
  const auto seen = [&](int g) {
    if ((first / a.page_tokens < a.groups[g].coded) != coded) return int64_t{0};
    const int64_t keys = a.groups[g].visible - first;
    return keys < a.page_tokens ? keys : a.page_tokens;
  };
  for (int64_t s = 0; s < kMaxPageTokens; s += kScoreKeys) {
    for (int g = 0; g < a.group_count; ++g) {
      if (seen(g) <= 0) continue;
      with_queries(a.groups[g].queries, [&](auto queries) {
        score_keys<queries.value, Half>(a.groups[g], k, s, seen(g), a.scale, tile.scores[g]);
      });
    }
  }
  for (int g = 0; g < a.group_count; ++g) {
    if (seen(g) > 0) weigh_scores(a.groups[g].queries, tile.scores[g], tile.softmax[g]);
  }
  const auto add_part = [&](auto parts, int64_t i) {
    for (int g = 0; g < a.group_count; ++g) {
      if (seen(g) <= 0) continue;
      const float* shrink = tile.softmax[g].shrink;
      with_queries(a.groups[g].queries, [&](auto queries) {
        if constexpr (parts.value == 0) {
          add_last_values<queries.value, Half>(a.groups[g], v, seen(g), i, tile.scores[g], shrink);
        } else {
          add_values<queries.value, Half, parts.value>(a.groups[g], v, seen(g), i, tile.scores[g],
                                                       shrink);
        }
      });
    }
  };
  int64_t i = 0;
  for (; i + 16 * kParts <= a.head_dim; i += 16 * kParts) add_part(Count<kParts>{}, i);
  for (; i + 16 <= a.head_dim; i += 16) add_part(Count<1>{}, i);
  if (i < a.head_dim) add_part(Count<0>{}, i);
}

inline constexpr int64_t kMaxWidened = 128;  // head_dim of pages that are widened
using WidePage = float[kMaxPageTokens * kMaxWidened];

HLWQ_INLINE PageRows widen(const uint8_t* page, int64_t count, int64_t head_dim, float* wide) {
  const auto* from = reinterpret_cast<const uint16_t*>(page);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) store(wide + i, load_f16(from + i));
  if (i < count)
    store_first(wide + i, load_weights_first<WeightKind::kF16>(page, i, count - i), count - i);
  return {reinterpret_cast<const uint8_t*>(wide), head_dim};
}

template <int kBits>
void expand_codes(const CodedHalf& half, const uint8_t* section, int64_t head_dim, float* wide) {
  const auto* const words = reinterpret_cast<const uint32_t*>(section);
  const auto* const scales =
      reinterpret_cast<const uint16_t*>(section + kMaxPageTokens * head_dim * kBits / 8);
  const int64_t units = head_dim / 32, stride = units * kMaxPageTokens;
  for (int64_t token = 0; token < kMaxPageTokens; ++token) {
    const Lanes scale = set1(half_to_float(scales[token]));
    for (int64_t unit = 0; unit < units; ++unit) {
      const uint32_t* const from = words + unit * kMaxPageTokens + token;
      for (int part = 0; part < 2; ++part) {
        store(wide + token * head_dim + unit * 32 + part * 16,
              kv_levels<kBits>(from, stride, part, half.levels) * scale);
      }
    }
  }
}

// A half of a page of codes, as floats.
HLWQ_INLINE PageRows expand(const CodedHalf& half, const uint8_t* page, int64_t head_dim,
                            float* wide) {
  const uint8_t* const section = page + half.offset;
  switch (half.bits) {
    case 2:
      expand_codes<2>(half, section, head_dim, wide);
      break;
    case 3:
      expand_codes<3>(half, section, head_dim, wide);
      break;
    case 4:
      expand_codes<4>(half, section, head_dim, wide);
      break;
    case 8:
      expand_codes<8>(half, section, head_dim, wide);
      break;
    default:
      return widen(section, kMaxPageTokens * head_dim, head_dim, wide);
  }
  return {reinterpret_cast<const uint8_t*>(wide), head_dim};
}

HLWQ_INLINE void rotate_head(const float* x, int64_t dim, float* out) {
  for (int64_t i = 0; i < dim; i += 16) {
    Lanes v = load(x + i);
    v = butterfly_lanes<1>(v);
    v = butterfly_lanes<2>(v);
    v = butterfly_lanes<4>(v);
    store(out + i, butterfly_lanes<8>(v));
  }
  for (int64_t stride = 16; stride < dim; stride *= 2) {
    for (int64_t i = 0; i < dim; i += 16) {
      if ((i & stride) != 0) continue;
      const Lanes v = load(out + i), w = load(out + i + stride);
      store(out + i, v + w);
      store(out + i + stride, v - w);
    }
  }
  const Lanes scale = set1(1.0f / __builtin_sqrtf(static_cast<float>(dim)));
  for (int64_t i = 0; i < dim; i += 16) store(out + i, load(out + i) * scale);
}

void rotate_heads(const float* x, int64_t heads, int64_t dim, float* out) {
  for (int64_t h = 0; h < heads; ++h) rotate_head(x + h * dim, dim, out + h * dim);
}

// The page of keys from position `first` on, for the groups that read it exactly.
void attend_exact(const Attend& a, int64_t first, AttendTile& tile) {
  const bool widens = a.half && a.group_count > 1 && a.head_dim <= kMaxWidened;
  const int64_t element = a.half ? 2 : 4, number = first / a.page_tokens;
  const uint8_t* const page = a.ring != nullptr ? a.ring + number % a.ring_pages * a.ring_page_bytes
                                                : a.pages + a.table[number] * a.page_bytes;
  const PageRows k{page + a.k_offset * element, a.head_dim};
  const PageRows v{page + a.v_offset * element, a.head_dim};
  if (widens) {
    alignas(64) WidePage wide_k, wide_v;
    const int64_t count = a.page_tokens * a.head_dim;
    attend_page<false>(a, first, false, widen(k.data, count, a.head_dim, wide_k),
                       widen(v.data, count, a.head_dim, wide_v), tile);
  } else if (a.half) {
    attend_page<true>(a, first, false, k, v, tile);
  } else {
    attend_page<false>(a, first, false, k, v, tile);
  }
}

// The same for those that read it from codes; expanded once for all of them, halves in turn.
void attend_coded(const Attend& a, int64_t first, AttendTile& tile) {
  alignas(64) float wide_k[kMaxPageTokens * kMaxCodedDim], wide_v[kMaxPageTokens * kMaxCodedDim];
  const uint8_t* const page = a.pages + a.table[first / a.page_tokens] * a.page_bytes;
  attend_page<false>(a, first, true, expand(a.keys, page, a.head_dim, wide_k),
                     expand(a.values, page, a.head_dim, wide_v), tile);
}

void attend(const Attend& a) {
  AttendTile tile;
  int64_t visible = 0, least_coded = a.groups[0].coded, most_coded = 0;
  for (int g = 0; g < a.group_count; ++g) {
    const QueryGroup& group = a.groups[g];
    visible = group.visible > visible ? group.visible : visible;
    least_coded = group.coded < least_coded ? group.coded : least_coded;
    most_coded = group.coded > most_coded ? group.coded : most_coded;
    for (int j = 0; j < group.queries; ++j) {
      tile.softmax[g].largest[j] = -__builtin_inff();
      tile.softmax[g].total[j] = 0.0f;
      for (int64_t i = 0; i < a.head_dim; ++i) group.out[j][i] = 0.0f;
    }
  }
  for (int64_t first = 0; first < visible; first += a.page_tokens) {
    if (first / a.page_tokens < most_coded) attend_coded(a, first, tile);
    if (first / a.page_tokens >= least_coded) attend_exact(a, first, tile);
  }
  for (int g = 0; g < a.group_count; ++g) {
    const QueryGroup& group = a.groups[g];
    for (int j = 0; j < group.queries; ++j) {
      const Lanes total = set1(tile.softmax[g].total[j]);
      for (int64_t i = 0; i < a.head_dim; i += 16) {
        const int64_t n = a.head_dim - i < 16 ? a.head_dim - i : 16;
        store_first(group.out[j] + i, load_first(group.out[j] + i, n) / total, n);
      }
      if (a.values.bits < 16) rotate_head(group.out[j], a.head_dim, group.out[j]);
    }
  }
}
