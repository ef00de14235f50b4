// Neurons in tiles, site after site, whose membranes step without events: what ramp.cpp and membranes.cpp share.
#pragma once

#include "layer/firing.h"
#include "runtime/parallel.h"

namespace firstspike {

// Calls run(task, site, tile) for every tile; calls with the same `task` come one after another.
template <class Run>
void each_site_tile(int64_t sites, int64_t channels, int threads, Run&& run) {
    const Tiles tiles{channels};
    const int64_t tasks = site_tasks(sites, threads);
    parallel_for(tasks, sites * channels < 4096 ? 1 : threads, [&](int64_t task) {
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

}  // namespace firstspike
