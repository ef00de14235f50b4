// Bytes, such as spike times and the places of support entries, a vector at once.
#pragma once

#include <algorithm>
#include <bit>

#include "vector.h"

namespace firstspike {

typedef uint8_t Bytes __attribute__((vector_size(kLanes)));

// The first `count` bytes, at most kLanes of them, each as a word, and zeros; reads nothing behind them.
inline Words widen_some(const uint8_t* p, int64_t count) {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
    const auto first = static_cast<__mmask16>(first_lanes(count));
    return reinterpret_cast<Words>(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first, p)));
#else
    Bytes bytes{};
    if (count < kLanes)
        for (int i = 0; i < count; ++i) bytes[i] = p[i];
    else
#if defined(__AVX2__)  // compilers make many instructions of the conversion
        return reinterpret_cast<Words>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
        std::memcpy(&bytes, p, sizeof bytes);
#endif
    return __builtin_convertvector(bytes, Words);
#endif
}

// Writes the first `count` words, at most kLanes of them, as bytes.
inline void narrow_some(uint8_t* out, Words words, int64_t count) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    const __m128i bytes = _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(words));
    if (count >= kLanes) return _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    std::memcpy(out, &bytes, static_cast<size_t>(count));
#else
    Bytes bytes;
#if defined(__AVX2__)  // compilers make many instructions of the conversion
    const __m256i first = _mm256_set1_epi32(0x0c080400);  // of each word, four to a half of the vector
    const __m256i halves = _mm256_shuffle_epi8(reinterpret_cast<__m256i>(words), first);
    const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(&bytes), both);
#else
    bytes = __builtin_convertvector(words, Bytes);
#endif
    if (count >= kLanes)
        std::memcpy(out, &bytes, sizeof bytes);
    else
        for (int i = 0; i < count; ++i) out[i] = bytes[i];
#endif
}

// The lanes of a tile, below 64, as bits of a word; may read eight bytes behind them.
inline uint64_t bits_of(const uint8_t* lanes, int64_t count) {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
    __m512i words = _mm512_setzero_si512();
    for (int64_t i = 0; i < count; i += 8) {
        const auto first = static_cast<__mmask8>(count - i < 8 ? (1u << (count - i)) - 1 : 0xffu);
        const __m512i shifts = _mm512_cvtepu8_epi64(_mm_maskz_loadu_epi8(first, lanes + i));
        words = _mm512_or_epi64(words, _mm512_maskz_sllv_epi64(first, _mm512_set1_epi64(1), shifts));
    }
    return static_cast<uint64_t>(_mm512_reduce_or_epi64(words));
#elif defined(__AVX2__)
    __m256i words = _mm256_setzero_si256();
    for (int64_t i = 0; i < count; i += 4) {
        int32_t four;
        std::memcpy(&four, lanes + i, sizeof four);
        const __m256i first = _mm256_cmpgt_epi64(_mm256_set1_epi64x(count - i), _mm256_setr_epi64x(0, 1, 2, 3));
        const __m256i bit = _mm256_sllv_epi64(_mm256_set1_epi64x(1), _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(four)));
        words = _mm256_or_si256(words, _mm256_and_si256(first, bit));
    }
    const __m128i two = _mm_or_si128(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    return static_cast<uint64_t>(_mm_cvtsi128_si64(two) | _mm_extract_epi64(two, 1));
#else
    uint64_t bits = 0;
    for (int64_t i = 0; i < count; ++i) bits |= uint64_t{1} << lanes[i];
    return bits;
#endif
}

#if defined(__SSE2__) && !(defined(__AVX512F__) && defined(__AVX512BW__))
// The first `count` bytes, at most 16 of them, and zeros; reads nothing behind them.
inline __m128i load_first(const uint8_t* p, int64_t count) {
    if (count >= 16) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const auto part = [&](auto bytes, int64_t at) -> uint64_t {  // the bytes from `at` on, in their place from byte 8 (at / 8) on
        std::memcpy(&bytes, p + at, sizeof bytes);
        return static_cast<uint64_t>(bytes) << 8 * (at % 8);
    };
    uint64_t low = 0, high = 0;
    if (count >= 8) {
        low = part(uint64_t{}, 0);
        uint64_t last;
        std::memcpy(&last, p + count - 8, sizeof last);
        high = last >> 1 >> (8 * (16 - count) - 1);
    } else if (count >= 4) {
        low = part(uint32_t{}, 0) | part(uint32_t{}, count - 4);
    } else if (count > 0) {
        low = part(uint8_t{}, 0) | part(uint8_t{}, count / 2) | part(uint8_t{}, count - 1);
    }
    return _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
}

// Bit i of 16 is set where byte i is at most `most`.
inline uint32_t mask_at_most(__m128i bytes, int most) {
    const __m128i lower = _mm_min_epu8(bytes, _mm_set1_epi8(static_cast<char>(most)));
    return static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(lower, bytes)));
}
#endif

// Bit i of 64 is set where bytes[i] == value.
inline uint64_t mask_equal_bytes(const uint8_t* bytes, uint8_t value) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(bytes), _mm512_set1_epi8(static_cast<char>(value)));
#elif defined(__SSE2__)
    const __m128i wanted = _mm_set1_epi8(static_cast<char>(value));
    uint64_t mask = 0;
    for (int i = 0; i < 4; ++i) {
        const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 16 * i));
        mask |= static_cast<uint64_t>(static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(part, wanted)))) << 16 * i;
    }
    return mask;
#else
    uint64_t mask = 0;
    for (int i = 0; i < 64; ++i) mask |= static_cast<uint64_t>(bytes[i] == value) << i;
    return mask;
#endif
}

// Bit i is set where a[i] == b[i], for i below `count`, at most 64. Reads nothing behind them.
inline uint64_t mask_same(const uint8_t* a, const uint8_t* b, int64_t count) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    const uint64_t first = count < 64 ? (uint64_t{1} << count) - 1 : ~uint64_t{0};
    return first & _mm512_cmpeq_epi8_mask(_mm512_maskz_loadu_epi8(first, a), _mm512_maskz_loadu_epi8(first, b));
#elif defined(__SSE2__)
    uint64_t mask = 0;
    for (int64_t i = 0; i < count; i += 16) {
        const __m128i same = _mm_cmpeq_epi8(load_first(a + i, count - i), load_first(b + i, count - i));
        mask |= static_cast<uint64_t>(static_cast<uint32_t>(_mm_movemask_epi8(same))) << i;
    }
    return mask;
#else
    uint64_t mask = 0;
    for (int i = 0; i < count; ++i) mask |= static_cast<uint64_t>(a[i] == b[i]) << i;
    return mask;
#endif
}

// Bit i is set where bytes[i] < limit, for i below `count` and 64; limit is at least 1. Reads nothing behind them.
FIRSTSPIKE_INLINE uint64_t mask_below(const uint8_t* bytes, int64_t count, int limit) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    const uint64_t first = count < 64 ? (uint64_t{1} << count) - 1 : ~uint64_t{0};
    return _mm512_mask_cmplt_epu8_mask(first, _mm512_maskz_loadu_epi8(first, bytes), _mm512_set1_epi8(static_cast<char>(limit)));
#else
    uint64_t mask = 0;
#if defined(__SSE2__)
    for (int64_t i = 0; i < count && i < 64; i += 16)
        mask |= static_cast<uint64_t>(mask_at_most(load_first(bytes + i, count - i), limit - 1)) << i;
    return count < 64 ? mask & ((uint64_t{1} << count) - 1) : mask;
#else
    for (int64_t i = 0; i < count && i < 64; ++i) mask |= static_cast<uint64_t>(bytes[i] < limit) << i;
    return mask;
#endif
#endif
}

// Calls f(i) for each i < count with bytes[i] < limit, in order.
template <class F>
FIRSTSPIKE_INLINE void each_below(const uint8_t* bytes, int64_t count, int limit, F&& f) {
    for (int64_t i = 0; i < count; i += 64)
        for (uint64_t mask = mask_below(bytes + i, count - i, limit); mask; mask &= mask - 1) f(i + std::countr_zero(mask));
}

// Adds to number[t], for each t from 1 to `most`, how many of the bytes are below t.
template <class Number>
inline void count_below_each(const uint8_t* bytes, int64_t count, int most, Number* number) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    for (int64_t i = 0; i < count; i += 64)
        for (int t = 1; t <= most; ++t) number[t] += static_cast<Number>(std::popcount(mask_below(bytes + i, count - i, t)));
#elif defined(__SSE2__)
    for (int64_t i = 0; i < count; i += 16) {
        const __m128i part = load_first(bytes + i, count - i);
        const uint32_t first = count - i < 16 ? (1u << (count - i)) - 1 : 0xffffu;
        for (int t = 1; t <= most; ++t) number[t] += static_cast<Number>(std::popcount(mask_at_most(part, t - 1) & first));
    }
#else
    for (int t = 1; t <= most; ++t)
        number[t] += static_cast<Number>(std::count_if(bytes, bytes + count, [&](uint8_t byte) { return byte < t; }));
#endif
}

}  // namespace firstspike
