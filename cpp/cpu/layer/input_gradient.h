// dL/ds of a layer's input: what its two algorithms share.
//
// h[j, t] = sum_o W[o, j] direct[o, t] and dL/ds[j, t] = h[t] + decay dL/ds[t+1] (docs/model.md, section "Backward pass").
// `direct` lives only at the support entries of the layer, and dL/ds is wanted only at those of the layer that made the input. So
// for a block of cells h is summed in a scratch that fits in L2, one tap after another so that a tap's weights stay in L1;
// then each cell walks its h from the last step to the first with one running sum, which is read where the producer has entries.
// Nothing of size steps x neurons outlives its block.
#pragma once

#include "direct_by_step.h"
#include "packed_transpose.h"
#include "pick.h"
#include "plan.h"
#include "step_sums.h"
#include "synapses.h"

namespace firstspike {

// The steps that h has: from the first at which there is an entry. Without a leak dL/ds is the same at all steps before.
struct Steps {
    int64_t first, end;

    int64_t number() const { return end - first; }
};

// Adds to h what list i of the events sends through G neighbouring taps to as many cells, the first of them `cell`.
template <int G, int N>
void add_list(StepSums<N>& h, Steps steps, int64_t cell, const float* weights, int64_t tap_stride, const DirectByStep& events,
              int64_t i) {
    for (int64_t t = steps.first; t < steps.end; ++t) {
        const int64_t count = events.count(i, t);
        if (count == 0) continue;
        const uint32_t* rows = events.rows(i, t);
        const float* values = events.values(i, t);
        h.template add<G>(cell, t - steps.first, count, [&](Vec(&sum)[G * N], int64_t event) {
            const float* w = weights + static_cast<int64_t>(rows[event]) * StepSums<N>::kWidth;
            const Vec value = splat(values[event]);
            unrolled<G * N>(FIRSTSPIKE_BODY(n) { sum[n] += load(w + n / N * tap_stride + n % N * kLanes) * value; });
        });
    }
}

// From a cell's h to its dL/ds, [step][N vectors], in place.
template <int N>
const float* gradient(float* h, Steps steps, const Neuron& neuron) {
    Vec sum[N] = {};
    for (int64_t t = steps.number() - 1; t >= 0; --t)
        unrolled<N>(FIRSTSPIKE_BODY(k) {
            float* at = h + (t * N + k) * kLanes;
            sum[k] = leak(sum[k], neuron) + load(at);
            store(at, sum[k]);
        });
    return h;
}

// Where a cell's gradient [step][N vectors] goes: each unit of the pooling window gets the cell's, at its own support entries or
// at every step.
class InputTarget {
 public:
    // gradient: at the entries of `input`, or, without it, [steps, batch, height, width, channels].
    InputTarget(const Layer& l, const SupportView* input, float* gradient) : l_(l), input_(input), gradient_(gradient) {}

    template <int N>
    void write(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const float* cell, Steps steps) const {
        if (input_)
            write_at_support<N>(sample, cell_y, cell_x, tile, cell, steps);
        else
            write_at_every_step<N>(sample, cell_y, cell_x, tile, cell, steps);
    }

 private:
    template <int N>
    void write_at_support(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const float* cell, Steps steps) const {
        const int64_t tiles = Tiles{l_.channels}.number(), first_x = cell_x * l_.pool;
        const int64_t together = tiles == 1 ? l_.pool : 1;  // units whose entries lie one after another
        for (int64_t y = cell_y * l_.pool; y < (cell_y + 1) * l_.pool; ++y)
            for (int64_t x = first_x; x < first_x + l_.pool; x += together) {
                const int64_t group = ((sample * l_.height + y) * l_.width + x) * tiles + tile;
                const int64_t from = input_->offset[group], count = input_->offset[group + together] - from;
                pick<N * kLanes>(gradient_ + from, cell, input_->step + from, input_->lane + from, count,
                                 static_cast<int>(steps.first));
            }
    }

    template <int N>
    void write_at_every_step(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const float* cell, Steps steps) const {
        const int used = Tiles{l_.channels}.used(tile);
        for (int64_t t = 0; t < l_.steps; ++t)
            for (int64_t y = cell_y * l_.pool; y < (cell_y + 1) * l_.pool; ++y)
                for (int64_t x = cell_x * l_.pool; x < (cell_x + 1) * l_.pool; ++x)
                    std::memcpy(gradient_ + ((t * l_.batch + sample) * l_.height * l_.width + y * l_.width + x) * l_.channels +
                                    tile * kTile,
                                cell + std::max<int64_t>(t - steps.first, 0) * (N * kLanes),
                                static_cast<size_t>(used) * sizeof(float));
    }

    Layer l_;
    const SupportView* input_;
    float* gradient_;
};

// input_gradient_linear.cpp, input_gradient_conv.cpp
void linear_input_gradient(const Synapses&, const Neuron&, const OutputGradient&, const InputGradientPlan&,
                           const TransposedPanel&, const InputTarget&);
void convolution_input_gradient(const Synapses&, const Neuron&, const OutputGradient&, const InputGradientPlan&,
                                const TransposedPanel&, const InputTarget&);

}  // namespace firstspike
