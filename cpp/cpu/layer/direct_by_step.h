// `direct` at the support entries by step, for the product with the transposed weights.
#pragma once

#include <algorithm>

#include "../../core/layer.h"
#include "../runtime/scratch.h"
#include "entries_by_step.h"

namespace firstspike {

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

}  // namespace firstspike
