// The patches of a pool on maps in site order.
#pragma once

#include <cstdint>

#include "layer/plan.h"
#include "runtime/parallel.h"

namespace firstspike {

// Maps [samples, height, width, channels] in patches of pool x pool sites, each of which becomes a cell. What is left over at the
// lower and right edge is in none.
struct Patches {
    int64_t samples, height, width, channels, pool;

    int64_t sites() const { return samples * height * width; }
    int64_t rows() const { return height / pool; }
    int64_t columns() const { return width / pool; }
    int64_t cells() const { return samples * rows() * columns(); }  // patches
    int64_t units() const { return sites() * channels; }
    int64_t pooled() const { return cells() * channels; }
    // The last site of the patch that begins at this one.
    int64_t last(int64_t first) const { return first + (pool - 1) * (width + 1); }
};

// run(site) for the sites of the patch that begins at `first`, row by row, up to the site `end`, which is left out.
template <class Run>
inline void each_unit(const Patches& p, int64_t first, int64_t end, Run&& run) {
    for (int64_t row = first; row <= end; row += p.width)
        for (int64_t site = row; site < row + p.pool; ++site) {
            if (site == end) return;
            run(site);
        }
}

// run(site) for all sites of the patch that begins at `first`, row by row.
template <class Run>
inline void each_unit(const Patches& p, int64_t first, Run&& run) {
    each_unit(p, first, p.last(first) + 1, run);
}

// run(cell, first) for all patches: the number of the patch's cell, and its first site.
template <class Run>
void each_patch(const Patches& p, int threads, Run&& run) {
    const int64_t lines = p.samples * p.rows();
    parallel_ranges(lines, site_tasks(lines, threads), threads, [&](int64_t, int64_t line) {
        const int64_t top = line / p.rows() * p.height + line % p.rows() * p.pool;
        for (int64_t x = 0; x < p.columns(); ++x) run(line * p.columns() + x, top * p.width + x * p.pool);
    });
}

}  // namespace firstspike
