// Reads a table at the places of support entries.
#pragma once

#include <algorithm>

#include "../simd/bytes.h"

namespace firstspike {

// out[i] = table[step[i] - first_step, lane[i]] for i < count, of a table of `kWidth` values per step; its first step holds for
// earlier steps too.
template <int kWidth>
inline void pick(float* out, const float* table, const uint8_t* step, const uint8_t* lane, int64_t count, int first_step) {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
    for (int64_t i = 0; i < count; i += kLanes) {
        const auto first = static_cast<__mmask16>(count - i < kLanes ? (1u << (count - i)) - 1 : 0xffffu);
        const Words at = widen_some(step + i, count - i), from = Words{} + static_cast<uint32_t>(first_step);
        const Words place = (at > from ? at - from : Words{}) * kWidth + widen_some(lane + i, count - i);
        _mm512_mask_storeu_ps(out + i, first, _mm512_mask_i32gather_ps(Vec{}, first, reinterpret_cast<__m512i>(place), table, 4));
    }
#else
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
        const Words at = widen_some(step + i, kLanes), from = Words{} + static_cast<uint32_t>(first_step);
        const Words place = (at > from ? at - from : Words{}) * kWidth + widen_some(lane + i, kLanes);
        unrolled<kLanes>(FIRSTSPIKE_BODY(k) { out[i + k] = table[place[k]]; });
    }
    for (; i < count; ++i) out[i] = table[std::max(step[i] - first_step, 0) * kWidth + lane[i]];
#endif
}

}  // namespace firstspike
