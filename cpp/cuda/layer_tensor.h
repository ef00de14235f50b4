// The forward pass of a layer on tensor cores; `fire_layer` and `place_layer` come here where the variant says so.
#pragma once

#include "kernels.h"

namespace firstspike::cuda {

int64_t tensor_workspace(const Layer&, Variant);  // bytes
void fire_layer_tensor(const Synapses&, const Neuron&, const Surrogate&, const Slots&, uint8_t* times_out, Variant, void* stream);
void place_layer_tensor(const Synapses&, const Neuron&, const Surrogate&, const Slots&, const Placement&, Variant, void* stream);

}  // namespace firstspike::cuda
