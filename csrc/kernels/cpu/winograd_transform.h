// The transforms of Winograd's minimal filtering (kernels/winograd.h), one vector of channels at a
// time.
#pragma once

#include "kernels/cpu/simd.h"

namespace pydl::kernels::PYDL_ISA {

// F(2, 3) at the points 0, 1, -1 and infinity. The error is below that of direct summation.
struct FourPoints {
  static constexpr int kOut = 2, kTaps = 3, kPoints = 4;

  PYDL_INLINE static void input(const Vec (&d)[4], Vec (&v)[4]) {  // B^T
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[1] - d[3];
  }
  PYDL_INLINE static void weights(const Vec (&g)[3], Vec (&u)[4]) {  // G
    const Vec even = 0.5f * (g[0] + g[2]), odd = 0.5f * g[1];
    u[0] = g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
  }
  PYDL_INLINE static void output(const Vec (&m)[4], Vec (&y)[2]) {  // A^T
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = (m[1] - m[2]) - m[3];
  }
  PYDL_INLINE static void output_gradient(const Vec (&dy)[2], Vec (&dm)[4]) {  // A
    dm[0] = dy[0];
    dm[1] = dy[0] + dy[1];
    dm[2] = dy[0] - dy[1];
    dm[3] = -dy[1];
  }
  PYDL_INLINE static void weights_gradient(const Vec (&du)[4], Vec (&dg)[3]) {  // G^T
    const Vec even = 0.5f * (du[1] + du[2]);
    dg[0] = du[0] + even;
    dg[1] = 0.5f * (du[1] - du[2]);
    dg[2] = du[3] + even;
  }
};

// F(M, 7 - M) at the points 0, +-a, +-b and infinity. a and b keep the powers of the points, and
// with them the rounding errors, small: half the error of the usual +-1, +-2. All constants of B
// and A are exact. B is the same for every M; A evaluates a polynomial of M coefficients at the
// points, G one of 7 - M, which it divides by what B leaves of the others.
template <int M>
struct SixPoints {
  static constexpr int kOut = M, kTaps = 7 - M, kPoints = 6;
  static constexpr float a = 11.0f / 16, b = 23.0f / 16;
  static constexpr float a2 = a * a, b2 = b * b;
  static constexpr float kAt0 = 1 / (a2 * b2);
  static constexpr float kAtA = 1 / (2 * a2 * (a2 - b2)), kAtB = 1 / (2 * b2 * (b2 - a2));

  PYDL_INLINE static void input(const Vec (&d)[6], Vec (&v)[6]) {
    const Vec even_a = d[4] - b2 * d[2], odd_a = d[3] - b2 * d[1];
    const Vec even_b = d[4] - a2 * d[2], odd_b = d[3] - a2 * d[1];
    v[0] = a2 * b2 * d[0] + (d[4] - (a2 + b2) * d[2]);
    v[1] = even_a + a * odd_a;
    v[2] = even_a - a * odd_a;
    v[3] = even_b + b * odd_b;
    v[4] = even_b - b * odd_b;
    v[5] = a2 * b2 * d[1] + (d[5] - (a2 + b2) * d[3]);
  }
  PYDL_INLINE static void weights(const Vec (&g)[kTaps], Vec (&u)[6]) {
    evaluate(g, u);
    scale(u);
  }
  PYDL_INLINE static void output(const Vec (&m)[6], Vec (&y)[M]) { moments(m, y); }
  PYDL_INLINE static void output_gradient(const Vec (&dy)[M], Vec (&dm)[6]) { evaluate(dy, dm); }
  PYDL_INLINE static void weights_gradient(const Vec (&du)[6], Vec (&dg)[kTaps]) {
    Vec scaled[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) scaled[i] = du[i];
    scale(scaled);
    moments(scaled, dg);
  }

 private:
  static constexpr float power(float x, int n) { return n == 0 ? 1 : x * power(x, n - 1); }

  PYDL_INLINE static void scale(Vec (&u)[6]) {
    u[0] *= kAt0;
    u[1] *= kAtA;
    u[2] *= kAtA;
    u[3] *= kAtB;
    u[4] *= kAtB;
  }

  // The polynomial with coefficients c; at infinity the highest of them.
  template <int N>
  PYDL_INLINE static void evaluate(const Vec (&c)[N], Vec (&at)[6]) {
    Vec even_a = c[0], even_b = c[0], odd_a = a * c[1], odd_b = b * c[1];
#pragma GCC unroll 3
    for (int k = 2; k < N; ++k) {
      (k % 2 ? odd_a : even_a) += power(a, k) * c[k];
      (k % 2 ? odd_b : even_b) += power(b, k) * c[k];
    }
    at[0] = c[0];
    at[1] = even_a + odd_a;
    at[2] = even_a - odd_a;
    at[3] = even_b + odd_b;
    at[4] = even_b - odd_b;
    at[5] = c[N - 1];
  }

  // Its transpose.
  template <int N>
  PYDL_INLINE static void moments(const Vec (&at)[6], Vec (&c)[N]) {
    const Vec even_a = at[1] + at[2], odd_a = at[1] - at[2];
    const Vec even_b = at[3] + at[4], odd_b = at[3] - at[4];
    c[0] = at[0] + (even_a + even_b);
#pragma GCC unroll 4
    for (int k = 1; k < N; ++k) {
      c[k] = power(a, k) * (k % 2 ? odd_a : even_a) + power(b, k) * (k % 2 ? odd_b : even_b);
    }
    c[N - 1] += at[5];
  }
};

using Winograd23 = FourPoints;
using Winograd43 = SixPoints<4>;
using Winograd25 = SixPoints<2>;

// A one-dimensional transform along both axes: x (N, N) to y (P, P).
template <auto kTransform, int N, int P>
PYDL_INLINE void along_both(const Vec (&x)[N][N], Vec (&y)[P][P]) {
  Vec t[P][N];
#pragma GCC unroll 6
  for (int j = 0; j < N; ++j) {
    Vec in[N], out[P];
#pragma GCC unroll 6
    for (int i = 0; i < N; ++i) in[i] = x[i][j];
    kTransform(in, out);
#pragma GCC unroll 6
    for (int i = 0; i < P; ++i) t[i][j] = out[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < P; ++i) kTransform(t[i], y[i]);
}

// For a sum of its own: NaN in every lane where any x was NaN or infinite, else 0.
PYDL_INLINE void note_not_finite(Vec x, Vec& seen) { seen += x * 0.0f; }

PYDL_INLINE bool any_not_finite(Vec seen) { return sum(seen) != 0; }  // NaN differs from 0

}  // namespace pydl::kernels::PYDL_ISA
