// Neurons without synapses: direct coding, neurons whose membranes are known, and the dense neuron.
#pragma once

#include "../core/neuron.h"
#include "../core/support.h"
#include "../core/surrogate.h"
#include "support.h"

namespace firstspike {

// Direct coding: a constant current [sites, channels] into each neuron (docs/model.md, section "Direct coding"). Spike times
// [sites, channels], and their support if asked.
Support ramp(const float* current, int64_t sites, int64_t channels, int64_t steps, const Neuron&, const Surrogate&, bool record,
             int threads, uint8_t* times_out);
void ramp_gradient(const OutputGradient&, int64_t sites, int64_t channels, const Neuron&, int threads, float* current_gradient);

// The dense neuron: current [steps, neurons] to spikes [steps, neurons], and its backward pass.
void fire_dense(const float* current, int64_t steps, int64_t neurons, const Neuron&, int threads, float* spikes);
void fire_dense_gradient(const float* current, const float* gradient, int64_t steps, int64_t neurons, const Neuron&,
                         const Surrogate&, int threads, float* current_gradient);

}  // namespace firstspike
