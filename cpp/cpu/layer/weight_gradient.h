// dL/dW and dL/dbias of a layer: what its three algorithms share.
//
// dW[o, j] = sum over samples and sites of D[o, time of j], where D[o, t] is the gradient that a current of step t receives: it
// changes only at the steps of the support entries. So a site's D is a few distinct vectors of a tile's width and a table from
// steps to them (current_gradient.h), and a weight row's gradient is the sum of the vectors that its input spikes point at: one
// addition per spike, whatever the number of steps.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "../simd/bytes.h"
#include "plan.h"
#include "sums.h"
#include "synapses.h"

namespace firstspike {

// The spikes of each channel of a line of cells, as cell * steps + step; for a layer with one site, the spikes of each weight
// row, as sample * steps + step.
class SpikesByChannel {
 public:
    SpikesByChannel(int64_t steps, int64_t lists, int64_t most, bool cells = false)  // cells: it gets add_cell
        : steps_(steps), most_(most), codes_(lists * most), together_(cells ? lists * most : 0), count_(lists) {}

    void clear(int64_t lists) { std::fill_n(count_.data(), lists, 0u); }

    // Adds the units of one pixel: channel c goes to the list list_of(c).
    template <class ListOf>
    void add(const uint8_t* times, int64_t channels, int64_t position, ListOf&& list_of) {
        const auto steps = static_cast<uint32_t>(steps_);
        const uint32_t code = static_cast<uint32_t>(position) * steps;
        each_below(times, channels, static_cast<int>(steps), [&](int64_t c) {
            const int64_t list = list_of(c);
            codes_[list * most_ + count_[list]++] = code + times[c];
        });
    }

    // Adds a cell of 2 x 2 units, apart by so much in memory: channel c goes to list c. Units that fire in the same step are one
    // spike; together() has their number.
    void add_cell(const uint8_t* times, int64_t across, int64_t down, int64_t channels, int64_t position) {
        const uint8_t* const units[4] = {times, times + across, times + down, times + down + across};
        const auto code = static_cast<uint32_t>(position * steps_);
        for (int64_t first = 0; first < channels; first += 64) {
            const int64_t count = std::min<int64_t>(64, channels - first);
            uint64_t same[4][4];  // of the units k and j above k
            for (int k = 0; k < 4; ++k)
                for (int j = k + 1; j < 4; ++j) same[k][j] = mask_same(units[k] + first, units[j] + first, count);
            const uint64_t before[4] = {0, same[0][1], same[0][2] | same[1][2], same[0][3] | same[1][3] | same[2][3]};
            for (int k = 0; k < 4; ++k) {
                uint64_t lanes = mask_below(units[k] + first, count, static_cast<int>(steps_)) & ~before[k];
                for (; lanes; lanes &= lanes - 1) {
                    const int c = std::countr_zero(lanes);
                    uint64_t number = 1;
                    for (int j = k + 1; j < 4; ++j) number += same[k][j] >> c & 1;
                    const int64_t list = first + c, at = list * most_ + count_[list]++;
                    codes_[at] = code + units[k][first + c];
                    together_[at] = static_cast<float>(number);
                }
            }
        }
    }

    // Of the lists [from, to) those that are not empty, the shortest first; of equal ones the first in order.
    std::vector<uint32_t> by_length(int64_t from, int64_t to) const {
        std::vector<uint32_t> next(static_cast<size_t>(most_) + 1), order;
        for (int64_t i = from; i < to; ++i) ++next[count_[i]];
        uint32_t before = 0;
        for (size_t length = 1; length < next.size(); ++length) before += std::exchange(next[length], before);
        order.resize(before);
        for (int64_t i = from; i < to; ++i)
            if (count_[i] > 0) order[next[count_[i]]++] = static_cast<uint32_t>(i);
        return order;
    }

    const uint32_t* begin(int64_t list) const { return codes_.data() + list * most_; }
    const float* together(int64_t list) const { return together_.capacity() ? together_.data() + list * most_ : nullptr; }
    int64_t count(int64_t list) const { return count_[list]; }

 private:
    int64_t steps_, most_;
    Buffer<uint32_t> codes_;
    Buffer<float> together_;
    Buffer<uint32_t> count_;
};

// Adds the values of D that the spikes point at, for G neighbouring taps at once: the sums of tap g lie at sum + g * tap_stride,
// and its table, or its dense values, are those before tap g - 1's by a position. together: how often each spike counts.
template <int N, int G, bool kDense = false, bool kTogether = false>
inline void gather(float* sum, int64_t tap_stride, const float* values, const uint32_t* table, int64_t steps,
                   const uint32_t* spike, int64_t count, const float* together = nullptr) {
    if (count == 0) return;
    Vec v[G * N];
    unrolled<G * N>(FIRSTSPIKE_BODY(n) { v[n] = load(sum + n / N * tap_stride + n % N * kLanes); });
    accumulate<G * N>(v, count, [&](Vec(&to)[G * N], int64_t i) FIRSTSPIKE_ALWAYS_INLINE {
        unrolled<G>(FIRSTSPIKE_BODY(g) {
            const int64_t at = static_cast<int64_t>(spike[i]) - g * steps;
            const float* d = values + (kDense ? at * N * kLanes : table[at]);
            if constexpr (kTogether) {
                const Vec number = splat(together[i]);
                unrolled<N>(FIRSTSPIKE_BODY(k) { to[g * N + k] += load(d + k * kLanes) * number; });
            } else {
                unrolled<N>(FIRSTSPIKE_BODY(k) { to[g * N + k] += load(d + k * kLanes); });
            }
        });
    });
    unrolled<G * N>(FIRSTSPIKE_BODY(n) { store(sum + n / N * tap_stride + n % N * kLanes, v[n]); });
}

// Writes the sums of the channels [first, end) of a tile, of which `sum` has so many per tap, into the weight's gradient.
void write_weight_gradient(const Layer&, const WeightView& shape, int64_t tile, int64_t first, int64_t end, const float* sum,
                           int64_t channels, float* gradient);
// Adds up the parts of dL/dbias, [parts, padded outputs], unless `gradient` is null.
void write_bias_gradient(const Layer&, const Buffer<double>& sums, int64_t parts, float* gradient);

// weight_gradient_linear.cpp, weight_gradient_conv.cpp, weight_gradient_small_field.cpp
void linear_weight_gradient(const Synapses&, const Neuron&, const OutputGradient&, const WeightGradientPlan&,
                            const WeightView& shape, float* weight_gradient, float* bias_gradient);
void convolution_weight_gradient(const Synapses&, const Neuron&, const OutputGradient&, const WeightGradientPlan&,
                                 const WeightView& shape, float* weight_gradient, float* bias_gradient);
void small_field_weight_gradient(const Synapses&, const Neuron&, const OutputGradient&, const WeightGradientPlan&,
                                 const WeightView& shape, float* weight_gradient, float* bias_gradient);

}  // namespace firstspike
