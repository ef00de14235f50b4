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
#include "packed_weights.h"

namespace firstspike {

struct Synapses {
    Layer layer;
    const uint8_t* times;  // [batch, height, width, channels]
    WeightView weight;
    const float* bias;  // [outputs], added in every step, or null
    int threads;
    const Panel* packed = nullptr;  // the whole weight as the forward pass reads it; null: it packs it
};

// forward.cpp: times [batch, sites, outputs] of the neurons behind the synapses. Records the support if asked.
Support fire_layer(const Synapses&, const Neuron&, const Surrogate&, bool record, uint8_t* times_out);
// forward.cpp: membrane [steps, batch, sites, outputs] of neurons that never fire.
void integrate_layer(const Synapses&, const Neuron&, float* membrane);

// weight_gradient.cpp: dL/dW with the strides of `shape`; dL/dbias [outputs] or null.
void weight_gradient(const Synapses&, const Neuron&, const OutputGradient&, const WeightView& shape, float* weight_gradient,
                     float* bias_gradient);

// input_gradient.cpp: dL/ds at the support entries of the layer that made the input.
void input_gradient_at(const Synapses&, const Neuron&, const OutputGradient&, const SupportView& input, float* gradient);
// The same at every step: [steps, batch, height, width, channels].
void input_gradient_dense(const Synapses&, const Neuron&, const OutputGradient&, float* gradient);

}  // namespace firstspike
