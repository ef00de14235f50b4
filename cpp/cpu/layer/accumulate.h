// Long sums in registers.
#pragma once

#include "tiles.h"

namespace firstspike {

// Partial sums ("chains") of N vectors each, so that an addition need not wait for the one before; the larger N, the fewer.
template <int N>
constexpr int kChains = N == 1   ? 4
                        : N <= 4 ? 2
                                 : 1;

// Calls add(sum, i) for i in [0, count), which adds the i-th summand, and adds all to v. The sums are locals: v's address is
// known elsewhere, and the compiler would write it back at every addition.
template <int N, class Add>
FIRSTSPIKE_INLINE void sum_in_chains(Vec (&v)[N], int64_t count, Add&& add) {
    constexpr int C = kChains<N>;
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
    sum_in_chains<N>(v, to - from, [&](Vec(&sum)[N], int64_t i) {
        const float* w = tile + static_cast<int64_t>(events.row(from + i)) * (N * kLanes);
        unrolled<N>(FIRSTSPIKE_BODY(k) { sum[k] += load(w + k * kLanes); });
    });
}

}  // namespace firstspike
