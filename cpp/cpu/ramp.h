// Direct coding: a constant current [batch, sites, channels] into each neuron (docs/model.md, section "Direct coding").
#pragma once

#include "../core/neuron.h"
#include "../core/support.h"
#include "../core/surrogate.h"
#include "support.h"

namespace firstspike {

Support ramp(const float* current, int64_t batch_sites, int64_t channels, int64_t steps, const Neuron&, const Surrogate&,
             bool record, int threads, uint8_t* times_out);
void ramp_gradient(const OutputGradient&, int64_t batch_sites, int64_t channels, const Neuron&, int threads,
                   float* current_gradient);

}  // namespace firstspike
