// Direct coding: a constant current into each neuron, so that V[t] = current (1 + decay + ... + decay^t). The layer's product is
// made once by the caller; here a tile of neurons steps in registers.
#include "ramp.h"

#include <algorithm>

#include "layer/firing.h"
#include "runtime/parallel.h"

namespace firstspike {

namespace {

template <class Run>
void each_tile(int64_t sites, int64_t channels, int threads, Run&& run) {
    const Tiles tiles{channels};
    const int64_t tasks = site_tasks(sites, threads);
    parallel_for(tasks, sites * channels < 4096 ? 1 : threads, [&](int64_t task) {
        for (int64_t site = sites * task / tasks; site < sites * (task + 1) / tasks; ++site)
            for (int64_t tile = 0; tile < tiles.number(); ++tile) run(task, site, tile);
    });
}

}  // namespace

Support ramp(const float* current, int64_t sites, int64_t channels, int64_t steps, const Neuron& neuron,
             const Surrogate& surrogate, bool record, int threads, uint8_t* times_out) {
    const Tiles tiles{channels};
    SupportRecord found(record, site_tasks(sites, threads), sites * tiles.number(), sites * channels);
    const FiringRule rule(neuron, surrogate);
    each_tile(sites, channels, threads, [&](int64_t task, int64_t site, int64_t tile) {
        with_vectors(tiles.vectors(tile), [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            const int used = tiles.used(tile);
            const int64_t at = site * channels + tile * kTile;
            Vec v[N], x[N];
            rest(v, used);
            for (int k = 0; k < N; ++k) x[k] = load_some(current + at + k * kLanes, used - k * kLanes);
            const auto run = [&](auto&& firing) {
                for (int t = 0; t < steps; ++t) {
                    for (int k = 0; k < N; ++k) v[k] = leak(v[k], neuron) + x[k];
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

void ramp_gradient(const OutputGradient& g, int64_t sites, int64_t channels, const Neuron& neuron, int threads,
                   float* current_gradient) {
    float gain[kMaxSteps];
    constant_current_gains(gain, kMaxSteps, neuron.decay);
    const int64_t tiles = Tiles{channels}.number();
    std::fill_n(current_gradient, sites * channels, 0.0f);
    each_tile(sites, channels, threads, [&](int64_t, int64_t site, int64_t tile) {
        const int64_t group = site * tiles + tile;
        float* out = current_gradient + site * channels + tile * kTile;
        for (int64_t e = g.support.offset[group]; e < g.support.offset[group + 1]; ++e)
            out[g.support.lane[e]] += g.gradient[e] * g.slope[e] * gain[g.support.step[e]];
    });
}

}  // namespace firstspike
