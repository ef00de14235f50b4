// Neurons in tiles, site after site, whose membranes step in registers without events; and the dense neuron, block by block.
#include "neurons.h"

#include <algorithm>

#include "layer/firing.h"
#include "layer/plan.h"
#include "runtime/parallel.h"

namespace firstspike {

namespace {

// Calls run(task, site, tile) for every tile; calls with the same `task` come one after another.
template <class Run>
void each_site_tile(int64_t sites, int64_t channels, int threads, Run&& run) {
    const Tiles tiles{channels};
    const int64_t tasks = site_tasks(sites, threads);
    parallel_for(tasks, sites * channels < kSmallSites ? 1 : threads, [&](int64_t task) {
        for (int64_t site = sites * task / tasks; site < sites * (task + 1) / tasks; ++site)
            for (int64_t tile = 0; tile < tiles.number(); ++tile) run(task, site, tile);
    });
}

// Spike times [sites, channels], and their support if asked. at_tile(vectors, first, used) returns what brings the membranes of
// the `used` neurons from number `first` on to step t: advance(v, t).
template <class AtTile>
Support fire_sites(int64_t sites, int64_t channels, int64_t steps, const Neuron& neuron, const Surrogate& surrogate, bool record,
                   int threads, uint8_t* times_out, AtTile&& at_tile) {
    const Tiles tiles{channels};
    SupportRecord found(record, site_tasks(sites, threads), sites * tiles.number(), sites * channels);
    const FiringRule rule(neuron, surrogate);
    each_site_tile(sites, channels, threads, [&](int64_t task, int64_t site, int64_t tile) {
        with_vectors(tiles.vectors(tile), [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            const int used = tiles.used(tile);
            const int64_t at = site * channels + tile * kTile;
            const auto advance = at_tile(vectors, at, used);
            Vec v[N];
            rest(v, used);
            const auto run = [&](auto&& firing) {
                for (int t = 0; t < steps; ++t) {
                    advance(v, t);
                    if (!firing(v, t)) return;
                }
            };
            if (record) {
                SupportWriter& writer = found.of_task(task);
                FiringRecord<N> firing(rule, writer.begin_group(site * tiles.number() + tile, steps * used));
                run(firing);
                writer.end_group(firing.cursor());
                firing.write_times(times_out + at, used);
            } else {
                FiringTimes<N> firing(rule, used);
                run(firing);
                firing.write_times(times_out + at, used);
            }
        });
    });
    return found.join(threads);
}

// The currents of a tile, and how its membranes step.
template <int N>
struct ConstantCurrent {
    const Neuron& neuron;
    Vec x[N];

    ConstantCurrent(const Neuron& n, const float* current, int used) : neuron(n) {
        for (int k = 0; k < N; ++k) x[k] = load_some(current + k * kLanes, used - k * kLanes);
    }
    FIRSTSPIKE_INLINE void operator()(Vec (&v)[N], int) const {
        unrolled<N>(FIRSTSPIKE_BODY(k) { v[k] = leak(v[k], neuron) + x[k]; });
    }
};

// The same where a current that stays builds up the membranes.
template <int N>
struct GrowingCurrent {
    ConstantCurrent<N> entering;
    mutable Vec current[N] = {};

    FIRSTSPIKE_INLINE void operator()(Vec (&v)[N], int) const {
        unrolled<N>(FIRSTSPIKE_BODY(k) {
            current[k] = fade(current[k], entering.neuron) + entering.x[k];
            v[k] = leak(v[k], entering.neuron) + current[k];
        });
    }
};

// What a block of neurons carries from step to step.
struct State {
    float membrane[kDenseNeuronsPerTask] = {}, current[kDenseNeuronsPerTask] = {};
    float alive[kDenseNeuronsPerTask];
    State() { std::fill_n(alive, kDenseNeuronsPerTask, 1.0f); }

    // Brings membrane i to the next step, x entering.
    template <bool kSynaptic>
    FIRSTSPIKE_INLINE float step(int64_t i, float x, const Neuron& neuron) {
        if constexpr (kSynaptic) x = current[i] = fade(current[i], neuron) + x;
        return membrane[i] = leak(membrane[i], neuron) + x;
    }
};

template <bool kSynaptic>
void fire_neurons(const float* current, int64_t steps, int64_t neurons, const Neuron& neuron, int threads, float* spikes) {
    parallel_blocks(neurons, kDenseNeuronsPerTask, threads, [&](int64_t from, int64_t n) {
        State state;
        for (int64_t t = 0; t < steps; ++t) {
            const float* x = current + t * neurons + from;
            float* out = spikes + t * neurons + from;
            for (int64_t i = 0; i < n; ++i) {
                out[i] = state.step<kSynaptic>(i, x[i], neuron) >= neuron.threshold ? state.alive[i] : 0.0f;
                state.alive[i] -= out[i];
            }
        }
    });
}

template <bool kSynaptic>
void fire_neurons_gradient(const float* current, const float* gradient, int64_t steps, int64_t neurons, const Neuron& neuron,
                           const Surrogate& surrogate, int threads, float* current_gradient) {
    parallel_blocks(neurons, kDenseNeuronsPerTask, threads, [&](int64_t from, int64_t n) {
        State state;
        for (int64_t t = 0; t < steps; ++t) {  // direct[t]: up to the spike
            const int64_t at = t * neurons + from;
            for (int64_t i = 0; i < n; ++i) {
                const float v = state.step<kSynaptic>(i, current[at + i], neuron);
                const float slope = surrogate.slope(overshoot(v, neuron));
                current_gradient[at + i] = state.alive[i] != 0.0f ? gradient[at + i] * slope : 0.0f;
                if (v >= neuron.threshold) state.alive[i] = 0.0f;
            }
        }
        // D[t] = direct[t] + decay D[t + 1], then E[t] = D[t] + synaptic_decay E[t + 1]
        for (const float factor : {neuron.decay, neuron.synaptic_decay}) {
            if (factor == 0.0f) break;
            for (int64_t t = steps - 2; t >= 0; --t)
                for (int64_t i = 0; i < n; ++i)
                    current_gradient[t * neurons + from + i] += factor * current_gradient[(t + 1) * neurons + from + i];
        }
    });
}

}  // namespace

Support ramp(const float* current, int64_t sites, int64_t channels, int64_t steps, const Neuron& neuron,
             const Surrogate& surrogate, bool record, int threads, uint8_t* times_out) {
    const auto constant = [&](auto vectors, int64_t first, int used) {
        return ConstantCurrent<decltype(vectors)::value>(neuron, current + first, used);
    };
    if (neuron.synaptic_decay == 0.0f)
        return fire_sites(sites, channels, steps, neuron, surrogate, record, threads, times_out, constant);
    return fire_sites(sites, channels, steps, neuron, surrogate, record, threads, times_out,
                      [&](auto vectors, int64_t first, int used) {
                          return GrowingCurrent<decltype(vectors)::value>{constant(vectors, first, used)};
                      });
}

void ramp_gradient(const OutputGradient& g, int64_t sites, int64_t channels, const Neuron& neuron, int threads,
                   float* current_gradient) {
    float gain[kMaxSteps];
    constant_current_gains(gain, kMaxSteps, neuron);
    const int64_t tiles = Tiles{channels}.number();
    std::fill_n(current_gradient, sites * channels, 0.0f);
    each_site_tile(sites, channels, threads, [&](int64_t, int64_t site, int64_t tile) {
        const int64_t group = site * tiles + tile;
        float* out = current_gradient + site * channels + tile * kTile;
        for (int64_t e = g.support.offset[group]; e < g.support.offset[group + 1]; ++e)
            out[g.support.lane[e]] += g.gradient[e] * g.slope[e] * gain[g.support.step[e]];
    });
}

void fire_dense(const float* current, int64_t steps, int64_t neurons, const Neuron& neuron, int threads, float* spikes) {
    const auto run = neuron.synaptic_decay == 0.0f ? fire_neurons<false> : fire_neurons<true>;
    run(current, steps, neurons, neuron, threads, spikes);
}

void fire_dense_gradient(const float* current, const float* gradient, int64_t steps, int64_t neurons, const Neuron& neuron,
                         const Surrogate& surrogate, int threads, float* current_gradient) {
    const auto run = neuron.synaptic_decay == 0.0f ? fire_neurons_gradient<false> : fire_neurons_gradient<true>;
    run(current, gradient, steps, neurons, neuron, surrogate, threads, current_gradient);
}

}  // namespace firstspike
