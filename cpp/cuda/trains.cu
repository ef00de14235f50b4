// Dense trains to spike times and back, dense gradients and support entries, the latency code, and spikes that are lost.
#include <cmath>

#include "../core/dropout_mask.h"
#include "kernels.h"
#include "launch.h"

namespace firstspike::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

__device__ inline int64_t own_neuron() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }
__device__ inline int64_t first_group() { return static_cast<int64_t>(blockIdx.x) * kWarps + warp(); }
__device__ inline int64_t stride() { return static_cast<int64_t>(gridDim.x) * kWarps; }

__global__ void __launch_bounds__(kThreads) times_kernel(const float* spikes, int steps, int64_t neurons, uint8_t* times) {
    const int64_t i = own_neuron();
    if (i >= neurons) return;
    int time = kSilent;
#pragma unroll 8
    for (int t = steps - 1; t >= 0; --t)  // downwards: the first spike wins
        if (spikes[t * neurons + i] != 0.0f) time = t;
    times[i] = static_cast<uint8_t>(time);
}

__global__ void __launch_bounds__(kThreads) dense_kernel(const uint8_t* times, int steps, int64_t neurons, float* spikes) {
    const int64_t i = own_neuron();
    if (i >= neurons) return;
    const int time = times[i];
    for (int t = 0; t < steps; ++t) spikes[t * neurons + i] = time == t ? 1.0f : 0.0f;
}

__global__ void __launch_bounds__(kThreads)
    gather_kernel(const float* gradient, int64_t sites, int channels, int tiles, const SupportView support, float* out) {
    for (int64_t group = first_group(); group < sites * tiles; group += stride()) {
        const int64_t site = group / tiles, first = group % tiles * kTile, end = support.offset[group + 1];
        for (int64_t e = support.offset[group] + lane(); e < end; e += kWarp)
            out[e] = gradient[(support.step[e] * sites + site) * channels + first + support.lane[e]];
    }
}

__global__ void __launch_bounds__(kThreads) dense_support_kernel(const float* gradient, int steps, int64_t sites, int channels,
                                                                 int tiles, int64_t* offset, const Entries out) {
    for (int64_t group = first_group(); group < sites * tiles; group += stride()) {
        const int64_t site = group / tiles;
        const int first = static_cast<int>(group % tiles) * kTile, used = min(kTile, channels - first);
        const int64_t begin = site * steps * channels + static_cast<int64_t>(first) * steps;
        for (int t = 0; t < steps && lane() < used; ++t) {
            const int64_t e = begin + t * used + lane();
            out.slope[e] = gradient[(t * sites + site) * channels + first + lane()];
            out.step[e] = static_cast<uint8_t>(t);
            out.lane[e] = static_cast<uint8_t>(lane());
        }
        if (lane() == 0) {
            offset[group] = begin;
            if (group == sites * tiles - 1) offset[group + 1] = begin + static_cast<int64_t>(used) * steps;
        }
    }
}

__global__ void __launch_bounds__(kThreads)
    latency_kernel(const float* intensity, int64_t neurons, int steps, int curve, uint8_t* times) {
    constexpr float kDarkest = 1.0f / 255.0f;
    const int64_t i = own_neuron();
    if (i >= neurons) return;
    const float x = intensity[i];
    const float delay = curve == 0 ? 1.0f - x : logf(fmaxf(x, kDarkest)) / static_cast<float>(-5.541263545158426);
    times[i] = x == 0.0f ? static_cast<uint8_t>(kSilent) : static_cast<uint8_t>(rintf(delay * static_cast<float>(steps - 1)));
}

__device__ inline bool stays_at(const int64_t* seed, int64_t site, int64_t channels, int64_t channel, uint32_t keep) {
    return keeps(draw_levels(static_cast<uint64_t>(*seed), site, channels, channel / kLevelsPerDraw), channel, keep);
}

__global__ void __launch_bounds__(kThreads)
    drop_kernel(const uint8_t* times, int64_t neurons, int64_t channels, const int64_t* seed, uint32_t keep, uint8_t* out) {
    const int64_t i = own_neuron();
    if (i >= neurons) return;
    out[i] = stays_at(seed, i / channels, channels, i % channels, keep) ? times[i] : static_cast<uint8_t>(kSilent);
}

__global__ void __launch_bounds__(kThreads) drop_dense_kernel(const float* gradient, int steps, int64_t neurons, int64_t channels,
                                                              const int64_t* seed, uint32_t keep, float* out) {
    const int64_t i = own_neuron();
    if (i >= neurons) return;
    const bool stay = stays_at(seed, i / channels, channels, i % channels, keep);
    for (int t = 0; t < steps; ++t) out[t * neurons + i] = stay ? gradient[t * neurons + i] : 0.0f;
}

__global__ void __launch_bounds__(kThreads)
    drop_support_kernel(const float* gradient, int64_t groups, int64_t channels, int tiles, const SupportView support,
                        const int64_t* seed, uint32_t keep, float* out) {
    for (int64_t group = first_group(); group < groups; group += stride()) {
        const int64_t site = group / tiles, first = group % tiles * kTile, end = support.offset[group + 1];
        for (int64_t e = support.offset[group] + lane(); e < end; e += kWarp)
            out[e] = stays_at(seed, site, channels, first + support.lane[e], keep) ? gradient[e] : 0.0f;
    }
}

Launch each_neuron(const char* name, int64_t neurons, void* stream) {
    return {name, dim3(all_blocks(neurons, kThreads)), kThreads, 0, stream};
}

Launch each_group(const char* name, int64_t groups, void* stream) {
    return {name, dim3(blocks_for(groups, kWarps, 1 << 20)), kThreads, 0, stream};
}

}  // namespace

void times_from_dense(const float* spikes, int steps, int64_t neurons, uint8_t* times, void* stream) {
    launch(each_neuron("times_from_dense", neurons, stream), times_kernel, spikes, steps, neurons, times);
}

void dense_from_times(const uint8_t* times, int steps, int64_t neurons, float* spikes, void* stream) {
    launch(each_neuron("dense_from_times", neurons, stream), dense_kernel, times, steps, neurons, spikes);
}

void gather_at_support(const float* gradient, int64_t sites, int64_t channels, const SupportView& support, float* out,
                       void* stream) {
    const int64_t tiles = tiles_of(channels);
    launch(each_group("gather_at_support", sites * tiles, stream), gather_kernel, gradient, sites, static_cast<int>(channels),
           static_cast<int>(tiles), support, out);
}

void support_of_dense(const float* gradient, int steps, int64_t sites, int64_t channels, int64_t* offset, Entries entries,
                      void* stream) {
    const int64_t tiles = tiles_of(channels);
    launch(each_group("support_of_dense", sites * tiles, stream), dense_support_kernel, gradient, steps, sites,
           static_cast<int>(channels), static_cast<int>(tiles), offset, entries);
}

void latency(const float* intensity, int64_t neurons, int steps, int curve, uint8_t* times, void* stream) {
    launch(each_neuron("latency", neurons, stream), latency_kernel, intensity, neurons, steps, curve, times);
}

void drop_spikes(const uint8_t* times, int64_t sites, int64_t channels, const int64_t* seed, uint32_t keep, uint8_t* times_out,
                 void* stream) {
    launch(each_neuron("drop_spikes", sites * channels, stream), drop_kernel, times, sites * channels, channels, seed, keep,
           times_out);
}

void drop_gradient(const float* gradient, int steps, int64_t sites, int64_t channels, const SupportView& support,
                   const int64_t* seed, uint32_t keep, float* out, void* stream) {
    const int64_t tiles = tiles_of(channels), neurons = sites * channels;
    if (support.offset == nullptr)
        launch(each_neuron("drop_gradient", neurons, stream), drop_dense_kernel, gradient, steps, neurons, channels, seed, keep,
               out);
    else
        launch(each_group("drop_gradient", sites * tiles, stream), drop_support_kernel, gradient, sites * tiles, channels,
               static_cast<int>(tiles), support, seed, keep, out);
}

}  // namespace firstspike::cuda
