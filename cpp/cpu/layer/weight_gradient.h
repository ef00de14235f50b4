// dL/dW and dL/dbias of a layer: what its three algorithms share.
//
// dW[o, j] = sum over samples and sites of D[o, time of j], where D[o, t] is the gradient that a current of step t receives: it
// changes only at the steps of the support entries. So a site's D is a few distinct vectors of a tile's width and a table from
// steps to them (current_gradient.h), and a weight row's gradient is the sum of the vectors that its input spikes point at: one
// addition per spike, whatever the number of steps.
#pragma once

#include "plan_facts.h"
#include "sums.h"
#include "synapses.h"

namespace firstspike {

// Adds the values of D that the spikes point at, for G neighbouring taps at once: the sums of tap g lie at sum + g * tap_stride,
// and its table is the one before tap g - 1's by a position.
template <int N, int G>
inline void gather(float* sum, int64_t tap_stride, const float* values, const uint32_t* table, int64_t steps,
                   const uint32_t* spike, int64_t count) {
    if (count == 0) return;
    Vec v[G * N];
    unrolled<G * N>(FIRSTSPIKE_BODY(n) { v[n] = load(sum + n / N * tap_stride + n % N * kLanes); });
    accumulate<G * N>(v, count, [&](Vec(&to)[G * N], int64_t i) {
        unrolled<G>(FIRSTSPIKE_BODY(g) {
            const float* d = values + table[static_cast<int64_t>(spike[i]) - g * steps];
            unrolled<N>(FIRSTSPIKE_BODY(k) { to[g * N + k] += load(d + k * kLanes); });
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
