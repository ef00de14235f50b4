// Maps and their pooling windows, from Python.
#pragma once

#include <tuple>

#include "../cpu/windows.h"
#include "geometry.h"

namespace firstspike::bindings {

using MapSizes = std::tuple<int64_t, int64_t, int64_t, int64_t>;

// Windows of `pool` units on maps of these sizes: samples, height, width, channels. Their products do not overflow.
inline Windows windows_from(const MapSizes& sizes, int64_t pool) {
    const auto [samples, height, width, channels] = sizes;
    for (const int64_t size : {samples, height, width}) checked("sizes", size, 0, kMostElements);
    neurons_from(elements({samples, height, width}), channels);
    checked("pool", pool, 1, int64_t{1} << 31);
    return {samples, height, width, channels, pool};
}

}  // namespace firstspike::bindings
