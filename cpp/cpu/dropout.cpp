// Dropout: spikes that are dropped at random in training, and the gradients of the others.
#include "dropout.h"

#include <bit>

#include "layer/tiles.h"
#include "runtime/parallel.h"

namespace firstspike {

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
