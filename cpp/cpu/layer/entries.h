// Support entries as the gradients read them: where each step's lie, their `direct`, and tables read at their steps and
// lanes.
#pragma once

#include <algorithm>

#include "../../core/layer.h"
#include "../../core/support.h"
#include "../runtime/scratch.h"
#include "../simd/bytes.h"
#include "plan.h"

namespace firstspike {

// For the `count` entries of a group, the first of which has number `first`: until[t] is the number after the last entry of a
// step before t, for t from 0 to `steps`.
template <class Index>
inline void find_steps(Index* until, Index first, const uint8_t* step, int64_t count, int64_t steps) {
    if (steps <= kCompareEntries) {
        std::fill_n(until, steps + 1, first);
        count_below_each(step, count, static_cast<int>(steps), until);
        return;
    }
    std::fill_n(until, steps + 1, first);
    for (int64_t e = 0; e < count; ++e) until[step[e] + 1] = first + static_cast<Index>(e + 1);
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

// Of each list and step: rows of the transposed panel, and what to multiply them with.
class DirectByStep {
 public:
    // Room for lists of the groups (tiles of neurons at sites) from `first` to `end`; none is listed yet.
    void start(const Layer& l, const OutputGradient& g, int64_t first, int64_t end) {
        const int64_t count = g.support.offset[end] - g.support.offset[first];
        steps_ = l.steps;
        used_ = 0;
        row_.reserve(count + kLanes);
        value_.reserve(count + kLanes);
        begin_.reserve((end - first) * (steps_ + 1));
    }

    // List i: the entries of some neighbouring groups, the tiles of a site, each sorted by step already.
    void list(const OutputGradient& g, int64_t group, int64_t tiles, int64_t i) {
        const int64_t* offset = g.support.offset + group;
        uint32_t* begin = begin_.data() + i * (steps_ + 1);
        if (tiles == 1) {
            find_steps(begin, used_, g.support.step + offset[0], offset[1] - offset[0], steps_);
            copy(g, offset[0], offset[1], 0);
            return;
        }
        until_.reserve(tiles * (steps_ + 1));
        for (int64_t tile = 0; tile < tiles; ++tile)
            find_steps(until_.data() + tile * (steps_ + 1), offset[tile], g.support.step + offset[tile],
                       offset[tile + 1] - offset[tile], steps_);
        for (int64_t t = 0; t < steps_; ++t) {
            begin[t] = used_;
            for (int64_t tile = 0; tile < tiles; ++tile) {
                const int64_t* until = until_.data() + tile * (steps_ + 1);
                copy(g, until[t], until[t + 1], static_cast<uint32_t>(tile * kTile));
            }
        }
        begin[steps_] = used_;
    }

    // The first step of list i that has an entry; without any, the number of steps.
    int64_t first_step(int64_t i) const {
        int64_t t = 0;
        while (t < steps_ && count(i, t) == 0) ++t;
        return t;
    }
    int64_t count(int64_t i, int64_t t) const { return begin(i)[t + 1] - begin(i)[t]; }
    const uint32_t* rows(int64_t i, int64_t t) const { return row_.data() + begin(i)[t]; }
    const float* values(int64_t i, int64_t t) const { return value_.data() + begin(i)[t]; }

 private:
    const uint32_t* begin(int64_t i) const { return begin_.data() + i * (steps_ + 1); }

    // Vectors are written whole; what is too much comes to lie under the next.
    void copy(const OutputGradient& g, int64_t from, int64_t to, uint32_t first_row) {
        for (int64_t e = from; e < to; e += kLanes) {
            const int64_t at = used_ + (e - from);
            *reinterpret_cast<Words*>(row_.data() + at) = widen_some(g.support.lane + e, to - e) + first_row;
            store(value_.data() + at, direct_at(g, e, to));
        }
        used_ += static_cast<uint32_t>(to - from);
    }

    int64_t steps_ = 0;
    uint32_t used_ = 0;
    Buffer<uint32_t> row_, begin_;
    Buffer<float> value_;
    Buffer<int64_t> until_;
};

// Reads a table at support entries: out[i] = table[step[i] - first_step, lane[i]] for i < count, of a table of `kWidth` values
// per step; its first step holds for earlier steps too.
template <int kWidth>
inline void pick(float* out, const float* table, const uint8_t* step, const uint8_t* lane, int64_t count, int first_step) {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
    for (int64_t i = 0; i < count; i += kLanes) {
        const auto first = static_cast<__mmask16>(count - i < kLanes ? (1u << (count - i)) - 1 : 0xffffu);
        const Words at = widen_some(step + i, count - i), from = Words{} + static_cast<uint32_t>(first_step);
        const Words index = (at > from ? at - from : Words{}) * kWidth + widen_some(lane + i, count - i);
        _mm512_mask_storeu_ps(out + i, first, _mm512_mask_i32gather_ps(Vec{}, first, reinterpret_cast<__m512i>(index), table, 4));
    }
#else
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
        const Words at = widen_some(step + i, kLanes), from = Words{} + static_cast<uint32_t>(first_step);
        const Words index = (at > from ? at - from : Words{}) * kWidth + widen_some(lane + i, kLanes);
        unrolled<kLanes>(FIRSTSPIKE_BODY(k) { out[i + k] = table[index[k]]; });
    }
    for (; i < count; ++i) out[i] = table[std::max(step[i] - first_step, 0) * kWidth + lane[i]];
#endif
}

}  // namespace firstspike
