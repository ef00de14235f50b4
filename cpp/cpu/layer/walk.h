// A tile of neurons walks through the steps with its membranes in registers: V[t] = decay V[t-1] + I[t] (docs/model.md, section
// "Neuron").
#pragma once

#include <algorithm>

#include "../../core/neuron.h"
#include "plan.h"
#include "spike_lists.h"
#include "sums.h"
#include "tiles.h"

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

// The membranes of neurons without a leak at all steps at once, for fields of few units: the rows of a site's spikes are added to
// one sum in the order of their times, and the sum behind each of them is kept. No loop ends with a step, which the processor
// would not predict. At step t a membrane is the sum behind the spikes up to t, and t + 1 times the bias.

// A site without spikes: its membranes, t + 1 times the bias, and its times.
class SilentSite {
 public:
    SilentSite(const Layer& l, const PaddedRow& bias, const Neuron& neuron)
        : steps_(l.steps), membranes_(l.steps * Tiles{l.outputs}.padded()), times_(Tiles{l.outputs}.padded()) {
        const Tiles tiles{l.outputs};
        std::fill_n(times_.data(), tiles.padded(), static_cast<uint8_t>(kSilent));
        for (int64_t i = 0; i < tiles.number(); ++i)
            for (int64_t t = steps_ - 1; t >= 0; --t)
                for (int64_t lane = 0, width = tiles.vectors(i) * kLanes; lane < width; ++lane) {
                    const float v = static_cast<float>(t + 1) * bias.tile(i)[lane];
                    membranes_[i * kTile * steps_ + t * width + lane] = v;
                    if (fires(v, neuron.threshold)) times_[i * kTile + lane] = static_cast<uint8_t>(t);
                }
    }
    // Of tile i: [step][lane].
    const float* membranes(int64_t i) const { return membranes_.data() + i * kTile * steps_; }
    const uint8_t* times(int64_t i) const { return times_.data() + i * kTile; }

 private:
    int64_t steps_;
    Buffer<float> membranes_;
    Buffer<uint8_t> times_;
};

// Of a tile at a site. As a current it enters by putting the membranes in the place of those before, but for spent ones.
template <int N>
class FieldMembranes {
 public:
    static constexpr bool kWhole = true;
    static constexpr int64_t kWidth = N * kLanes;

    // sums: room for one more than the units of a field.
    FIRSTSPIKE_INLINE FieldMembranes(const SilentSite& silent, int64_t tile, const float* weights, const FieldEvents& events,
                                     int64_t steps, float* sums)
        : silent_(silent.membranes(tile)), silent_times_(silent.times(tile)), sums_(sums), events_(events) {
        Vec sum[N] = {};
        unrolled<N>(FIRSTSPIKE_BODY(k) { store(sums + k * kLanes, sum[k]); });
        const int64_t count = events.begin(steps);
        for (int64_t i = 0; i < count; ++i) {
            const float* w = weights + events.row(i) * kWidth;
            sums += kWidth;
            unrolled<N>(FIRSTSPIKE_BODY(k) {
                sum[k] += load(w + k * kLanes);
                store(sums + k * kLanes, sum[k]);
            });
        }
    }

    // Vector k at a step.
    FIRSTSPIKE_INLINE Vec at(int64_t t, int k) const {
        return load(sums_ + events_.begin(t + 1) * kWidth + k * kLanes) + load(silent_ + t * kWidth + k * kLanes);
    }
    // The times where all steps are silent.
    const uint8_t* silent_times() const { return silent_times_; }
    FIRSTSPIKE_INLINE bool silent(int64_t from, int64_t to) const { return events_.begin(to) == events_.begin(from); }
    FIRSTSPIKE_INLINE void enter(Vec (&v)[N], int64_t t) const {
        unrolled<N>(FIRSTSPIKE_BODY(k) { v[k] = v[k] > splat(kSpent) ? at(t, k) : v[k]; });
    }
    FIRSTSPIKE_INLINE void enter_silent(Vec (&v)[N], int64_t, int64_t to) const { enter(v, to - 1); }

 private:
    const float* silent_;
    const uint8_t* silent_times_;
    const float* sums_;
    FieldEvents events_;
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
