// Walks over the spikes among some times: most neurons are silent, and a vector of times is tested at once.
#pragma once

#include "vector.h"

namespace firstspike {

// Calls f(i) for each i < count with bytes[i] < limit, in order; limit is at least 1.
template <class F>
FIRSTSPIKE_INLINE void each_below(const uint8_t* bytes, int64_t count, int limit, F&& f) {
    int64_t i = 0;
#if defined(__AVX512F__) && defined(__AVX512BW__)
    for (; i < count; i += 64) {
        const uint64_t first = count - i < 64 ? (uint64_t{1} << (count - i)) - 1 : ~uint64_t{0};
        uint64_t mask = _mm512_mask_cmplt_epu8_mask(first, _mm512_maskz_loadu_epi8(first, bytes + i),
                                                    _mm512_set1_epi8(static_cast<char>(limit)));
        for (; mask; mask &= mask - 1) f(i + __builtin_ctzll(mask));
    }
#elif defined(__SSE2__)
    for (; i + 16 <= count; i += 16) {
        const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i));
        const __m128i most = _mm_set1_epi8(static_cast<char>(limit - 1));
        auto mask = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(part, most), part)));
        for (; mask; mask &= mask - 1) f(i + __builtin_ctz(mask));
    }
#endif
    for (; i < count; ++i)
        if (bytes[i] < limit) f(i);
}

}  // namespace firstspike
