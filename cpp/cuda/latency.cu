// The latency code: intensities to spike times.
#include "each.h"

namespace firstspike::cuda {

namespace {

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

}  // namespace

void latency(const float* intensity, int64_t neurons, int steps, int curve, uint8_t* times, void* stream) {
    launch(each::over_neurons("latency", neurons, stream), latency_kernel, intensity, neurons, steps, curve, times);
}

}  // namespace firstspike::cuda
