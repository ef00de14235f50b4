// Dense gradients at support entries, and dense gradients as support entries.
#include "each.h"

namespace firstspike::cuda {

namespace {

__global__ void __launch_bounds__(each::kThreads)
    gather_kernel(const float* gradient, int64_t sites, int channels, int tiles, const SupportView support, float* out) {
    for (int64_t group = each::first_group(); group < sites * tiles; group += each::group_stride()) {
        const int64_t site = group / tiles, first = group % tiles * kTile, end = support.offset[group + 1];
        for (int64_t e = support.offset[group] + lane(); e < end; e += kWarp)
            out[e] = gradient[(support.step[e] * sites + site) * channels + first + support.lane[e]];
    }
}

__global__ void __launch_bounds__(each::kThreads)
    dense_support_kernel(const float* gradient, int steps, int64_t sites, int channels, int tiles, int64_t* offset,
                         const Entries out) {
    for (int64_t group = each::first_group(); group < sites * tiles; group += each::group_stride()) {
        const int64_t site = group / tiles;
        const int first = static_cast<int>(group % tiles) * kTile, used = min(kTile, channels - first);
        const int64_t begin = site * steps * channels + static_cast<int64_t>(first) * steps;
        for (int t = 0; t < steps && lane() < used; ++t) {
            const int64_t e = begin + t * used + lane();
            out.slope[e] = gradient[(t * sites + site) * channels + first + lane()];
            out.step[e] = static_cast<uint8_t>(t);
            out.lane[e] = static_cast<uint8_t>(lane());
        }
        if (lane() == 0) {
            offset[group] = begin;
            if (group == sites * tiles - 1) offset[group + 1] = begin + static_cast<int64_t>(used) * steps;
        }
    }
}

}  // namespace

void gather_at_support(const float* gradient, int64_t sites, int64_t channels, const SupportView& support, float* out,
                       void* stream) {
    const int64_t tiles = tiles_of(channels);
    launch(each::over_groups("gather_at_support", sites * tiles, 0, stream), gather_kernel, gradient, sites,
           static_cast<int>(channels), static_cast<int>(tiles), support, out);
}

void support_of_dense(const float* gradient, int steps, int64_t sites, int64_t channels, int64_t* offset, Entries entries,
                      void* stream) {
    const int64_t tiles = tiles_of(channels);
    launch(each::over_groups("support_of_dense", sites * tiles, 0, stream), dense_support_kernel, gradient, steps, sites,
           static_cast<int>(channels), static_cast<int>(tiles), offset, entries);
}

}  // namespace firstspike::cuda
