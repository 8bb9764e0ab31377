// Vector elementary functions, the same operations on every instruction set.

// e^x within 1.5 ulp; 0 below -104, infinity above 88.8, NaN stays NaN.
// x = n ln2 + r with |r| <= ln2 / 2, ln2 in two parts so that n * high part is exact; the
// polynomial is Cephes' minimax fit of (e^r - 1 - r) / r^2 (S. Moshier, expf.c). n reaches -150 and
// 128.
HLWQ_INLINE Lanes exponential(Lanes x) {
  x = at_most(at_least(x, set1(-104.0f)), set1(88.8f));
  const Lanes n = round_even(x * set1(1.44269504f));
  Lanes r = fma(n, set1(-0.693359375f), x);
  r = fma(n, set1(2.12194440e-4f), r);
  Lanes p = fma(set1(1.9875691500e-4f), r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = fma(p, r * r, r) + set1(1.0f);
  return scale(p, n);
}

// x / (1 + e^-x)
HLWQ_INLINE Lanes silu(Lanes x) { return x / (set1(1.0f) + exponential(set1(0.0f) - x)); }
