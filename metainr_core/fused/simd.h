// Vectors of 16 floats, rounding to bfloat16, and sine and cosine.
//
// GCC's and Clang's vector types: the compiler lowers them to what the processor has (AVX-512, two
// AVX2 registers, NEON). Only bfloat16 products need an instruction of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#define METAINR_BF16 1
#endif

constexpr int LANES = 16;

using Vec = float __attribute__((vector_size(64)));
using Bits = uint32_t __attribute__((vector_size(64)));
// At any address. A typedef: Clang ignores ``aligned`` in a ``using``.
typedef float AnyVec __attribute__((vector_size(64), aligned(4)));
static_assert(alignof(AnyVec) == 4, "");
using Halves = uint16_t __attribute__((vector_size(32)));

inline Vec splat(float x) { return x - Vec{}; }
inline Vec load(const float* p) { return *reinterpret_cast<const AnyVec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<AnyVec*>(p) = v; }

inline float sum(Vec v) {
  float part[LANES];
  std::memcpy(part, &v, sizeof v);
  for (int step = LANES / 2; step; step /= 2)
    for (int i = 0; i < step; i++) part[i] += part[i + step];
  return part[0];
}

// x = pi (n + u), |u| <= 1/2: sine and cosine are polynomials in u, with the sign of n's parity.
// Adding 1.5 * 2^23 rounds to a whole number and leaves its parity in the lowest bit.
struct Phase {
  Vec u, square;
  Bits sign;

  explicit Phase(Vec x) {
    const Vec shifted = x * 0.318309886f + 12582912.0f;
    sign = reinterpret_cast<Bits>(shifted) << 31;
    u = x * 0.318309886f - (shifted - 12582912.0f);
    square = u * u;
  }
  Vec signed_by(Vec v) const { return reinterpret_cast<Vec>(reinterpret_cast<Bits>(v) ^ sign); }

  // Minimax polynomials of sin(pi u) / u and cos(pi u); errors below 1e-7.
  Vec sine() const {
    Vec p = splat(0.0821458866f);
    p = p * square - 0.599264529f;
    p = p * square + 2.55016404f;
    p = p * square - 5.16771278f;
    p = p * square + 3.14159265f;
    return signed_by(p * u);
  }
  Vec cosine() const {
    Vec p = splat(-0.0258068913f);
    p = p * square + 0.235330630f;
    p = p * square - 1.33526277f;
    p = p * square + 4.05871213f;
    p = p * square - 4.93480220f;
    p = p * square + 1.0f;
    return signed_by(p);
  }
};

// The number formats of activations and weights in products. A *unit* is 32 bits: one float, or two
// neighbouring bfloat16; ``dot`` multiplies units and adds to float sums.

struct Float {
  using Element = float;
  static constexpr int PER_UNIT = 1;

  static Vec dot(Vec sums, uint32_t a, Bits b) {
    float scalar;
    std::memcpy(&scalar, &a, 4);
    return scalar * reinterpret_cast<Vec>(b) + sums;
  }
  static void put(Element* p, Vec v) { store(p, v); }
  static Vec get(const Element* p) { return load(p); }
};

#ifdef METAINR_BF16
struct Bfloat {
  using Element = uint16_t;
  static constexpr int PER_UNIT = 2;

  static Vec dot(Vec sums, uint32_t a, Bits b) {
    const auto pair = (__m512bh)_mm512_set1_epi32(static_cast<int>(a));
    return (Vec)_mm512_dpbf16_ps((__m512)sums, (__m512bh)b, pair);
  }
  static Halves round(Vec v) { return (Halves)_mm512_cvtneps_pbh((__m512)v); }
  static Bits widen(Halves h) { return __builtin_convertvector(h, Bits); }
  static void put(Element* p, Vec v) { *reinterpret_cast<Halves*>(p) = round(v); }
  static Vec get(const Element* p) {
    return reinterpret_cast<Vec>(widen(*reinterpret_cast<const Halves*>(p)) << 16);
  }
  // Of two rows: 16 units, each with an element of both.
  static void put_pairs(uint32_t* p, Vec first, Vec second) {
    *reinterpret_cast<Bits*>(p) = widen(round(first)) | widen(round(second)) << 16;
  }
};
#endif
