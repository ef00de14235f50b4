// A tile of neurons walks through the steps with its membranes in registers: V[t] = decay V[t-1] + I[t] (docs/model.md, section
// "Neuron").
#pragma once

#include <algorithm>

#include "../../core/neuron.h"
#include "plan.h"
#include "sums.h"

namespace firstspike {

template <int N>
FIRSTSPIKE_INLINE void add(Vec (&v)[N], const float* values) {
    unrolled<N>(FIRSTSPIKE_BODY(k) { v[k] += load(values + k * kLanes); });
}

// The current of a tile of neurons at each step: rows of weights to add, and the bias, ...
template <class Events>
struct ListedCurrent {
    static constexpr bool kWhole = false;
    const float* weights;
    const float* bias;
    Events events;

    bool silent(int64_t from, int64_t to) const { return events.begin(to) == events.begin(from); }
    template <int N>
    FIRSTSPIKE_INLINE void enter(Vec (&v)[N], int64_t t) const {
        add_rows<N>(v, weights, events, events.begin(t), events.begin(t + 1));
        add(v, bias);
    }
    // The silent steps [from, to).
    template <int N>
    FIRSTSPIKE_INLINE void enter_silent(Vec (&v)[N], int64_t from, int64_t to) const {
        for (int64_t t = from; t < to; ++t) add(v, bias);
    }
};

// ... or the sums of all that.
struct SummedCurrent {
    static constexpr bool kWhole = false;
    const float* sums;

    static bool silent(int64_t, int64_t) { return false; }
    template <int N>
    static void enter_silent(Vec (&)[N], int64_t, int64_t) {}
    template <int N>
    FIRSTSPIKE_INLINE void enter(Vec (&v)[N], int64_t t) const {
        add(v, sums + t * N * kLanes);
    }
};

// A current that fades from step to step: I[t] = synaptic_decay I[t-1] + X[t], X being another current.
template <int N, class Current>
class SynapticCurrent {
 public:
    static constexpr bool kWhole = false;
    SynapticCurrent(const Current& entering, const Neuron& neuron) : entering_(entering), neuron_(neuron) {}

    static bool silent(int64_t, int64_t) { return false; }
    static void enter_silent(Vec (&)[N], int64_t, int64_t) {}
    FIRSTSPIKE_INLINE void enter(Vec (&v)[N], int64_t t) const {
        Vec current[N];
        unrolled<N>(FIRSTSPIKE_BODY(k) { current[k] = fade(current_[k], neuron_); });
        entering_.enter(current, t);
        unrolled<N>(FIRSTSPIKE_BODY(k) {
            current_[k] = current[k];
            v[k] += current[k];
        });
    }

 private:
    Current entering_;
    Neuron neuron_;
    mutable Vec current_[N] = {};
};

// Calls at_step(v, t) with the membranes after each step's current, until it returns false.
//
// In kSilentSteps steps without events the membranes move by the bias alone, one way: where at_step.idle(after the first of the
// steps, after the last) says that nothing happens in between, they are passed over.
template <int N, class Current, class AtStep>
FIRSTSPIKE_INLINE void walk(Vec (&v)[N], const Current& current, int64_t steps, const Neuron& neuron, AtStep&& at_step) {
    const bool leaky = neuron.decay != 1.0f;
    int64_t checked = 0;  // steps before this one are not passed over
    for (int64_t t = 0; t < steps; ++t) {
        const int64_t end = std::min(t + kSilentSteps, steps);
        if (t >= checked && current.silent(t, end) && !leaky) {
            checked = end;
            Vec first[N], last[N];
            unrolled<N>(FIRSTSPIKE_BODY(k) { first[k] = v[k]; });
            current.enter_silent(first, t, t + 1);
            unrolled<N>(FIRSTSPIKE_BODY(k) { last[k] = first[k]; });
            current.enter_silent(last, t + 1, end);
            if (at_step.idle(first, last)) {
                unrolled<N>(FIRSTSPIKE_BODY(k) { v[k] = last[k]; });
                t = end - 1;
                continue;
            }
        }
        if (leaky) unrolled<N>(FIRSTSPIKE_BODY(k) { v[k] = leak(v[k], neuron); });
        current.enter(v, t);
        if (!at_step(v, static_cast<int>(t))) return;
    }
}

}  // namespace firstspike
