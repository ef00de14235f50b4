// Bytes, such as spike times and the places of support entries, a vector at once.
#pragma once

#include <bit>

#include "vector.h"

namespace firstspike {

// The first `count` bytes, at most kLanes of them, each as a word, and zeros; reads nothing behind them.
inline Words widen_some(const uint8_t* p, int64_t count) {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
    const auto first = static_cast<__mmask16>(first_lanes(count));
    return reinterpret_cast<Words>(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first, p)));
#else
    Words words{};
    for (int i = 0; i < kLanes && i < count; ++i) words[i] = p[i];
    return words;
#endif
}

// Writes the first `count` words, at most kLanes of them, as bytes.
inline void narrow_some(uint8_t* out, Words words, int64_t count) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    const __m128i bytes = _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(words));
    if (count >= kLanes) return _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    std::memcpy(out, &bytes, static_cast<size_t>(count));
#else
    for (int i = 0; i < kLanes && i < count; ++i) out[i] = static_cast<uint8_t>(words[i]);
#endif
}

// The numbers, each below 64, as bits of a word; reads nothing behind them.
inline uint64_t bits_of(const uint8_t* numbers, int64_t count) {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
    __m512i words = _mm512_setzero_si512();
    for (int64_t i = 0; i < count; i += 8) {
        const auto first = static_cast<__mmask8>(count - i < 8 ? (1u << (count - i)) - 1 : 0xffu);
        const __m512i shifts = _mm512_cvtepu8_epi64(_mm_maskz_loadu_epi8(first, numbers + i));
        words = _mm512_or_epi64(words, _mm512_maskz_sllv_epi64(first, _mm512_set1_epi64(1), shifts));
    }
    return static_cast<uint64_t>(_mm512_reduce_or_epi64(words));
#else
    uint64_t bits = 0;
    for (int64_t i = 0; i < count; ++i) bits |= uint64_t{1} << numbers[i];
    return bits;
#endif
}

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

// Bit i is set where bytes[i] < limit, for i below `count` and 64; limit is at least 1. Reads nothing behind them.
FIRSTSPIKE_INLINE uint64_t mask_below(const uint8_t* bytes, int64_t count, int limit) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
    const uint64_t first = count < 64 ? (uint64_t{1} << count) - 1 : ~uint64_t{0};
    return _mm512_mask_cmplt_epu8_mask(first, _mm512_maskz_loadu_epi8(first, bytes), _mm512_set1_epi8(static_cast<char>(limit)));
#else
    uint64_t mask = 0;
    int64_t i = 0;
#if defined(__SSE2__)
    for (; i + 16 <= count && i < 64; i += 16) {
        const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i));
        const __m128i most = _mm_set1_epi8(static_cast<char>(limit - 1));
        const auto below = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(part, most), part)));
        mask |= static_cast<uint64_t>(below) << i;
    }
#endif
    for (; i < count && i < 64; ++i) mask |= static_cast<uint64_t>(bytes[i] < limit) << i;
    return mask;
#endif
}

// Calls f(i) for each i < count with bytes[i] < limit, in order.
template <class F>
FIRSTSPIKE_INLINE void each_below(const uint8_t* bytes, int64_t count, int limit, F&& f) {
    for (int64_t i = 0; i < count; i += 64)
        for (uint64_t mask = mask_below(bytes + i, count - i, limit); mask; mask &= mask - 1) f(i + std::countr_zero(mask));
}

inline int64_t count_below(const uint8_t* bytes, int64_t count, int limit) {
    int64_t n = 0;
    for (int64_t i = 0; i < count; i += 64) n += std::popcount(mask_below(bytes + i, count - i, limit));
    return n;
}

}  // namespace firstspike
