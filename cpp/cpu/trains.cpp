// Dense trains to spike times and back, and dense gradients to support entries.
#include "trains.h"

#include <algorithm>

#include "../core/layer.h"
#include "layer/tiles.h"
#include "runtime/parallel.h"

namespace firstspike {

namespace {
constexpr int64_t kNeuronsPerTask = 16384;
}  // namespace

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
    const int64_t tasks = site_tasks(sites, threads);
    SupportRecord found(true, tasks, sites * tiles.number(), sites * channels);
    parallel_for(tasks, threads, [&](int64_t task) {
        SupportWriter& writer = found.of_task(task);
        for (int64_t site = sites * task / tasks; site < sites * (task + 1) / tasks; ++site)
            for (int64_t tile = 0; tile < tiles.number(); ++tile) {
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
            }
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

}  // namespace firstspike
