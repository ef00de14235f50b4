// Vectors of the width of the instruction set that this file is compiled for, and the few operations that the compiler's vector
// extensions lack. The rest of the CPU code is the same for every instruction set.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace firstspike {

#if defined(__SANITIZE_ADDRESS__)
#define FIRSTSPIKE_ALWAYS_INLINE  // its checks in each copy would take minutes to compile
#else
#define FIRSTSPIKE_ALWAYS_INLINE __attribute__((always_inline))
#endif
// For what runs once per step: a call would write the tile's registers to memory.
#define FIRSTSPIKE_INLINE inline FIRSTSPIKE_ALWAYS_INLINE
// The body of a loop over the vectors of a tile, for `unrolled`.
#define FIRSTSPIKE_BODY(k) [&](int k) FIRSTSPIKE_ALWAYS_INLINE

#if defined(__AVX512F__) && defined(__AVX512BW__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// Calls body(0) to body(N - 1), written out: in a loop the vectors would lie in memory wherever the compiler does not unroll it.
template <int N, class Body>
FIRSTSPIKE_INLINE void unrolled(Body&& body) {
    [&]<int... K>(std::integer_sequence<int, K...>)
        FIRSTSPIKE_ALWAYS_INLINE { (body(K), ...); }(std::make_integer_sequence<int, N>{});
}

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float VecUnaligned __attribute__((vector_size(kLanes * 4), aligned(4)));
typedef uint32_t Words __attribute__((vector_size(kLanes * 4), aligned(4)));
typedef int32_t Ints __attribute__((vector_size(kLanes * 4), aligned(4)));

inline Vec splat(float x) { return Vec{} + x; }
inline Vec load(const float* p) { return *reinterpret_cast<const VecUnaligned*>(p); }
inline Ints load(const int32_t* p) { return *reinterpret_cast<const Ints*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<VecUnaligned*>(p) = v; }

// The mask of the first `count` lanes, at most kLanes of them.
inline uint32_t first_lanes(int64_t count) { return count >= kLanes ? (1u << kLanes) - 1 : count > 0 ? (1u << count) - 1 : 0; }

// Bit i is set where a[i] > b[i].
inline uint32_t mask_greater(Vec a, Vec b) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
#elif defined(__AVX2__)
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
#elif defined(__SSE2__)
    return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpgt_ps(a, b)));
#else
    uint32_t mask = 0;
    for (int i = 0; i < kLanes; ++i) mask |= static_cast<uint32_t>(a[i] > b[i]) << i;
    return mask;
#endif
}

// Bit i is set where a[i] >= b[i].
inline uint32_t mask_reaches(Vec a, Vec b) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
#elif defined(__AVX2__)
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
#elif defined(__SSE2__)
    return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpge_ps(a, b)));
#else
    uint32_t mask = 0;
    for (int i = 0; i < kLanes; ++i) mask |= static_cast<uint32_t>(a[i] >= b[i]) << i;
    return mask;
#endif
}

// Whether any bit is set.
inline bool any(Words words) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask(reinterpret_cast<__m512i>(words), reinterpret_cast<__m512i>(words)) != 0;
#elif defined(__AVX2__)
    return _mm256_testz_si256(reinterpret_cast<__m256i>(words), reinterpret_cast<__m256i>(words)) == 0;
#else
    uint32_t bits = 0;
    for (int i = 0; i < kLanes; ++i) bits |= words[i];
    return bits != 0;
#endif
}

// The larger one; b where a is NaN.
inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }

inline Vec absolute(Vec v) {
    typedef uint32_t Bits __attribute__((vector_size(kLanes * 4)));
    return reinterpret_cast<Vec>(reinterpret_cast<Bits>(v) & 0x7fffffffu);
}

// All bits of lane i are set where bit i of the mask is.
inline Words lanes_of(uint32_t mask) {
    Words bit;
    for (int i = 0; i < kLanes; ++i) bit[i] = 1u << i;
    return reinterpret_cast<Words>(((Words{} + mask) & bit) != 0);
}

// Where a mask bit is set, `on`, else `off`.
inline Vec choose(uint32_t mask, Vec on, Vec off) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    return _mm512_mask_blend_ps(static_cast<__mmask16>(mask), off, on);
#else
    return lanes_of(mask) ? on : off;
#endif
}

inline Words choose(uint32_t mask, Words on, Words off) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    return reinterpret_cast<Words>(
        _mm512_mask_blend_epi32(static_cast<__mmask16>(mask), reinterpret_cast<__m512i>(off), reinterpret_cast<__m512i>(on)));
#else
    return lanes_of(mask) ? on : off;
#endif
}

#if defined(__AVX2__) && !(defined(__AVX512F__) && defined(__AVX512BW__))
// For each mask of eight lanes a number per lane, a byte each, the first lane's in the lowest.
using BytesOfLanes = std::array<uint64_t, 256>;

// The chosen lanes, in their order.
inline constexpr BytesOfLanes kChosenLanes = [] {
    BytesOfLanes orders{};
    for (uint32_t mask = 0; mask < 256; ++mask)
        for (uint64_t lane = 0, n = 0; lane < 8; ++lane)
            if (mask >> lane & 1) orders[mask] |= lane << 8 * n++;
    return orders;
}();

// Of each lane the number of chosen lanes before it.
inline constexpr BytesOfLanes kLanesBefore = [] {
    BytesOfLanes ranks{};
    for (uint32_t mask = 0; mask < 256; ++mask)
        for (int lane = 0; lane < 8; ++lane)
            ranks[mask] |= static_cast<uint64_t>(std::popcount(mask & ((1u << lane) - 1))) << 8 * lane;
    return ranks;
}();

// Value places[i] in lane i.
inline Vec permute(Vec values, uint64_t places) {
    return _mm256_permutevar8x32_ps(values, _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(places))));
}
#endif

// Appends the chosen lanes' values, and their numbers plus `first`, and returns how many; may write a whole vector of each. It
// has no branch, for which lanes are chosen is poorly predicted.
inline int append_lanes(uint32_t mask, Vec values, int first, float* value_out, uint8_t* lane_out) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    const __m512i lanes =
        _mm512_add_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi32(first));
    const __mmask16 chosen = static_cast<__mmask16>(mask);
    _mm512_storeu_ps(value_out, _mm512_maskz_compress_ps(chosen, values));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(lane_out), _mm512_cvtepi32_epi8(_mm512_maskz_compress_epi32(chosen, lanes)));
    return __builtin_popcount(mask);
#elif defined(__AVX2__)
    store(value_out, permute(values, kChosenLanes[mask]));
    const uint64_t lanes = kChosenLanes[mask] + static_cast<uint64_t>(first) * 0x0101010101010101u;
    std::memcpy(lane_out, &lanes, sizeof lanes);
    return __builtin_popcount(mask);
#else
    int n = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
        value_out[n] = values[lane];
        lane_out[n] = static_cast<uint8_t>(first + lane);
        n += static_cast<int>(mask >> lane & 1);
    }
    return n;
#endif
}

// The first `count` values, at most kLanes of them, and zeros; reads nothing behind them.
inline Vec load_some(const float* p, int64_t count) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>(first_lanes(count)), p);
#elif defined(__AVX2__)
    return _mm256_maskload_ps(p, reinterpret_cast<__m256i>(lanes_of(first_lanes(count))));
#else
    if (count >= kLanes) return load(p);
    Vec v{};
    for (int i = 0; i < count; ++i) v[i] = p[i];
    return v;
#endif
}

// vector(i, n) for the values from i on, n of them, in order; what it returns is written to `out`.
template <class Vector>
FIRSTSPIKE_INLINE void write_vectors(float* out, int64_t size, Vector&& vector) {
    int64_t i = 0;
    for (; i + kLanes <= size; i += kLanes) store(out + i, vector(i, int64_t{kLanes}));
    if (i == size) return;
    const Vec last = vector(i, size - i);
    std::memcpy(out + i, &last, static_cast<size_t>(size - i) * sizeof(float));
}

// Hands the next values out to the chosen lanes, one each in their order, and zeros to the others; may read a whole vector.
inline Vec expand_lanes(uint32_t mask, const float* p) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    return _mm512_maskz_expand_ps(static_cast<__mmask16>(mask), load(p));
#elif defined(__AVX2__)
    return lanes_of(mask) ? permute(load(p), kLanesBefore[mask]) : Vec{};
#else
    Vec v{};
    for (int lane = 0; lane < kLanes; ++lane) {
        v[lane] = *p;
        p += mask >> lane & 1;
    }
    return lanes_of(mask) ? v : Vec{};
#endif
}

// Transposes a square of vectors in registers: in stage s, s x s blocks change places.
template <int kStage = 1>
inline void transpose(Vec (&square)[kLanes]) {
    typedef int32_t Order __attribute__((vector_size(kLanes * 4)));
    Order low, high;
    for (int i = 0; i < kLanes; ++i) {
        low[i] = i & kStage ? kLanes + i - kStage : i;
        high[i] = i & kStage ? kLanes + i : i + kStage;
    }
    for (int i = 0; i < kLanes; ++i) {
        if (i & kStage) continue;
        const Vec a = square[i], b = square[i | kStage];
#if defined(__clang__)
        for (int k = 0; k < kLanes; ++k) {
            square[i][k] = low[k] < kLanes ? a[low[k] & (kLanes - 1)] : b[low[k] & (kLanes - 1)];
            square[i | kStage][k] = high[k] < kLanes ? a[high[k] & (kLanes - 1)] : b[high[k] & (kLanes - 1)];
        }
#else
        square[i] = __builtin_shuffle(a, b, low);
        square[i | kStage] = __builtin_shuffle(a, b, high);
#endif
    }
    if constexpr (kStage * 2 < kLanes) transpose<kStage * 2>(square);
}

}  // namespace firstspike
