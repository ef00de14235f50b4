// Which spikes dropout keeps: a function of a seed and a neuron's place, so that every pass, device and number of threads drops
// the same spikes and no mask is stored.
#pragma once

#include <cstdint>

#include "macros.h"

namespace firstspike {

struct DropoutMask {
    uint64_t seed;
    uint32_t keep;  // of 65536 spikes, this many are kept on average
};

constexpr int kLevelsPerDraw = 4;  // neighbouring channels that share one 64-bit draw, 16 bits each

// The random levels of the channels 4 `quad` to 4 `quad` + 3 of a site, the first in the lowest bits: the numbers of SplitMix64
// (Steele, Lea and Flood 2014), read out of order.
FIRSTSPIKE_HOST_DEVICE inline uint64_t draw_levels(uint64_t seed, int64_t site, int64_t channels, int64_t quad) {
    const int64_t quads = (channels + kLevelsPerDraw - 1) / kLevelsPerDraw;
    uint64_t x = seed + 0x9e3779b97f4a7c15u * static_cast<uint64_t>(site * quads + quad + 1);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

// Whether a channel's spike is kept.
FIRSTSPIKE_HOST_DEVICE inline bool keeps(uint64_t levels, int64_t channel, uint32_t keep) {
    return ((levels >> (16 * (channel % kLevelsPerDraw))) & 0xffff) < keep;
}

}  // namespace firstspike
