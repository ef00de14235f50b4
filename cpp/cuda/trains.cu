// Dense trains to spike times and back.
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

}  // namespace

void times_from_dense(const float* spikes, int steps, int64_t neurons, uint8_t* times, void* stream) {
    launch(each::over_neurons("times_from_dense", neurons, stream), times_kernel, spikes, steps, neurons, times);
}

void dense_from_times(const uint8_t* times, int steps, int64_t neurons, float* spikes, void* stream) {
    launch(each::over_neurons("dense_from_times", neurons, stream), dense_kernel, times, steps, neurons, spikes);
}

}  // namespace firstspike::cuda
