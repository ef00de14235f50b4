// Sums of rows in registers.
#pragma once

#include "tiles.h"

namespace firstspike {

// Sums of N vectors kept apart so that an addition need not wait for the one before: the more, the fewer they are.
template <int N>
constexpr int kChains = N == 1           ? 4
                        : N <= kTileVecs ? 2
                                         : 1;

// Calls row(sum, i) for i in [0, count), which adds a row of weights, and adds all to v. The sums are locals: v's address is
// known elsewhere, and the compiler would write it back at every addition.
template <int N, class Row>
FIRSTSPIKE_INLINE void add_rows(Vec (&v)[N], int64_t count, Row&& row) {
    constexpr int C = kChains<N>;
    Vec sum[C][N];
    unrolled<N>(FIRSTSPIKE_BODY(k) { sum[0][k] = v[k]; });
    int64_t i = 0;
    if (count >= 2 * C) {
        unrolled<C - 1>(FIRSTSPIKE_BODY(c) { unrolled<N>(FIRSTSPIKE_BODY(k) { sum[c + 1][k] = Vec{}; }); });
        for (; i + C <= count; i += C) unrolled<C>(FIRSTSPIKE_BODY(c) { row(sum[c], i + c); });
        unrolled<C - 1>(FIRSTSPIKE_BODY(c) { unrolled<N>(FIRSTSPIKE_BODY(k) { sum[0][k] += sum[c + 1][k]; }); });
    }
    for (; i < count; ++i) row(sum[0], i);
    unrolled<N>(FIRSTSPIKE_BODY(k) { v[k] = sum[0][k]; });
}

// v += the weight rows of some events.
template <int N>
FIRSTSPIKE_INLINE void add_rows(Vec (&v)[N], const float* tile, const uint32_t* event, int64_t count) {
    add_rows<N>(v, count, [&](Vec(&sum)[N], int64_t i) {
        const float* w = tile + static_cast<int64_t>(event[i]) * (N * kLanes);
        unrolled<N>(FIRSTSPIKE_BODY(k) { sum[k] += load(w + k * kLanes); });
    });
}

}  // namespace firstspike
