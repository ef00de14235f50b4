#include "pointwise.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "../core/layer.h"
#include "layer/plan.h"
#include "layer/tiles.h"
#include "runtime/parallel.h"

namespace firstspike {

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

// Latency coding

namespace {

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

}  // namespace

void linear_latency(const float* x, int64_t units, int64_t steps, int threads, uint8_t* times) {
    parallel_blocks(units, kNeuronsPerTask, threads, [&](int64_t from, int64_t number) {
        latency_block(x + from, number, static_cast<float>(steps - 1), times + from);
    });
}

// Dropout

namespace {

static_assert(kTile <= 64 && kTile % kLevelsPerDraw == 0);

// Of each tile of each site one bit per neuron, set where its spike is kept: run(site, tile, bits). Groups that `wanted` denies
// are left out.
template <class Wanted, class Run>
void each_draw(int64_t sites, int64_t channels, const DropoutMask& mask, int threads, Wanted&& wanted, Run&& run) {
    const Tiles tiles{channels};
    const int64_t tasks = site_tasks(sites, threads);
    parallel_for(tasks, threads, [&](int64_t task) {
        for (int64_t site = sites * task / tasks; site < sites * (task + 1) / tasks; ++site)
            for (int64_t tile = 0; tile < tiles.number(); ++tile) {
                if (!wanted(site * tiles.number() + tile)) continue;
                uint64_t bits = 0;
                for (int first = 0; first < tiles.used(tile); first += kLevelsPerDraw) {
                    const uint64_t levels = draw_levels(mask.seed, site, channels, (tile * kTile + first) / kLevelsPerDraw);
                    for (int i = 0; i < kLevelsPerDraw; ++i)
                        bits |= static_cast<uint64_t>(keeps(levels, i, mask.keep)) << (first + i);
                }
                run(site, tile, bits);
            }
    });
}

// The gradient where the neuron's bit is set, else 0, without a branch that the processor would have to foresee.
inline float masked(float gradient, uint64_t bits, int lane) {
    return std::bit_cast<float>(std::bit_cast<uint32_t>(gradient) & (0u - static_cast<uint32_t>((bits >> lane) & 1)));
}

}  // namespace

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

void drop_gradient_at(const float* gradient, int64_t sites, int64_t channels, const SupportView& support, const DropoutMask& mask,
                      int threads, float* out) {
    const int64_t tiles = Tiles{channels}.number();
    const int64_t* offset = support.offset;
    each_draw(
        sites, channels, mask, threads, [&](int64_t group) { return offset[group] < offset[group + 1]; },
        [&](int64_t site, int64_t tile, uint64_t bits) {
            const int64_t group = site * tiles + tile;
            for (int64_t e = offset[group]; e < offset[group + 1]; ++e) out[e] = masked(gradient[e], bits, support.lane[e]);
        });
}

void drop_gradient_dense(const float* gradient, int64_t steps, int64_t sites, int64_t channels, const DropoutMask& mask,
                         int threads, float* out) {
    const Tiles tiles{channels};
    each_draw(
        sites, channels, mask, threads, [](int64_t) { return true; },
        [&](int64_t site, int64_t tile, uint64_t bits) {
            for (int64_t t = 0; t < steps; ++t) {
                const int64_t first = (t * sites + site) * channels + tile * kTile;
                for (int i = 0; i < tiles.used(tile); ++i) out[first + i] = masked(gradient[first + i], bits, i);
            }
        });
}

}  // namespace firstspike
