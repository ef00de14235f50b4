// Sums of weight rows over events: in registers, and in a scratch by position and step.
#pragma once

#include <algorithm>

#include "../runtime/scratch.h"
#include "plan.h"
#include "tiles.h"

namespace firstspike {

// Calls add(sum, i) for i in [0, count), which adds the i-th summand, and adds all to v. The sums are locals: v's address is
// known elsewhere, and the compiler would write it back at every addition.
template <int N, class Add>
FIRSTSPIKE_INLINE void accumulate(Vec (&v)[N], int64_t count, Add&& add) {
    constexpr int C = kAccumulators<N>;
    Vec sum[C][N];
    unrolled<N>(FIRSTSPIKE_BODY(k) { sum[0][k] = v[k]; });
    int64_t i = 0;
    if (count >= 2 * C) {
        unrolled<C - 1>(FIRSTSPIKE_BODY(c) { unrolled<N>(FIRSTSPIKE_BODY(k) { sum[c + 1][k] = Vec{}; }); });
        for (; i + C <= count; i += C) unrolled<C>(FIRSTSPIKE_BODY(c) { add(sum[c], i + c); });
        unrolled<C - 1>(FIRSTSPIKE_BODY(c) { unrolled<N>(FIRSTSPIKE_BODY(k) { sum[0][k] += sum[c + 1][k]; }); });
    }
    for (; i < count; ++i) add(sum[0], i);
    unrolled<N>(FIRSTSPIKE_BODY(k) { v[k] = sum[0][k]; });
}

// v += the weight rows of the events [from, to) of a list.
template <int N, class Events>
FIRSTSPIKE_INLINE void add_rows(Vec (&v)[N], const float* tile, const Events& events, int64_t from, int64_t to) {
    accumulate<N>(v, to - from, [&](Vec(&sum)[N], int64_t i) {
        const float* w = tile + static_cast<int64_t>(events.row(from + i)) * (N * kLanes);
        unrolled<N>(FIRSTSPIKE_BODY(k) { sum[k] += load(w + k * kLanes); });
    });
}

// Sums of weight rows over events, for some neighbouring positions (sites or cells) and every step: [position][step][N vectors].
//
// With G > 1 the events of one position and step go through neighbouring taps of a kernel row together, to as many neighbouring
// positions, in registers. A loop over some ten events then ends once where it would end three times, and its end is
// poorly predicted. Where the events of neighbouring positions lie one after another, one loop over all of them does as well
// (sum_taps in forward.cpp).
template <int N>
class StepSums {
 public:
    static constexpr int64_t kWidth = N * kLanes;
    static constexpr int64_t kMargin =
        kMostTaps - 1;  // positions of other blocks, or of none, that a run of taps reaches as well

    // The sums begin with `first` [N vectors], or with zeros.
    StepSums(int64_t positions, int64_t steps, Buffer<float>& scratch, const float* first = nullptr) : steps_(steps) {
        scratch.reserve(positions * steps * kWidth);
        sums_ = scratch.data();
        Vec begin[N] = {};
        unrolled<N>(FIRSTSPIKE_BODY(k) { begin[k] = first ? load(first + k * kLanes) : Vec{}; });
        for (int64_t i = 0; i < positions * steps; ++i)
            unrolled<N>(FIRSTSPIKE_BODY(k) { store(sums_ + i * kWidth + k * kLanes, begin[k]); });
    }

    float* at(int64_t position) { return sums_ + position * steps_ * kWidth; }

    // Adds some events of step t, at G neighbouring positions: add_row(sums, event) adds the event's row of each tap to its N
    // sums.
    template <int G, class AddRow>
    FIRSTSPIKE_INLINE void add(int64_t position, int64_t t, int64_t count, AddRow&& add_row) {
        float* sums = at(position) + t * kWidth;
        Vec v[G * N];
        unrolled<G * N>(FIRSTSPIKE_BODY(n) { v[n] = load(sums + n / N * steps_ * kWidth + n % N * kLanes); });
        accumulate<G * N>(v, count, add_row);
        unrolled<G * N>(FIRSTSPIKE_BODY(n) { store(sums + n / N * steps_ * kWidth + n % N * kLanes, v[n]); });
    }

 private:
    int64_t steps_;
    float* sums_;
};

}  // namespace firstspike
