// Neurons in tiles, site after site, whose membranes step in registers without events; the dense neuron, block by block; and
// what acts on each neuron's spike by itself.
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels.h"
#include "layer/firing.h"

namespace firstspike {

namespace {

// Threads for neurons that step in registers.
int worth(int64_t neurons, int threads) { return neurons < kSmallSites ? 1 : threads; }

// Calls run(task, site, tile) for every tile; calls with the same `task` come one after another.
template <class Run>
void each_site_tile(int64_t sites, int64_t channels, int threads, Run&& run) {
    const int64_t tiles = Tiles{channels}.number();
    parallel_ranges(sites, site_tasks(sites, threads), threads, [&](int64_t task, int64_t site) {
        for (int64_t tile = 0; tile < tiles; ++tile) run(task, site, tile);
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

// Its own restricted pointers: the compiler makes vectors only if it knows that a byte written is not one of the values read.
void latency_block(const float* __restrict x, int64_t units, float last, uint8_t* __restrict times) {
    for (int64_t i = 0; i < units; ++i) {
        float step = std::rint((1.0f - x[i]) * last);
        step = step > 0.0f ? step : 0.0f;  // a NaN as well: it cannot become an integer
        step = step < last ? step : last;
        const int time = static_cast<int>(step);
        times[i] = static_cast<uint8_t>(x[i] == 0.0f ? kSilent : time);
    }
}

static_assert(kTile <= 64 && kTile % kLevelsPerDraw == 0);

// Of each tile of each site one bit per neuron, set where its spike is kept: run(site, tile, bits). Groups that `wanted` denies
// are left out.
template <class Wanted, class Run>
void each_draw(int64_t sites, int64_t channels, const DropoutMask& mask, int threads, Wanted&& wanted, Run&& run) {
    const Tiles tiles{channels};
    each_site_tile(sites, channels, threads, [&](int64_t, int64_t site, int64_t tile) {
        if (!wanted(site * tiles.number() + tile)) return;
        uint64_t bits = 0;
        for (int first = 0; first < tiles.used(tile); first += kLevelsPerDraw) {
            const uint64_t levels = draw_levels(mask.seed, site, channels, (tile * kTile + first) / kLevelsPerDraw);
            for (int i = 0; i < kLevelsPerDraw; ++i) bits |= static_cast<uint64_t>(keeps(levels, i, mask.keep)) << (first + i);
        }
        run(site, tile, bits);
    });
}

// The gradient where the neuron's bit is set, else 0, without a branch that the processor would have to foresee.
inline float masked(float gradient, uint64_t bits, int lane) {
    return std::bit_cast<float>(std::bit_cast<uint32_t>(gradient) & (0u - static_cast<uint32_t>((bits >> lane) & 1)));
}

}  // namespace

Support ramp(const float* current, int64_t sites, int64_t channels, int64_t steps, const Neuron& neuron,
             const Surrogate& surrogate, bool record, int threads, uint8_t* times_out) {
    threads = worth(sites * channels, threads);
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
    each_site_tile(sites, channels, worth(sites * channels, threads), [&](int64_t, int64_t site, int64_t tile) {
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

void times_from_dense(const float* spikes, int64_t steps, int64_t neurons, int threads, uint8_t* times) {
    parallel_blocks(neurons, kNeuronsPerTask, threads, [&](int64_t from, int64_t number) {
        const int64_t to = from + number;
        std::fill(times + from, times + to, static_cast<uint8_t>(kSilent));
        for (int64_t t = steps - 1; t >= 0; --t)  // downwards: the first spike wins
            for (int64_t i = from; i < to; ++i) times[i] = spikes[t * neurons + i] != 0.0f ? static_cast<uint8_t>(t) : times[i];
    });
}

void dense_from_times(const uint8_t* times, int64_t steps, int64_t neurons, int threads, float* spikes) {
    parallel_blocks(neurons, kNeuronsPerTask, threads, [&](int64_t from, int64_t number) {
        const int64_t to = from + number;
        for (int64_t t = 0; t < steps; ++t)
            for (int64_t i = from; i < to; ++i) spikes[t * neurons + i] = times[i] == t ? 1.0f : 0.0f;
    });
}

Support support_from_dense(const float* gradient, int64_t sites, int64_t channels, int64_t steps, int threads) {
    const Tiles tiles{channels};
    SupportRecord found(true, site_tasks(sites, threads), sites * tiles.number(), sites * channels);
    each_site_tile(sites, channels, threads, [&](int64_t task, int64_t site, int64_t tile) {
        SupportWriter& writer = found.of_task(task);
        const int used = tiles.used(tile);
        SupportCursor cursor = writer.begin_group(site * tiles.number() + tile, steps * used);
        for (int64_t t = 0; t < steps; ++t) {
            cursor.start_step(static_cast<int>(t));
            for (int first = 0; first < used; first += kLanes) {
                const Vec g = load_some(gradient + (t * sites + site) * channels + tile * kTile + first, used - first);
                // Zeros add nothing; a NaN counts, so that it is not lost.
                const uint32_t some = first_lanes(kLanes) & ~(mask_reaches(g, Vec{}) & mask_reaches(Vec{}, g));
                if (some) cursor.append(some, g, first);
            }
        }
        writer.end_group(cursor);
    });
    return found.join(threads);
}

void gather_at_support(const float* gradient, int64_t sites, int64_t channels, const SupportView& support, int threads,
                       float* out) {
    const int64_t tiles = Tiles{channels}.number(), groups = sites * tiles;
    parallel_blocks(groups, kNeuronsPerTask, threads, [&](int64_t from, int64_t number) {
        const int64_t to = from + number;
        for (int64_t group = from; group < to; ++group)
            for (int64_t e = support.offset[group]; e < support.offset[group + 1]; ++e)
                out[e] = gradient[(support.step[e] * sites + group / tiles) * channels + group % tiles * kTile + support.lane[e]];
    });
}

void linear_latency(const float* x, int64_t units, int64_t steps, int threads, uint8_t* times) {
    parallel_blocks(units, kNeuronsPerTask, threads, [&](int64_t from, int64_t number) {
        latency_block(x + from, number, static_cast<float>(steps - 1), times + from);
    });
}

void drop_spikes(const uint8_t* times, int64_t sites, int64_t channels, const DropoutMask& mask, int threads,
                 uint8_t* times_out) {
    const Tiles tiles{channels};
    each_draw(
        sites, channels, mask, threads, [](int64_t) { return true; },
        [&](int64_t site, int64_t tile, uint64_t bits) {
            const int64_t first = site * channels + tile * kTile;
            for (int i = 0; i < tiles.used(tile); ++i)
                times_out[first + i] = static_cast<uint8_t>(times[first + i] | (((bits >> i) & 1) - 1));  // 255 is silent
        });
}

void drop_gradient(const float* gradient, int64_t steps, int64_t sites, int64_t channels, const SupportView* support,
                   const DropoutMask& mask, int threads, float* out) {
    const Tiles tiles{channels};
    const auto wanted = [&](int64_t group) { return !support || support->offset[group] < support->offset[group + 1]; };
    each_draw(sites, channels, mask, threads, wanted, [&](int64_t site, int64_t tile, uint64_t bits) {
        if (support) {
            const int64_t group = site * tiles.number() + tile, end = support->offset[group + 1];
            for (int64_t e = support->offset[group]; e < end; ++e) out[e] = masked(gradient[e], bits, support->lane[e]);
            return;
        }
        for (int64_t t = 0; t < steps; ++t) {
            const int64_t first = (t * sites + site) * channels + tile * kTile;
            for (int i = 0; i < tiles.used(tile); ++i) out[first + i] = masked(gradient[first + i], bits, i);
        }
    });
}

}  // namespace firstspike
