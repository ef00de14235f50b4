// Times below a limit: most neurons are silent, and a vector of times is tested at once.
#pragma once

#include <bit>

#include "vector.h"

namespace firstspike {

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
