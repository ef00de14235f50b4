// The CUDA kernels, as plain C++ functions: device pointers, a Layer of cpp/core, and the stream as a pointer. They only enqueue
// work: none waits, allocates or copies to the host. A launch that fails raises std::runtime_error with the kernel's name and
// sizes.
//
// Nothing here has run or been timed on a device yet: the kernels are compiled by nvcc and tested on the processor
// (docs/cuda.md).
#pragma once

#include <cstdint>

#include "../core/layer.h"
#include "../core/neuron.h"
#include "../core/support.h"
#include "../core/surrogate.h"

namespace firstspike::cuda {

// Neurons of a site in a support group: one warp wide. Groups are numbered sample, site, tile, as on the CPU.
constexpr int kTile = 32;

inline int64_t tiles_of(int64_t channels) { return (channels + kTile - 1) / kTile; }

struct Entries {
    float* slope;
    uint8_t* step;
    uint8_t* lane;
};

// Where a forward pass notes its support: how many entries each group has, and the first `slot` of them in the group's slot.
struct Slots {
    int32_t* count;   // [groups], or null: nothing is recorded
    int32_t slot;     // entries that a slot holds, 0 or more
    Entries entries;  // [groups * slot]
};

// Where the entries belong once the counts are summed.
struct Placement {
    const int64_t* offset;  // [groups + 1]
    Entries entries;
};

struct Synapses {
    Layer layer;
    const uint8_t* times;  // [batch, height, width, channels]
    WeightView weight;
    const float* bias;  // [outputs], or null
    void* workspace;    // of the size that the pass asks for
};

// layer_forward.cu
int64_t layer_workspace(const Layer&);  // bytes
void fire_layer(const Synapses&, const Neuron&, const Surrogate&, const Slots&, uint8_t* times_out, void* stream);
// Moves the entries from the slots to their places, and walks again where a slot was too small; after fire_layer, with the same
// workspace.
void place_layer(const Synapses&, const Neuron&, const Surrogate&, const Slots&, const Placement&, void* stream);
void integrate_layer(const Synapses&, const Neuron&, float* membrane, void* stream);

// layer_weight_gradient.cu: dL/dW with the strides of `shape`, and dL/dbias [outputs] or null.
int64_t weight_gradient_workspace(const Layer&);
void weight_gradient(const Synapses&, const Neuron&, const OutputGradient&, const WeightView& shape, float* weight_gradient,
                     float* bias_gradient, void* stream);

// layer_input_gradient.cu: at the entries of the layer that made the input, or, where `input.offset` is null, at every step.
// Units outside the last whole pooling window are left as they are.
int64_t input_gradient_workspace(const Layer&);
void input_gradient(const Synapses&, const Neuron&, const OutputGradient&, const SupportView& input, float* gradient,
                    void* stream);

// neurons.cu: direct coding
void ramp(const float* current, int64_t sites, int64_t channels, int steps, const Neuron&, const Surrogate&, const Slots&,
          uint8_t* times_out, void* stream);
void place_ramp(const float* current, int64_t sites, int64_t channels, int steps, const Neuron&, const Surrogate&, const Slots&,
                const Placement&, void* stream);
void ramp_gradient(const OutputGradient&, int64_t sites, int64_t channels, int steps, const Neuron&, float* current_gradient,
                   void* stream);

// The dense neuron: current [steps, neurons] to spikes [steps, neurons], and the backward pass.
void fire_dense(const float* current, int steps, int64_t neurons, const Neuron&, float* spikes, void* stream);
void fire_dense_gradient(const float* current, const float* gradient, int steps, int64_t neurons, const Neuron&, const Surrogate&,
                         float* current_gradient, void* stream);

// What acts on each neuron by itself
void times_from_dense(const float* spikes, int steps, int64_t neurons, uint8_t* times, void* stream);
void dense_from_times(const uint8_t* times, int steps, int64_t neurons, float* spikes, void* stream);
void gather_at_support(const float* gradient, int64_t sites, int64_t channels, const SupportView&, float* out, void* stream);
// Every element of a gradient [steps, sites, channels] as an entry: offset [groups + 1], the rest [steps * sites * channels].
void support_of_dense(const float* gradient, int steps, int64_t sites, int64_t channels, int64_t* offset, Entries, void* stream);

// Intensities in [0, 1] to times; curve 0 is linear, 1 logarithmic (python/firstspike/encode.py).
void latency(const float* intensity, int64_t neurons, int steps, int curve, uint8_t* times, void* stream);

// The spikes that dropout keeps, `keep` of 65536, and the gradients of those: at the entries, or at every step where
// `support.offset` is null. The seed lies on the device.
void drop_spikes(const uint8_t* times, int64_t sites, int64_t channels, const int64_t* seed, uint32_t keep, uint8_t* times_out,
                 void* stream);
void drop_gradient(const float* gradient, int steps, int64_t sites, int64_t channels, const SupportView&, const int64_t* seed,
                   uint32_t keep, float* out, void* stream);

// device.cu: the newest CUDA version that the installed driver knows, 0 where there is none, and the version of the runtime that
// is linked in; 12040 is 12.4.
struct Versions {
    int driver, runtime;
};
Versions versions();

}  // namespace firstspike::cuda
