// Layers of windows: a neuron that fires in a window of its own (docs/windowed.md). A spike at t has the value a = T - t, silence
// 0.
#pragma once

#include <cstdint>

#include "windows.h"

namespace firstspike {

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

// Spike times [sites, channels], and codes [sites, channels] unless null. A code is what the gradient needs of a neuron, one
// byte: bit 0 says whether u is in [0, 1], the others hold u in steps of 1/126 where it is. Elsewhere, and where such a step
// would be coarser, they hold n from -8 to 7.875 in steps of 1/8.
void windowed_times(const float* current, const WindowedNeurons&, int threads, uint8_t* times, uint8_t* codes);

// The straight-through gradient, du/dz inside the clip and 0 outside, from a gradient with respect to a / T and from codes.
// `batch`: the moments are those of the current. Of gamma, beta [channels] and clip [clips]: null where nobody asks.
struct WindowedGradients {
    float *current, *gamma, *beta, *clip;
};
void windowed_gradient(const float* gradient, const uint8_t* codes, const WindowedNeurons&, bool batch, int threads,
                       const WindowedGradients&);

// Values a / T of times, averaged over windows: [cells, channels]; and the gradient of the times' values.
void windowed_values(const uint8_t* times, const Windows&, int64_t steps, int threads, float* values);
void windowed_values_gradient(const float* gradient, const Windows&, int threads, float* values_gradient);

// The gradient of values of which `earliest_times` took a window's largest.
void windowed_earliest_gradient(const float* gradient, const uint8_t* winner, const Windows&, int threads,
                                float* values_gradient);

}  // namespace firstspike
