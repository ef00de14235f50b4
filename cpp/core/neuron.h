// One step of the neuron: V[t] = decay V[t-1] + X[t]; it fires where V >= threshold, once (docs/model.md, section "Neuron").
//
// Templates over the value: a float on the device, a vector of floats on the CPU.
#pragma once

#include <cmath>

#include "macros.h"

namespace firstspike {

struct Neuron {
    float threshold;
    float decay;  // in (0, 1]; 1 is the integrate-and-fire neuron of the paper
};

template <class Value>
FIRSTSPIKE_HOST_DEVICE inline Value leak(Value membrane, const Neuron& neuron) {
    return membrane * neuron.decay;
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

// sum_{k=0..step} decay^k: how often a constant current has entered the membrane by `step`, leak included.
FIRSTSPIKE_HOST_DEVICE inline float constant_current_gain(int step, float decay) {
    if (decay == 1.0f) return static_cast<float>(step + 1);
    float gain = 0.0f;
    for (int k = 0; k <= step; ++k) gain = gain * decay + 1.0f;
    return gain;
}

}  // namespace firstspike
