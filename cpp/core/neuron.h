// One step of the neuron: I[t] = synaptic_decay I[t-1] + X[t], V[t] = decay V[t-1] + I[t]; it fires where V >= threshold, once
// (docs/model.md, section "Neuron").
//
// Templates over the value: a float on the device, a vector of floats on the CPU.
#pragma once

#include <cmath>
#include <cstdint>

#include "macros.h"

namespace firstspike {

struct Neuron {
    float threshold;
    float decay;                  // in (0, 2]; 1 is the integrate-and-fire neuron of the paper, above it the potential grows
    float synaptic_decay = 0.0f;  // in [0, 1]; 0: a spike counts in its own step alone, 1: in every step from then on
};

template <class Value>
FIRSTSPIKE_HOST_DEVICE inline Value leak(Value membrane, const Neuron& neuron) {
    return membrane * neuron.decay;
}

// What is left of a synaptic current in the next step.
template <class Value>
FIRSTSPIKE_HOST_DEVICE inline Value fade(Value current, const Neuron& neuron) {
    return current * neuron.synaptic_decay;
}

constexpr float kSpent = -INFINITY;  // the membrane of a neuron that has fired, or of a lane without a neuron

// Whether a membrane reaches the threshold: a bool, or a mask for each lane of a vector. A NaN does not.
template <class Value, class Threshold>
FIRSTSPIKE_HOST_DEVICE inline auto fires(Value membrane, Threshold threshold) {
    return membrane >= threshold;
}

template <class Value>
FIRSTSPIKE_HOST_DEVICE inline Value overshoot(Value membrane, const Neuron& neuron) {
    return membrane - neuron.threshold;
}

// The next of the sums 1, 1 + decay, 1 + decay + decay^2, ...: number t is how often a constant current has entered the membrane
// by step t, leak included. Before the first it is 0.
FIRSTSPIKE_HOST_DEVICE inline float next_gain(float gain, float decay) { return gain * decay + 1.0f; }

// The sum of step `step` alone.
FIRSTSPIKE_HOST_DEVICE inline float constant_current_gain(int step, float decay) {
    if (decay == 1.0f) return static_cast<float>(step + 1);
    float gain = 0.0f;
    for (int k = 0; k <= step; ++k) gain = next_gain(gain, decay);
    return gain;
}

// The sums of the first `steps` steps. With a synaptic current, the constant current itself builds up first.
inline void constant_current_gains(float* gains, int64_t steps, const Neuron& neuron) {
    float gain = 0.0f, current = 0.0f;
    for (int64_t t = 0; t < steps; ++t) {
        current = fade(current, neuron) + 1.0f;
        gains[t] = gain = leak(gain, neuron) + current;
    }
}

}  // namespace firstspike
