// Spikes of neurons whose membranes are known: membrane [steps, sites, channels] without reset, as `integrate_layer` writes it.
#pragma once

#include "../core/neuron.h"
#include "../core/surrogate.h"
#include "support.h"

namespace firstspike {

// Spike times [sites, channels], and their support if asked: those of `fire_layer` on the same synapses, to the bit.
Support fire_membranes(const float* membrane, int64_t sites, int64_t channels, int64_t steps, const Neuron&, const Surrogate&,
                       bool record, int threads, uint8_t* times_out);

}  // namespace firstspike
