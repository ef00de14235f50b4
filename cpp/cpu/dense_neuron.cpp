// The dense neuron: currents at every step in, spikes at every step out.
#include "dense_neuron.h"

#include <algorithm>

#include "../core/neuron.h"
#include "../core/surrogate.h"
#include "runtime/parallel.h"

namespace firstspike {

namespace {
constexpr int64_t kNeuronsPerTask = 4096;

// What a block of neurons carries from step to step.
struct State {
    float membrane[kNeuronsPerTask] = {};
    float alive[kNeuronsPerTask];
    State() { std::fill_n(alive, kNeuronsPerTask, 1.0f); }
};
}  // namespace

void fire_dense(const float* current, int64_t steps, int64_t neurons, const Neuron& neuron, int threads, float* spikes) {
    parallel_blocks(neurons, kNeuronsPerTask, threads, [&](int64_t from, int64_t n) {
        State state;
        for (int64_t t = 0; t < steps; ++t) {
            const float* x = current + t * neurons + from;
            float* out = spikes + t * neurons + from;
            for (int64_t i = 0; i < n; ++i) {
                state.membrane[i] = leak(state.membrane[i], neuron) + x[i];
                out[i] = state.membrane[i] >= neuron.threshold ? state.alive[i] : 0.0f;
                state.alive[i] -= out[i];
            }
        }
    });
}

void fire_dense_gradient(const float* current, const float* gradient, int64_t steps, int64_t neurons, const Neuron& neuron,
                         const Surrogate& surrogate, int threads, float* current_gradient) {
    parallel_blocks(neurons, kNeuronsPerTask, threads, [&](int64_t from, int64_t n) {
        State state;
        for (int64_t t = 0; t < steps; ++t) {  // direct[t]: up to the spike
            const int64_t at = t * neurons + from;
            for (int64_t i = 0; i < n; ++i) {
                state.membrane[i] = leak(state.membrane[i], neuron) + current[at + i];
                const float slope = surrogate.slope(overshoot(state.membrane[i], neuron));
                current_gradient[at + i] = state.alive[i] != 0.0f ? gradient[at + i] * slope : 0.0f;
                if (state.membrane[i] >= neuron.threshold) state.alive[i] = 0.0f;
            }
        }
        for (int64_t t = steps - 2; t >= 0; --t)  // D[t] = direct[t] + decay D[t + 1]
            for (int64_t i = 0; i < n; ++i)
                current_gradient[t * neurons + from + i] += neuron.decay * current_gradient[(t + 1) * neurons + from + i];
    });
}

}  // namespace firstspike
