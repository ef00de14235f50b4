// The three passes of a layer: synapses (linear or a convolution, average pooling folded in) and the neurons behind them.
//
// Pointers are to dense arrays unless a view gives strides; spike times are uint8 [batch, sites, channels], channels innermost.
// Results have the same bits for any number of threads.
#pragma once

#include "../../core/layer.h"
#include "../../core/neuron.h"
#include "../../core/support.h"
#include "../../core/surrogate.h"
#include "../support.h"
#include "panels.h"

namespace firstspike {

// Spikes that go into the current of the outputs one by one: channel c at (y stride_y, x stride_x) into output c of
// site (y, x), `scale[c]` each. Outputs from `channels` on have none.
struct Shortcut {
    const uint8_t* times = nullptr;  // [batch, height, width, channels], or null: no shortcut
    int64_t height = 0, width = 0, channels = 0;
    int64_t stride_y = 1, stride_x = 1;
    const float* scale = nullptr;  // [channels]
};

struct Synapses {
    Layer layer;
    const uint8_t* times;  // [batch, height, width, channels]
    WeightView weight;
    const float* bias;  // [outputs], added in every step, or null
    int threads;
    const Panel* packed = nullptr;  // the whole weight as the forward pass reads it; null: it packs it
    Shortcut shortcut = {};         // fire_layer alone takes it
};

// forward.cpp: times [batch, sites, outputs] of the neurons behind the synapses. Records the support if asked.
Support fire_layer(const Synapses&, const Neuron&, const Surrogate&, bool record, uint8_t* times_out);
// forward.cpp: membrane [steps, batch, sites, outputs] of neurons that never fire.
void integrate_layer(const Synapses&, const Neuron&, float* membrane);

// weight_gradient.cpp: dL/dW with the strides of `shape`; dL/dbias [outputs] or null.
void weight_gradient(const Synapses&, const Neuron&, const OutputGradient&, const WeightView& shape, float* weight_gradient,
                     float* bias_gradient);

// input_gradient.cpp: dL/ds at the support entries `input` of the layer that made the input, or, where that is null, at every
// step: [steps, batch, height, width, channels].
void input_gradient(const Synapses&, const Neuron&, const OutputGradient&, const SupportView* input, float* gradient);

// shortcut_gradient.cpp: dL/ds of a shortcut's spikes, at the support entries `input` of the layer that made them, or, where that
// is null, at every step: [steps, batch, height, width, channels]; and dL/dscale [channels]. Null: not wanted.
void shortcut_gradient(const Layer&, const Neuron&, const Shortcut&, const OutputGradient&, const SupportView* input, int threads,
                       float* at_spikes, float* at_scale);

// direct_convolution.cpp: a convolution of data, whose product itself is torch's. dL/dW [outputs, channels, kernel height, kernel
// width] and, where it is not null, dL/dbias [outputs] from the data [batch, height, width, channels] and dL/dcurrent [batch,
// sites, outputs]. The layer has no pool.
void direct_convolution_gradient(const Layer&, const float* data, const float* gradient, int threads, float* weight_gradient,
                                 float* bias_gradient);

}  // namespace firstspike
