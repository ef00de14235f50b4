// What acts on each neuron by itself: dense trains to times and back, dense gradients at support entries or as them, the latency
// code, and dropout.
#include "../core/dropout_mask.h"
#include "each.h"

namespace firstspike::cuda {

namespace {

__global__ void __launch_bounds__(each::kThreads) times_kernel(const float* spikes, int steps, int64_t neurons, uint8_t* times) {
    const int64_t i = each::neuron();
    if (i >= neurons) return;
    int time = kSilent;
#pragma unroll 8
    for (int t = steps - 1; t >= 0; --t)  // downwards: the first spike wins
        if (spikes[t * neurons + i] != 0.0f) time = t;
    times[i] = static_cast<uint8_t>(time);
}

__global__ void __launch_bounds__(each::kThreads) dense_kernel(const uint8_t* times, int steps, int64_t neurons, float* spikes) {
    const int64_t i = each::neuron();
    if (i >= neurons) return;
    const int time = times[i];
    for (int t = 0; t < steps; ++t) spikes[t * neurons + i] = time == t ? 1.0f : 0.0f;
}

__global__ void __launch_bounds__(each::kThreads)
    gather_kernel(const float* gradient, int64_t sites, int channels, int tiles, const SupportView support, float* out) {
    for (int64_t group = each::first_group(); group < sites * tiles; group += each::group_stride()) {
        const int64_t site = group / tiles, first = group % tiles * kTile, end = support.offset[group + 1];
        for (int64_t e = support.offset[group] + lane(); e < end; e += kWarp)
            out[e] = gradient[(support.step[e] * sites + site) * channels + first + support.lane[e]];
    }
}

__global__ void __launch_bounds__(each::kThreads)
    dense_support_kernel(const float* gradient, int steps, int64_t sites, int channels, int tiles, int64_t* offset,
                         const Entries out) {
    for (int64_t group = each::first_group(); group < sites * tiles; group += each::group_stride()) {
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

__global__ void __launch_bounds__(each::kThreads)
    latency_kernel(const float* intensity, int64_t neurons, int steps, int curve, uint8_t* times) {
    constexpr float kDarkest = 1.0f / 255.0f;
    const int64_t i = each::neuron();
    if (i >= neurons) return;
    const float x = intensity[i];
    const float last = static_cast<float>(steps - 1);
    const float delay = curve == 0 ? 1.0f - x : logf(fmaxf(x, kDarkest)) / static_cast<float>(-5.541263545158426);
    const float step = fminf(fmaxf(rintf(delay * last), 0.0f), last);  // what is outside [0, 1] gets the nearest step
    times[i] = x == 0.0f ? static_cast<uint8_t>(kSilent) : static_cast<uint8_t>(step);
}

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

void times_from_dense(const float* spikes, int steps, int64_t neurons, uint8_t* times, void* stream) {
    launch(each::over_neurons("times_from_dense", neurons, stream), times_kernel, spikes, steps, neurons, times);
}

void dense_from_times(const uint8_t* times, int steps, int64_t neurons, float* spikes, void* stream) {
    launch(each::over_neurons("dense_from_times", neurons, stream), dense_kernel, times, steps, neurons, spikes);
}

void gather_at_support(const float* gradient, int64_t sites, int64_t channels, const SupportView& support, float* out,
                       void* stream) {
    const int64_t tiles = tiles_of(channels);
    launch(each::over_groups("gather_at_support", sites * tiles, 0, stream), gather_kernel, gradient, sites,
           static_cast<int>(channels), static_cast<int>(tiles), support, out);
}

void support_of_dense(const float* gradient, int steps, int64_t sites, int64_t channels, int64_t* offset, Entries entries,
                      void* stream) {
    const int64_t tiles = tiles_of(channels);
    launch(each::over_groups("support_of_dense", sites * tiles, 0, stream), dense_support_kernel, gradient, steps, sites,
           static_cast<int>(channels), static_cast<int>(tiles), offset, entries);
}

void latency(const float* intensity, int64_t neurons, int steps, int curve, uint8_t* times, void* stream) {
    launch(each::over_neurons("latency", neurons, stream), latency_kernel, intensity, neurons, steps, curve, times);
}

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
