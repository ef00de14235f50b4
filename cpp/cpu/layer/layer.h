// The CPU kernels. Pointers are to dense arrays unless a view gives strides; spike times are uint8 [batch, sites, channels],
// channels innermost. Results have the same bits for any number of threads.
#pragma once

#include "../../core/dropout_mask.h"
#include "../../core/layer.h"
#include "../../core/neuron.h"
#include "../../core/surrogate.h"
#include "../support.h"

namespace firstspike {

struct Synapses {
    Layer layer;
    const uint8_t* times;  // [batch, height, width, channels]
    WeightView weight;
    const float* bias;  // [outputs], added in every step, or null
    int threads;
    const Panel* packed = nullptr;  // the whole weight as the forward pass reads it; null: it packs it
};

// layer/forward.cpp: times [batch, sites, outputs] of the neurons behind the synapses. Records the support if asked.
Support fire_layer(const Synapses&, const Neuron&, const Surrogate&, bool record, uint8_t* times_out);

// layer/forward.cpp: membrane [steps, batch, sites, outputs] of neurons that never fire.
void integrate_layer(const Synapses&, const Neuron&, float* membrane);

// A gradient dL/dS at the layer's support entries: `gradient[e] * slope[e]` is `direct` in DESIGN, section 3.
struct OutputGradient {
    SupportView support;
    const float* slope;     // null: all ones
    const float* gradient;  // [entries]

    // `direct` of the entries from e on, zeros from `end` on.
    Vec direct(int64_t e, int64_t end) const {
        const Vec at = load_some(gradient + e, end - e);
        return slope ? at * load_some(slope + e, end - e) : at;
    }
};

// layer/weight_gradient_conv.cpp: dL/dW, strides as given by the view of `weight_gradient`; dL/dbias [outputs] or null.
void weight_gradient(const Synapses&, const Neuron&, const OutputGradient&, const WeightView& shape, float* weight_gradient,
                     float* bias_gradient);

// layer/input_gradient.cpp: dL/ds at the support entries of the layer that made the input.
void input_gradient_at(const Synapses&, const Neuron&, const OutputGradient&, const SupportView& input, float* gradient);
// The same at every step: [steps, batch, height, width, channels].
void input_gradient_dense(const Synapses&, const Neuron&, const OutputGradient&, float* gradient);

// ramp.cpp: direct coding. A constant current [batch, sites, channels] into each neuron.
Support ramp(const float* current, int64_t batch_sites, int64_t channels, int64_t steps, const Neuron&, const Surrogate&,
             bool record, int threads, uint8_t* times_out);
void ramp_gradient(const OutputGradient&, int64_t batch_sites, int64_t channels, const Neuron&, int threads,
                   float* current_gradient);

// dense_neuron.cpp: the dense neuron, current [steps, neurons] to spikes [steps, neurons], and its backward pass.
void fire_dense(const float* current, int64_t steps, int64_t neurons, const Neuron&, int threads, float* spikes);
void fire_dense_gradient(const float* current, const float* gradient, int64_t steps, int64_t neurons, const Neuron&,
                         const Surrogate&, int threads, float* current_gradient);

// trains.cpp: dense trains to times and back, and a dense gradient [steps, batch_sites, channels] as support entries or at them.
void times_from_dense(const float* spikes, int64_t steps, int64_t neurons, int threads, uint8_t* times);
void dense_from_times(const uint8_t* times, int64_t steps, int64_t neurons, int threads, float* spikes);
Support support_from_dense(const float* gradient, int64_t batch_sites, int64_t channels, int64_t steps, int threads);
void gather_at_support(const float* gradient, int64_t batch_sites, int64_t channels, const SupportView&, int threads, float* out);

// dropout.cpp: the spikes that dropout keeps, and the gradients of those, at the support entries or at every step.
void drop_spikes(const uint8_t* times, int64_t batch_sites, int64_t channels, const DropoutMask&, int threads,
                 uint8_t* times_out);
void drop_gradient_at(const float* gradient, int64_t batch_sites, int64_t channels, const SupportView&, const DropoutMask&,
                      int threads, float* out);
void drop_gradient_dense(const float* gradient, int64_t steps, int64_t batch_sites, int64_t channels, const DropoutMask&,
                         int threads, float* out);

constexpr double kSmallestVariance = 1e-12;  // far below any variance of a weight in use; it keeps a constant weight finite
// weight_normalization.cpp: a weight [outputs, inputs], and what the normalised one is multiplied with.
struct Weights {
    int64_t outputs, inputs;
    const float* data;
    const float* gamma;  // [outputs], or null: all ones
    double deviation;    // of the normalised weight, before gamma
};
struct Moments {
    double mean, inverse_deviation;  // of the whole weight
};
Moments normalize_weight(const Weights&, int threads, float* out);
// gamma_gradient [outputs] or null.
void normalize_weight_gradient(const Weights&, const Moments&, const float* gradient, int threads, float* weight_gradient,
                               float* gamma_gradient);

}  // namespace firstspike
