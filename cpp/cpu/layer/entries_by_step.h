// The entries of a group: where those of each step lie, and their `direct`.
#pragma once

#include <algorithm>

#include "../../core/support.h"
#include "../runtime/scratch.h"
#include "../simd/bytes.h"
#include "plan.h"

namespace firstspike {

// Of the `count` entries of a group that starts at `first`, where those of each step end: until[t] is behind the steps before t,
// for t from 0 to `steps`.
template <class Place>
inline void find_steps(Place* until, Place first, const uint8_t* step, int64_t count, int64_t steps) {
    if (steps <= kCompareEntries) {
        until[0] = first;
        for (int t = 1; t <= steps; ++t) until[t] = first + static_cast<Place>(count_below(step, count, t));
        return;
    }
    std::fill_n(until, steps + 1, first);
    for (int64_t e = 0; e < count; ++e) until[step[e] + 1] = first + static_cast<Place>(e + 1);
    for (int64_t t = 0; t < steps; ++t) until[t + 1] = std::max(until[t + 1], until[t]);
}

// `direct` of the entries from e on, at most a vector of them, zeros from `end` on (docs/model.md, section "Backward pass").
inline Vec direct_at(const OutputGradient& g, int64_t e, int64_t end) {
    const Vec gradient = load_some(g.gradient + e, end - e);
    return g.slope ? gradient * load_some(g.slope + e, end - e) : gradient;
}

// `direct` of the entries [from, to) of a group into `direct`; a vector behind them may be read.
inline void list_direct(Buffer<float>& direct, const OutputGradient& g, int64_t from, int64_t to) {
    direct.reserve(to - from + kLanes);
    for (int64_t e = from; e < to; e += kLanes) store(direct.data() + (e - from), direct_at(g, e, to));
}

// `direct` of vector k of a tile at a step: the values from `entries` on go to the tile's `lanes` that have an entry, in their
// order.
FIRSTSPIKE_INLINE Vec direct_of_lanes(uint64_t lanes, const float* entries, int k) {
    const uint64_t before = lanes & ((uint64_t{1} << (k * kLanes)) - 1);
    const auto mask = static_cast<uint32_t>(lanes >> (k * kLanes)) & ((1u << kLanes) - 1);
    return expand_lanes(mask, entries + __builtin_popcountll(before));
}

}  // namespace firstspike
