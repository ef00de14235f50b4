// The kernels without synapses, as plain functions over pointers and sizes; those of a layer stand in layer/synapses.h. Dense
// trains and gradients are [steps, sites, channels], `sites` those of all samples. Results have the same bits for any number of
// threads.
#pragma once

#include "../core/dropout_mask.h"
#include "../core/neuron.h"
#include "../core/support.h"
#include "../core/surrogate.h"
#include "patches.h"
#include "simd/bfloat16.h"
#include "support.h"

namespace firstspike {

// neurons.cpp: direct coding, a constant current [sites, channels] into each neuron (docs/model.md, section "Direct coding").
// Spike times [sites, channels], and their support if asked.
Support ramp(const float* current, int64_t sites, int64_t channels, int64_t steps, const Neuron&, const Surrogate&, bool record,
             int threads, uint8_t* times_out);
void ramp_gradient(const OutputGradient&, int64_t sites, int64_t channels, const Neuron&, int threads, float* current_gradient);
// The dense neuron: current [steps, neurons] to spikes [steps, neurons], and its backward pass.
void fire_dense(const float* current, int64_t steps, int64_t neurons, const Neuron&, int threads, float* spikes);
void fire_dense_gradient(const float* current, const float* gradient, int64_t steps, int64_t neurons, const Neuron&,
                         const Surrogate&, int threads, float* current_gradient);

void times_from_dense(const float* spikes, int64_t steps, int64_t neurons, int threads, uint8_t* times);
void dense_from_times(const uint8_t* times, int64_t steps, int64_t neurons, int threads, float* spikes);
Support support_from_dense(const float* gradient, int64_t sites, int64_t channels, int64_t steps, int threads);
void gather_at_support(const float* gradient, int64_t sites, int64_t channels, const SupportView&, int threads, float* out);
// times[i] = round((1 - x[i]) (steps - 1)), half to even, and silent where x[i] is 0. What is outside [0, 1] gets the nearest
// step.
void linear_latency(const float* x, int64_t units, int64_t steps, int threads, uint8_t* times);
// Dropout: the spikes that it keeps, and their gradients, at a support's entries or, without one, at every step (docs/model.md,
// section "Dropout").
void drop_spikes(const uint8_t* times, int64_t sites, int64_t channels, const DropoutMask&, int threads, uint8_t* times_out);
void drop_gradient(const float* gradient, int64_t steps, int64_t sites, int64_t channels, const SupportView*, const DropoutMask&,
                   int threads, float* out);

// pooling.cpp: the distinct spikes of a pool's patches (docs/model.md, section "Pooling"). Of the units of a patch that fire in
// the same step the first one keeps its spike, row by row; units in no patch are silent. Returns the number of patches, of one
// channel each, with spikes in more than one step.
int64_t distinct_spikes(const uint8_t* times, const Patches&, int threads, uint8_t* times_out);
// left: what `distinct_spikes` wrote. The gradient of a patch and a step goes to the unit that fires in it, or to the patch's
// first unit where none does; at a support's entries or, without one, at every step.
void distinct_gradient(const float* gradient, const uint8_t* left, const Patches&, int64_t steps, const SupportView*, int threads,
                       float* out);

// Times [cells, channels] of the earliest spikes of patches; winner: which unit of its patch each of them
// comes from, the first of several, row by row. A patch of silent units is silent, and its first unit's.
constexpr int64_t kWidestPool = 16;  // a patch's units have numbers of one byte
void earliest_times(const uint8_t* times, const Patches&, int threads, uint8_t* times_out, uint8_t* winner);
// The entries of the winners as entries of the cells; source: which of the units' entries each of them is.
struct EarliestSupport {
    Buffer<int64_t> offset;  // [groups + 1]
    Buffer<uint8_t> place;   // [2, entries]
    Buffer<int64_t> source;  // [entries]
    int64_t groups = 0, entries = 0;
};
EarliestSupport earliest_support(const uint8_t* winner, const Patches&, const SupportView&, int threads);

// weight_normalization.cpp (docs/model.md, section "Weight normalisation")
constexpr double kSmallestVariance = 1e-12;  // far below any variance of a weight in use; it keeps a constant weight finite
// A weight [outputs, inputs], and what the normalised one is multiplied with.
struct Weights {
    int64_t outputs, inputs;
    const float* data;
    const float* gamma;  // [outputs], or null: all ones
    double deviation;    // of the normalised weight, before gamma
    bool per_output;     // mean and deviation of each output's weights, else of the whole weight

    int64_t groups() const { return per_output ? outputs : 1; }
    int64_t group(int64_t output) const { return per_output ? output : 0; }
};
struct Moments {
    double mean, inverse_deviation;
};
// moments [groups].
void normalize_weight(const Weights&, int threads, float* out, Moments* moments);
// moments as the forward pass left them. gamma_gradient [outputs] or null.
void normalize_weight_gradient(const Weights&, const Moments* moments, const float* gradient, int threads, float* weight_gradient,
                               float* gamma_gradient);

// windowed.cpp: layers of windows, whose neurons fire in a window of their own (docs/windowed.md). A spike at t has the value
// a = T - t, silence 0.
constexpr int kMostWindowSteps = 255;  // times 0 to 254

// Neurons [sites, channels] that turn a current z into the level a = clamp(floor(T u + 1/2), 0, T). With moments
// u = (gamma n + beta) / clip, n = (z - mean) / sqrt(variance + eps); without u = (z + beta) / clip.
struct WindowedNeurons {
    int64_t sites, channels, steps;
    const float* moments;  // [2, channels], mean and variance; may be null
    const float* gamma;    // [channels]; null: 1
    const float* beta;     // [channels]; null: 0
    const float* clip;     // [clips], positive
    int64_t clips;         // 1 or channels
    double eps;
};

// Mean and biased variance of each channel of [sites, channels], with at least one site.
void channel_moments(const float* current, int64_t sites, int64_t channels, int threads, float* moments);

// Spike times [sites, channels], and unless null what gradients need of the neurons: n, or z without moments, in bfloat16, whose
// last bit is set where u is in [0, 1].
void windowed_times(const float* current, const WindowedNeurons&, int threads, uint8_t* times, Bfloat16* normalized);

// The straight-through gradient, du/dz where u is in [0, 1] and 0 elsewhere, from a gradient with respect to a / T.
// `batch`: the moments are those of the current. Of gamma, beta [channels] and clip [clips]: null where nobody asks.
struct WindowedGradients {
    float *current, *gamma, *beta, *clip;
};
void windowed_gradient(const float* gradient, const Bfloat16* normalized, const WindowedNeurons&, bool batch, int threads,
                       const WindowedGradients&);

// Values a / T of times, averaged over patches: [cells, channels]; and their gradient.
constexpr int64_t kWidestAverage = 2048;  // a patch's sum of levels fits 31 bits
void windowed_values(const uint8_t* times, const Patches&, int steps, int threads, float* values);
void windowed_values_gradient(const float* gradient, const Patches&, int threads, float* values_gradient);

// The times of the earliest spikes of patches, [cells, channels], whose values are the largest.
void windowed_earliest(const uint8_t* times, const Patches&, int threads, uint8_t* earliest);
// The gradient of the values, which goes to the earliest unit of each patch, the first of several, row by row.
void windowed_earliest_gradient(const float* gradient, const uint8_t* times, const uint8_t* earliest, const Patches&, int threads,
                                float* values_gradient);

}  // namespace firstspike
