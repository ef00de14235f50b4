// The dense neuron: current [steps, neurons] to spikes [steps, neurons], and its backward pass.
#pragma once

#include <cstdint>

#include "../core/neuron.h"
#include "../core/surrogate.h"

namespace firstspike {

void fire_dense(const float* current, int64_t steps, int64_t neurons, const Neuron&, int threads, float* spikes);
void fire_dense_gradient(const float* current, const float* gradient, int64_t steps, int64_t neurons, const Neuron&,
                         const Surrogate&, int threads, float* current_gradient);

}  // namespace firstspike
