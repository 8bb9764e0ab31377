// Sixteen FP32 lanes in plain C++: the meaning that lanes_avx2-inl.h and lanes_avx512-inl.h
// reproduce to the bit. Included inside the namespace of one instruction set.

struct Lanes {
  float v[16];
};
// How many of them fit the registers.
inline constexpr int kLanesInRegisters = 8;

#define HLWQ_LANES(i) for (int i = 0; i < 16; ++i)

HLWQ_INLINE Lanes load(const float* p) {
  Lanes r;
  HLWQ_LANES(i) r.v[i] = p[i];
  return r;
}
HLWQ_INLINE void store(float* p, Lanes a) { HLWQ_LANES(i) p[i] = a.v[i]; }
// The first n in [0, 16] lanes; the others are zero (load) or not written (store).
HLWQ_INLINE Lanes load_first(const float* p, int64_t n) {
  Lanes r;
  HLWQ_LANES(i) r.v[i] = i < n ? p[i] : 0.0f;
  return r;
}
HLWQ_INLINE void store_first(float* p, Lanes a, int64_t n) {
  HLWQ_LANES(i) if (i < n) p[i] = a.v[i];
}
HLWQ_INLINE Lanes set1(float x) {
  Lanes r;
  HLWQ_LANES(i) r.v[i] = x;
  return r;
}
HLWQ_INLINE Lanes operator+(Lanes a, Lanes b) {
  HLWQ_LANES(i) a.v[i] = a.v[i] + b.v[i];
  return a;
}
HLWQ_INLINE Lanes operator-(Lanes a, Lanes b) {
  HLWQ_LANES(i) a.v[i] = a.v[i] - b.v[i];
  return a;
}
HLWQ_INLINE Lanes operator*(Lanes a, Lanes b) {
  HLWQ_LANES(i) a.v[i] = a.v[i] * b.v[i];
  return a;
}
HLWQ_INLINE Lanes operator/(Lanes a, Lanes b) {
  HLWQ_LANES(i) a.v[i] = a.v[i] / b.v[i];
  return a;
}
HLWQ_INLINE Lanes fma(Lanes a, Lanes b, Lanes c) {
  HLWQ_LANES(i) c.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return c;
}
// x limited from below / above; a NaN in x stays.
HLWQ_INLINE Lanes at_least(Lanes x, Lanes floor) {
  HLWQ_LANES(i) x.v[i] = floor.v[i] > x.v[i] ? floor.v[i] : x.v[i];
  return x;
}
HLWQ_INLINE Lanes at_most(Lanes x, Lanes ceiling) {
  HLWQ_LANES(i) x.v[i] = ceiling.v[i] < x.v[i] ? ceiling.v[i] : x.v[i];
  return x;
}
// Half to even, for |a| < 2^22.
HLWQ_INLINE Lanes round_even(Lanes a) {
  HLWQ_LANES(i) a.v[i] = (a.v[i] + 12582912.0f) - 12582912.0f;
  return a;
}
// a * 2^n for integers n in [-150, 128] and a near 1, rounded once: the power is applied in two
// halves because n exceeds the exponents of a float.
HLWQ_INLINE Lanes scale(Lanes a, Lanes n) {
  HLWQ_LANES(i) {
    const auto whole = static_cast<int32_t>(n.v[i]), half = whole / 2;
    const int32_t parts[2] = {half, whole - half};
    for (const int32_t part : parts) {
      const uint32_t bits = static_cast<uint32_t>(part + 127) << 23;
      float power;
      __builtin_memcpy(&power, &bits, 4);
      a.v[i] = a.v[i] * power;
    }
  }
  return a;
}
// (a0 op a8, ...), then 4, 2, 1: the tree every reduction of lanes uses.
HLWQ_INLINE float sum_lanes(Lanes a) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) a.v[i] = a.v[i] + a.v[i + width];
  }
  return a.v[0];
}
// Lane i is sum_lanes(a[i]).
HLWQ_INLINE Lanes sum_each(const Lanes (&a)[16]) {
  Lanes r;
  HLWQ_LANES(i) r.v[i] = sum_lanes(a[i]);
  return r;
}
HLWQ_INLINE float largest_lane(Lanes a) {
  float m = a.v[0];
  HLWQ_LANES(i) m = a.v[i] > m ? a.v[i] : m;
  return m;
}
// (a + b, a - b) over pairs of lanes that are Stride apart.
template <int Stride>
HLWQ_INLINE Lanes butterfly_lanes(Lanes x) {
  Lanes r;
  HLWQ_LANES(i) {
    r.v[i] = (i & Stride) == 0 ? x.v[i] + x.v[i ^ Stride] : x.v[i ^ Stride] - x.v[i];
  }
  return r;
}
HLWQ_INLINE Lanes load_i16(const int16_t* p) {
  Lanes r;
  HLWQ_LANES(i) r.v[i] = static_cast<float>(p[i]);
  return r;
}
HLWQ_INLINE Lanes load_bf16(const uint16_t* p) {
  Lanes r;
  HLWQ_LANES(i) {
    const uint32_t bits = static_cast<uint32_t>(p[i]) << 16;
    __builtin_memcpy(&r.v[i], &bits, 4);
  }
  return r;
}
HLWQ_INLINE float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  uint32_t bits;
  float value;
  if (magnitude >= 0x7c00u) {
    bits = 0x7f800000u | ((magnitude & 0x3ffu) << 13);
  } else if (magnitude >= 0x0400u) {
    bits = (magnitude << 13) + 0x38000000u;
  } else {
    value = static_cast<float>(magnitude) * 0x1p-24f;
    __builtin_memcpy(&bits, &value, 4);
  }
  bits |= sign;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}
HLWQ_INLINE uint16_t float_to_half(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude >= 0x38800000u) {
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
  }
  const float shifted = __builtin_fabsf(value) + 0.5f;  // rounds to the grid of subnormal halves
  __builtin_memcpy(&bits, &shifted, 4);
  return static_cast<uint16_t>(sign | (bits - 0x3f000000u));
}
HLWQ_INLINE Lanes load_f16(const uint16_t* p) {
  Lanes r;
  HLWQ_LANES(i) r.v[i] = half_to_float(p[i]);
  return r;
}
HLWQ_INLINE void store_f16(uint16_t* p, Lanes a) { HLWQ_LANES(i) p[i] = float_to_half(a.v[i]); }
// The largest magnitude, or one that is not finite if a value is not.
HLWQ_INLINE float largest_magnitude(const Lanes (&z)[8]) {
  uint32_t largest = 0;
  for (const Lanes& x : z) {
    HLWQ_LANES(i) {
      uint32_t bits;
      __builtin_memcpy(&bits, &x.v[i], 4);
      bits &= 0x7fffffffu;
      largest = bits > largest ? bits : largest;
    }
  }
  float m;
  __builtin_memcpy(&m, &largest, 4);
  return m;
}
// Writes the quotients of 128 values, rounded half to even (in [-128, 127]); returns their sum.
HLWQ_INLINE int32_t store_quotients_i8(int8_t* p, const float* z, float divisor) {
  int32_t sum = 0;
  for (int block = 0; block < 8; ++block) {
    const Lanes rounded = round_even(load(z + 16 * block) / set1(divisor));
    HLWQ_LANES(i) {
      const auto q = static_cast<int32_t>(rounded.v[i]);
      p[16 * block + i] = static_cast<int8_t>(q);
      sum += q;
    }
  }
  return sum;
}

#undef HLWQ_LANES
