// The entries of a group: where those of each step lie, and their `direct`.
#pragma once

#include <algorithm>

#include "../../core/support.h"
#include "../runtime/scratch.h"
#include "../simd/bytes.h"
#include "plan.h"

namespace firstspike {

// For the `count` entries of a group, the first of which has number `first`: until[t] is the number after the last entry of a
// step before t, for t from 0 to `steps`.
template <class Place>
inline void find_steps(Place* until, Place first, const uint8_t* step, int64_t count, int64_t steps) {
    if (steps <= kCompareEntries) {
        std::fill_n(until, steps + 1, first);
        count_below_each(step, count, static_cast<int>(steps), until);
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

// `direct` of vector k of a tile at a step: the values from `entries` on go to the tile's `lanes` that have an entry, in their
// order.
FIRSTSPIKE_INLINE Vec direct_of_lanes(uint64_t lanes, const float* entries, int k) {
    const uint64_t before = lanes & ((uint64_t{1} << (k * kLanes)) - 1);
    const auto mask = static_cast<uint32_t>(lanes >> (k * kLanes)) & ((1u << kLanes) - 1);
    return expand_lanes(mask, entries + __builtin_popcountll(before));
}

// The entries of a group, listed by step.
class EntriesByStep {
 public:
    void list(const OutputGradient& g, int64_t group, int64_t steps) {
        const int64_t from = g.support.offset[group], to = g.support.offset[group + 1];
        find_steps(until_, int64_t{0}, g.support.step + from, to - from, steps);
        lane_.reserve(to - from + kLanes);  // whole vectors are written, and read
        direct_.reserve(to - from + kLanes);
        std::copy_n(g.support.lane + from, to - from, lane_.data());
        for (int64_t e = from; e < to; e += kLanes) store(direct_.data() + (e - from), direct_at(g, e, to));
    }

    int64_t count(int64_t t) const { return until_[t + 1] - until_[t]; }
    // The lanes of the tile that have an entry at step t, as bits, ...
    uint64_t lanes(int64_t t) const { return bits_of(lane_.data() + until_[t], count(t)); }
    // ... and their `direct`, in this order.
    const float* direct(int64_t t) const { return direct_.data() + until_[t]; }

 private:
    Buffer<uint8_t> lane_;
    Buffer<float> direct_;
    int64_t until_[kMaxSteps + 1];
};

}  // namespace firstspike
