// The dense neuron: a thread per neuron, currents at every step in, spikes at every step out. Bound by memory: the forward pass
// reads and writes each element once, with several loads in flight; so does the backward pass up to 32 steps.
#include "../core/neuron.h"
#include "../core/surrogate.h"
#include "each.h"

namespace firstspike::cuda {

namespace {

constexpr int kInFlight = 8;

struct Params {
    const float* current;
    const float* gradient;
    float* out;
    int steps;
    int64_t neurons;
    Neuron neuron;
    Surrogate surrogate;
};

__global__ void __launch_bounds__(each::kThreads) fire_kernel(const Params p) {
    const int64_t i = each::neuron();
    if (i >= p.neurons) return;
    float v = 0.0f;
    bool alive = true;
    for (int t0 = 0; t0 < p.steps; t0 += kInFlight) {
        float x[kInFlight];
#pragma unroll
        for (int k = 0; k < kInFlight; ++k) x[k] = t0 + k < p.steps ? p.current[(t0 + k) * p.neurons + i] : 0.0f;
#pragma unroll
        for (int k = 0; k < kInFlight; ++k) {
            if (t0 + k >= p.steps) break;
            v = leak(v, p.neuron) + x[k];
            const bool now = alive && fires(v, p.neuron.threshold);
            alive = alive && !now;
            p.out[(t0 + k) * p.neurons + i] = now ? 1.0f : 0.0f;
        }
    }
}

// direct[t] of one neuron, up to its spike.
struct Direct {
    float v = 0.0f;
    bool alive = true;

    __device__ float operator()(const Params& p, float current, float gradient) {
        v = leak(v, p.neuron) + current;
        const float direct = alive ? gradient * p.surrogate.slope(overshoot(v, p.neuron)) : 0.0f;
        alive = alive && !fires(v, p.neuron.threshold);
        return direct;
    }
};

// Up to kSteps steps: `direct` stays in registers.
template <int kSteps>
__global__ void __launch_bounds__(each::kThreads, 2) fire_gradient_kernel(const Params p) {
    const int64_t i = each::neuron();
    if (i >= p.neurons) return;
    float direct[kSteps], current[kSteps];
#pragma unroll
    for (int t = 0; t < kSteps; ++t) {
        current[t] = t < p.steps ? p.current[t * p.neurons + i] : 0.0f;
        direct[t] = t < p.steps ? p.gradient[t * p.neurons + i] : 0.0f;
    }
    Direct next;
#pragma unroll
    for (int t = 0; t < kSteps; ++t)
        if (t < p.steps) direct[t] = next(p, current[t], direct[t]);
    float run = 0.0f;
#pragma unroll
    for (int t = kSteps - 1; t >= 0; --t) {
        if (t >= p.steps) continue;
        run = direct[t] + p.neuron.decay * run;
        p.out[t * p.neurons + i] = run;
    }
}

// Any number of steps: `direct` waits in the result.
__global__ void __launch_bounds__(each::kThreads) fire_gradient_long_kernel(const Params p) {
    const int64_t i = each::neuron();
    if (i >= p.neurons) return;
    Direct next;
    for (int t = 0; t < p.steps; ++t) {
        const int64_t at = t * p.neurons + i;
        p.out[at] = next(p, p.current[at], p.gradient[at]);
    }
    float run = 0.0f;
    for (int t = p.steps - 1; t >= 0; --t) {
        const int64_t at = t * p.neurons + i;
        run = p.out[at] + p.neuron.decay * run;
        p.out[at] = run;
    }
}

}  // namespace

void fire_dense(const float* current, int steps, int64_t neurons, const Neuron& neuron, float* spikes, void* stream) {
    launch(each::over_neurons("fire", neurons, stream), fire_kernel,
           Params{current, nullptr, spikes, steps, neurons, neuron, {SurrogateKind::triangle, 1.0f}});
}

void fire_dense_gradient(const float* current, const float* gradient, int steps, int64_t neurons, const Neuron& neuron,
                         const Surrogate& surrogate, float* current_gradient, void* stream) {
    const Params p{current, gradient, current_gradient, steps, neurons, neuron, surrogate};
    const Launch l = each::over_neurons("fire_gradient", neurons, stream);
    if (steps <= 4)
        launch(l, fire_gradient_kernel<4>, p);
    else if (steps <= 8)
        launch(l, fire_gradient_kernel<8>, p);
    else if (steps <= 16)
        launch(l, fire_gradient_kernel<16>, p);
    else if (steps <= 32)
        launch(l, fire_gradient_kernel<32>, p);
    else
        launch(l, fire_gradient_long_kernel, p);
}

}  // namespace firstspike::cuda
