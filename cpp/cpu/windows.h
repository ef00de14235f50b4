// Pooling windows of maps in site order.
#pragma once

#include <cstdint>

#include "layer/plan.h"
#include "runtime/parallel.h"

namespace firstspike {

// Maps [samples, height, width, channels] in windows of pool x pool units. What is left over at the lower and right edge is in
// none.
struct Windows {
    int64_t samples, height, width, channels, pool;

    int64_t sites() const { return samples * height * width; }
    int64_t rows() const { return height / pool; }
    int64_t columns() const { return width / pool; }
    int64_t cells() const { return samples * rows() * columns(); }  // windows, of all channels
    int64_t units() const { return sites() * channels; }
    int64_t pooled() const { return cells() * channels; }
    // The last unit of the window whose first one is at this site.
    int64_t last(int64_t first) const { return first + (pool - 1) * (width + 1); }
};

// run(site) for the units of the window that begins at `first`, row by row, up to the unit at `end`, which is left out.
template <class Run>
inline void each_unit(const Windows& w, int64_t first, int64_t end, Run&& run) {
    for (int64_t row = first; row <= end; row += w.width)
        for (int64_t site = row; site < row + w.pool; ++site) {
            if (site == end) return;
            run(site);
        }
}

// run(site) for all units of the window that begins at `first`, row by row.
template <class Run>
inline void each_unit(const Windows& w, int64_t first, Run&& run) {
    each_unit(w, first, w.last(first) + 1, run);
}

// run(cell, first) for all windows: its number, and the site of its first unit.
template <class Run>
void each_window(const Windows& w, int threads, Run&& run) {
    const int64_t lines = w.samples * w.rows();
    parallel_ranges(lines, site_tasks(lines, threads), threads, [&](int64_t, int64_t line) {
        const int64_t top = line / w.rows() * w.height + line % w.rows() * w.pool;
        for (int64_t x = 0; x < w.columns(); ++x) run(line * w.columns() + x, top * w.width + x * w.pool);
    });
}

}  // namespace firstspike
