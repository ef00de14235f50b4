// Event lists: who fired in which step, in ascending order.
#pragma once

#include "isa.h"
#include "params.h"

namespace firstspike::emulator {
namespace FIRSTSPIKE_EMULATOR_ISA {

// Counting sort of one sample's input times (all below `steps`, or silent) into `out`; begin[] is filled up to `total`
// steps.
inline void bucket_events(const uint8_t* times, int sources, int total, const Events& out) {
    int32_t place[256] = {}, odd[256] = {};  // two counts, so that equal neighbours (silence) do not wait for each other
    for (int i = 0; i + 1 < sources; i += 2) ++place[times[i]], ++odd[times[i + 1]];
    if (sources % 2) ++place[times[sources - 1]];
    int32_t sum = 0;
    for (int t = 0; t < total; ++t) {
        out.begin[t] = sum;
        const int32_t count = place[t] + odd[t];
        place[t] = sum;
        sum += count;
    }
    out.begin[total] = sum;
    for (int i = 0; i < sources; ++i)
        if (times[i] != kSilent) out.index[place[times[i]]++] = i;
}

// A bit at the top of each byte of `word` that equals the byte repeated in `pattern`.
inline uint64_t equal_bytes(uint64_t word, uint64_t pattern) {
    constexpr uint64_t kLow = 0x7f7f7f7f7f7f7f7f;
    const uint64_t x = word ^ pattern;
    return ~(((x & kLow) + kLow) | x | kLow);
}

// Append the neurons whose time is t to the layer's events; returns how many. Padding has no time, so it never matches.
inline int32_t append_fired(const Layer& layer, const State& state, int t) {
    static_assert(kLanes % 8 == 0);
    const uint64_t pattern = 0x0101010101010101 * static_cast<uint64_t>(t);
    int32_t at = state.out.begin[t];
    for (int site = 0; site < layer.sites(); ++site) {
        const uint8_t* times = state.times + static_cast<int64_t>(site) * layer.padded;
        for (int c = 0; c < layer.padded; c += 8) {
            uint64_t word;
            __builtin_memcpy(&word, times + c, 8);
            if constexpr (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) word = __builtin_bswap64(word);
            for (uint64_t found = equal_bytes(word, pattern); found; found &= found - 1)
                state.out.index[at++] = site * layer.out_c + c + __builtin_ctzll(found) / 8;
        }
    }
    state.out.begin[t + 1] = at;
    return at - state.out.begin[t];
}

}  // namespace FIRSTSPIKE_EMULATOR_ISA
}  // namespace firstspike::emulator
