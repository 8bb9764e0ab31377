// Block kernels in plain C++: the fallback, and the only version for tables whose boundaries lie
// too close together for cells.

#include "quant/block_kernel-inl.h"
#include "quant/feedback_kernel-inl.h"
#include "quant/product_kernel-inl.h"

namespace hlwq {
namespace {

struct Vector16 {
  float lane[16];

  static Vector16 load(const float* p) {
    Vector16 v;
    for (int l = 0; l < 16; ++l) v.lane[l] = p[l];
    return v;
  }
  static Vector16 set1(float x) {
    Vector16 v;
    for (float& lane : v.lane) lane = x;
    return v;
  }
  void store(float* p) const {
    for (int l = 0; l < 16; ++l) p[l] = lane[l];
  }
  template <int kStride>
  [[nodiscard]] Vector16 step() const {
    Vector16 v;
    for (int l = 0; l < 16; ++l) {
      if ((l & kStride) != 0) continue;
      v.lane[l] = lane[l] + lane[l + kStride];
      v.lane[l + kStride] = lane[l] - lane[l + kStride];
    }
    return v;
  }
  [[nodiscard]] float sum() const {
    Vector16 v = *this;
    for (int half = 8; half > 0; half /= 2)
      for (int l = 0; l < half; ++l) v.lane[l] = v.lane[l] + v.lane[l + half];
    return v.lane[0];
  }
  [[nodiscard]] Vector16 magnitude_or(const Vector16& other) const {
    Vector16 v = other;
    for (int l = 0; l < 16; ++l) {
      const float magnitude = __builtin_fabsf(lane[l]);
      if (magnitude > v.lane[l]) v.lane[l] = magnitude;
    }
    return v;
  }
  [[nodiscard]] float largest() const {
    float most = lane[0];
    for (const float x : lane) most = x > most ? x : most;
    return most;
  }
};

inline Vector16 operator+(const Vector16& a, const Vector16& b) {
  Vector16 v;
  for (int l = 0; l < 16; ++l) v.lane[l] = a.lane[l] + b.lane[l];
  return v;
}
inline Vector16 operator-(const Vector16& a, const Vector16& b) {
  Vector16 v;
  for (int l = 0; l < 16; ++l) v.lane[l] = a.lane[l] - b.lane[l];
  return v;
}
inline Vector16 operator*(const Vector16& a, const Vector16& b) {
  Vector16 v;
  for (int l = 0; l < 16; ++l) v.lane[l] = a.lane[l] * b.lane[l];
  return v;
}
inline Vector16 fma(const Vector16& a, const Vector16& b, const Vector16& c) {
  Vector16 v;
  for (int l = 0; l < 16; ++l) v.lane[l] = __builtin_fmaf(a.lane[l], b.lane[l], c.lane[l]);
  return v;
}

struct Codes16 {
  int32_t lane[16];
  void store(uint8_t* p) const {
    for (int l = 0; l < 16; ++l) p[l] = static_cast<uint8_t>(lane[l]);
  }
};

struct LevelsByTable {
  const float* level;
  explicit LevelsByTable(const float* levels) : level(levels) {}
  [[nodiscard]] Vector16 of(const uint8_t* codes) const {
    Vector16 v;
    for (int l = 0; l < 16; ++l) v.lane[l] = level[codes[l]];
    return v;
  }
};

Vector16 levels_of(const NearestTable& table, const Codes16& codes) {
  Vector16 v;
  for (int l = 0; l < 16; ++l) v.lane[l] = table.level[codes.lane[l]];
  return v;
}

struct NearestByCell {
  const NearestTable& table;
  explicit NearestByCell(const NearestTable& t) : table(t) {}
  [[nodiscard]] Codes16 code(const Vector16& z) const {
    Codes16 codes;
    const float last = static_cast<float>(table.cells - 1);
    for (int l = 0; l < 16; ++l) {
      // Written so that NaN (a block the caller refuses afterwards) lands in cell 0.
      float x = __builtin_fmaf(z.lane[l], table.cell_scale, table.cell_offset);
      x = x > 0.0f ? x : 0.0f;
      x = x < last ? x : last;
      const auto cell = static_cast<int32_t>(x);
      codes.lane[l] = table.base[cell] + (z.lane[l] > table.bound[cell] ? 1 : 0);
    }
    return codes;
  }
  [[nodiscard]] Vector16 level(const Codes16& codes) const { return levels_of(table, codes); }
};

struct NearestBySearch {
  const NearestTable& table;
  explicit NearestBySearch(const NearestTable& t) : table(t) {}
  [[nodiscard]] Codes16 code(const Vector16& z) const {
    Codes16 codes;
    for (int l = 0; l < 16; ++l) {
      // The number of boundaries below z, by halving: those before `low` are, those from `high`
      // not.
      int32_t low = 0, high = table.level_count - 1;
      while (low < high) {
        const int32_t middle = (low + high) / 2;
        if (z.lane[l] > table.boundary[middle])
          low = middle + 1;
        else
          high = middle;
      }
      codes.lane[l] = low;
    }
    return codes;
  }
  [[nodiscard]] Vector16 level(const Codes16& codes) const { return levels_of(table, codes); }
};

void encode(const NearestTable& table, const TrialScales& trials, const float* weights,
            int64_t blocks, uint8_t* codes, BlockSums* sums) {
  if (table.cells > 0)
    encode_blocks<Vector16, NearestByCell>(table, trials, weights, blocks, codes, sums);
  else
    encode_blocks<Vector16, NearestBySearch>(table, trials, weights, blocks, codes, sums);
}

void encode_feedback(const NearestTable& table, const TrialScales& trials,
                     const FeedbackBlock& block, uint8_t* codes, float* scales) {
  if (table.cells > 0)
    encode_with_feedback<Vector16, NearestByCell>(table, trials, block, codes, scales);
  else
    encode_with_feedback<Vector16, NearestBySearch>(table, trials, block, codes, scales);
}

}  // namespace

const BlockKernels* scalar_block_kernels() {
  static constexpr BlockKernels kKernels{"scalar", encode, decode_blocks<Vector16, LevelsByTable>,
                                         encode_feedback, add_packed_product<Vector16, 4, 1>};
  return &kKernels;
}

}  // namespace hlwq
