// The currents of a convolution with large fields: for each kernel row the spikes under its taps are added up, and each site's
// sums are kept for every step.
//
// One kernel row after another, or some of its taps at a time, so that their weights stay in L1 for a whole row of sites; a site
// that took all its events at once would go through all weights at every step, from L2.
#pragma once

#include "spikes_by_map_row.h"
#include "step_sums.h"

namespace firstspike {

// Sites [from, to) of row y of a sample, one tile of neurons, its weights [tap][channel][N vectors] and its bias. at_site(x,
// sums) gets each site's currents, [step][N vectors].
template <int N, class AtSite>
void sum_taps(const Layer& l, const CellLists& cells, const float* weights, const float* bias, int64_t y, int64_t from,
              int64_t to, Buffer<float>& scratch, AtSite&& at_site) {
    using Sums = StepSums<N>;
    Sums sums(to - from, l.steps, scratch, bias);
    const int64_t together = taps_together(l.channels * Sums::kWidth, l.kernel_width);
    for (int64_t ky = 0; ky < l.kernel_height; ++ky) {
        const int64_t cell_y = y * l.stride_y - l.pad_y + ky;
        if (cell_y < 0 || cell_y >= l.cells_y()) continue;
        const uint32_t* events = cells.row(cell_y);
        const float* kernel_row = weights + ky * l.kernel_width * l.channels * Sums::kWidth;
        for (int64_t kx = 0; kx < l.kernel_width; kx += together) {
            const int64_t taps = std::min(together, l.kernel_width - kx);
            for (int64_t x = from; x < to; ++x) {
                const int64_t left = x * l.stride_x - l.pad_x;  // the cell under tap 0
                const uint32_t* begin = cells.begin(cell_y, std::clamp<int64_t>(left + kx, 0, l.cells_x()));
                const uint32_t* end = cells.begin(cell_y, std::clamp<int64_t>(left + kx + taps, 0, l.cells_x()));
                for (int64_t t = 0; t < l.steps; ++t) {
                    const int64_t count = end[t] - begin[t];
                    if (count == 0) continue;
                    const uint32_t* event = events + begin[t];
                    sums.template add<1>(x - from, t, count, [&](Vec(&v)[N], int64_t i) {
                        const float* w = kernel_row + (static_cast<int64_t>(event[i]) - left * l.channels) * Sums::kWidth;
                        for (int n = 0; n < N; ++n) v[n] += load(w + n * kLanes);
                    });
                }
            }
        }
    }
    for (int64_t x = from; x < to; ++x) at_site(x, sums.at(x - from));
}

}  // namespace firstspike
