// Sums of weight rows over events, for some neighbouring places and every step: [place][step][N vectors].
//
// With G > 1 the events of one place and step go through neighbouring taps of a kernel row together, to as many neighbouring
// places, in registers. A loop over some ten events then ends once where it would end three times, and its end is
// poorly predicted. Where the events of neighbouring places lie one after another, one loop over all of them does as well
// (sum_taps in forward.cpp).
#pragma once

#include <algorithm>

#include "../runtime/scratch.h"
#include "accumulate.h"
#include "plan.h"

namespace firstspike {

template <int N>
class StepSums {
 public:
    static constexpr int64_t kWidth = N * kLanes;
    static constexpr int64_t kMargin = kMostTaps - 1;  // places of other blocks, or of none, that a run of taps reaches as well

    // The sums begin with `first` [N vectors], or with zeros.
    StepSums(int64_t places, int64_t steps, Buffer<float>& scratch, const float* first = nullptr) : steps_(steps) {
        scratch.reserve(places * steps * kWidth);
        sums_ = scratch.data();
        Vec begin[N] = {};
        unrolled<N>(FIRSTSPIKE_BODY(k) { begin[k] = first ? load(first + k * kLanes) : Vec{}; });
        for (int64_t i = 0; i < places * steps; ++i)
            unrolled<N>(FIRSTSPIKE_BODY(k) { store(sums_ + i * kWidth + k * kLanes, begin[k]); });
    }

    float* at(int64_t place) { return sums_ + place * steps_ * kWidth; }

    // Adds some events of step t, at G neighbouring places: add_row(sums, event) adds the event's row of each tap to its N sums.
    template <int G, class AddRow>
    FIRSTSPIKE_INLINE void add(int64_t place, int64_t t, int64_t count, AddRow&& add_row) {
        float* sums = at(place) + t * kWidth;
        Vec v[G * N];
        unrolled<G * N>(FIRSTSPIKE_BODY(n) { v[n] = load(sums + n / N * steps_ * kWidth + n % N * kLanes); });
        sum_in_chains<G * N>(v, count, add_row);
        unrolled<G * N>(FIRSTSPIKE_BODY(n) { store(sums + n / N * steps_ * kWidth + n % N * kLanes, v[n]); });
    }

 private:
    int64_t steps_;
    float* sums_;
};

}  // namespace firstspike
