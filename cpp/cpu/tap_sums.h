// The currents of a convolution with large fields: the spikes of each cell are sent through the kernel's taps to the sites that
// they reach, and each site's sums are kept for every step.
//
// One tap after another, so that its weights stay in L1 for a whole row of cells; a site that gathered its own events would go
// through all taps' weights at every step, from L2, and would need its events listed first.
#pragma once

#include "cell_lists.h"
#include "step_sums.h"
#include "tiles.h"

namespace firstspike {

// Sites [from, to) of row y of a sample, one tile of neurons, its weights [tap][channel][N vectors]. at_site(x, sums) gets each
// site's currents, [step][N vectors].
template <int N, class AtSite>
void sum_taps(const Layer& l, const CellLists& cells, const float* weights, int64_t y, int64_t from, int64_t to,
              Buffer<float>& scratch, AtSite&& at_site) {
    using Sums = StepSums<N>;
    Sums sums(to - from + 2 * Sums::kMargin, l.steps, scratch);
    const int64_t tap_stride = l.channels * Sums::kWidth;
    const int64_t together = l.stride_x == 1 ? taps_together(tap_stride) : 1;
    for (int64_t ky = 0; ky < l.kernel_height; ++ky) {
        const int64_t cell_y = y * l.stride_y - l.pad_y + ky;
        if (cell_y < 0 || cell_y >= l.cells_y()) continue;
        for (int64_t kx = 0, taps; kx < l.kernel_width; kx += taps) {
            taps = std::min(together, l.kernel_width - kx);
            // The last tap of the run reaches the leftmost site: taps go backwards.
            const float* last_tap = weights + (ky * l.kernel_width + kx + taps - 1) * tap_stride;
            with_taps(taps, [&](auto number) {
                constexpr int G = decltype(number)::value;
                for (int64_t x = from; x < to + G - 1; ++x) {  // the rightmost site that a cell reaches
                    const int64_t cell_x = x * l.stride_x - l.pad_x + kx;
                    if (cell_x < 0 || cell_x >= l.cells_x()) continue;
                    const EventList events = cells.cell(cell_y, cell_x);
                    for (int64_t t = 0; t < l.steps; ++t) {
                        const int64_t count = events.count(t);
                        if (count == 0) continue;
                        const uint32_t* channel = events.row + events.begin[t];
                        sums.template add<G>(x - (G - 1) - from + Sums::kMargin, t, count, [&](Vec (&v)[G * N], int64_t event) {
                            const float* w = last_tap + static_cast<int64_t>(channel[event]) * Sums::kWidth;
                            for (int n = 0; n < G * N; ++n) v[n] += load(w - n / N * tap_stride + n % N * kLanes);
                        });
                    }
                }
            });
        }
    }
    for (int64_t x = from; x < to; ++x) at_site(x, sums.at(x - from + Sums::kMargin));
}

}  // namespace firstspike
