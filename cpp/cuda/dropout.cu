// Spikes that dropout keeps, and the gradients of those.
#include "../core/dropout_mask.h"
#include "each.h"

namespace firstspike::cuda {

namespace {

__device__ inline bool stays_at(const int64_t* seed, int64_t site, int64_t channels, int64_t channel, uint32_t keep) {
    return keeps(draw_levels(static_cast<uint64_t>(*seed), site, channels, channel / kLevelsPerDraw), channel, keep);
}

__global__ void __launch_bounds__(each::kThreads)
    drop_kernel(const uint8_t* times, int64_t neurons, int64_t channels, const int64_t* seed, uint32_t keep, uint8_t* out) {
    const int64_t i = each::neuron();
    if (i >= neurons) return;
    out[i] = stays_at(seed, i / channels, channels, i % channels, keep) ? times[i] : static_cast<uint8_t>(kSilent);
}

__global__ void __launch_bounds__(each::kThreads)
    drop_dense_kernel(const float* gradient, int steps, int64_t neurons, int64_t channels, const int64_t* seed, uint32_t keep,
                      float* out) {
    const int64_t i = each::neuron();
    if (i >= neurons) return;
    const bool stay = stays_at(seed, i / channels, channels, i % channels, keep);
    for (int t = 0; t < steps; ++t) out[t * neurons + i] = stay ? gradient[t * neurons + i] : 0.0f;
}

__global__ void __launch_bounds__(each::kThreads)
    drop_support_kernel(const float* gradient, int64_t groups, int64_t channels, int tiles, const SupportView support,
                        const int64_t* seed, uint32_t keep, float* out) {
    for (int64_t group = each::first_group(); group < groups; group += each::group_stride()) {
        const int64_t site = group / tiles, first = group % tiles * kTile, end = support.offset[group + 1];
        for (int64_t e = support.offset[group] + lane(); e < end; e += kWarp)
            out[e] = stays_at(seed, site, channels, first + support.lane[e], keep) ? gradient[e] : 0.0f;
    }
}

}  // namespace

void drop_spikes(const uint8_t* times, int64_t sites, int64_t channels, const int64_t* seed, uint32_t keep, uint8_t* times_out,
                 void* stream) {
    launch(each::over_neurons("drop_spikes", sites * channels, stream), drop_kernel, times, sites * channels, channels, seed,
           keep, times_out);
}

void drop_gradient(const float* gradient, int steps, int64_t sites, int64_t channels, const SupportView& support,
                   const int64_t* seed, uint32_t keep, float* out, void* stream) {
    const int64_t tiles = tiles_of(channels), neurons = sites * channels;
    if (support.offset == nullptr)
        launch(each::over_neurons("drop_gradient", neurons, stream), drop_dense_kernel, gradient, steps, neurons, channels, seed,
               keep, out);
    else
        launch(each::over_groups("drop_gradient", sites * tiles, 0, stream), drop_support_kernel, gradient, sites * tiles,
               channels, static_cast<int>(tiles), support, seed, keep, out);
}

}  // namespace firstspike::cuda
