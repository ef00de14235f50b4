// Sums of weight rows over events, for a row of neighbouring places and every step: [place][step][N vectors].
//
// With G > 1 the events of one place and step go through neighbouring taps of a kernel row together, to as many neighbouring
// places, in registers. A loop over some ten events then ends once where it would end three times, and its end is what the
// processor foresees badly. Where the events of neighbouring places lie in a row, one loop over all of them does as well
// (layer/tap_sums.h).
#pragma once

#include <algorithm>

#include "../runtime/scratch.h"
#include "accumulate.h"

namespace firstspike {

constexpr int64_t kSumsInL2 = 131072;  // bytes of L2 for a block of places

// How many neighbouring taps, each with so many weights, go together; at most `most`.
inline int64_t taps_together(int64_t weights, int64_t most) {
    constexpr int64_t kWeightsInL1 = 24576;  // bytes
    return std::clamp<int64_t>(kWeightsInL1 / (weights * 4), 1, most);
}

// Calls f with a number of taps as a compile-time constant.
template <class F>
inline void with_taps(int64_t taps, F&& f) {
    switch (taps) {
        case 1: f(std::integral_constant<int, 1>{}); break;
        case 2: f(std::integral_constant<int, 2>{}); break;
        default: f(std::integral_constant<int, kMostTaps>{}); break;
    }
}

template <int N>
class StepSums {
 public:
    static constexpr int64_t kWidth = N * kLanes;
    static constexpr int64_t kMargin = kMostTaps - 1;  // places of other blocks, or of none, that a run of taps reaches as well

    // The sums begin with `first` [N vectors], or with zeros.
    StepSums(int64_t places, int64_t steps, Buffer<float>& scratch, const float* first = nullptr) : steps_(steps) {
        scratch.reserve(places * steps * kWidth);
        sums_ = scratch.data();
        Vec row[N] = {};
        for (int k = 0; k < N && first; ++k) row[k] = load(first + k * kLanes);
        for (int64_t i = 0; i < places * steps; ++i)
            for (int k = 0; k < N; ++k) store(sums_ + i * kWidth + k * kLanes, row[k]);
    }

    // At most so many places of all, so that they lie in L2.
    static int64_t block(int64_t steps) { return std::max<int64_t>(8, kSumsInL2 / (steps * kWidth * 4)); }

    float* at(int64_t place) { return sums_ + place * steps_ * kWidth; }

    // Adds some events of step t, at G neighbouring places: row(sums, event) adds the event's row of each tap to its N sums.
    template <int G, class Row>
    FIRSTSPIKE_INLINE void add(int64_t place, int64_t t, int64_t count, Row&& row) {
        float* sums = at(place) + t * kWidth;
        Vec v[G * N];
        for (int n = 0; n < G * N; ++n) v[n] = load(sums + n / N * steps_ * kWidth + n % N * kLanes);
        add_rows<G * N>(v, count, row);
        for (int n = 0; n < G * N; ++n) store(sums + n / N * steps_ * kWidth + n % N * kLanes, v[n]);
    }

 private:
    int64_t steps_;
    float* sums_;
};

}  // namespace firstspike
