// The earliest spike of pooling windows, and the support entries of the units that it comes from (docs/model.md, section
// "Pooling").
#pragma once

#include "../core/support.h"
#include "runtime/scratch.h"
#include "windows.h"

namespace firstspike {

// A window's units have numbers of one byte.
constexpr int64_t kWidestPool = 16;

// Times [cells, channels] of the windows; winner: which unit of its window each of them comes from, the first of several, row by
// row. A window of silent units is silent, and its first unit's.
void earliest_times(const uint8_t* times, const Windows&, int threads, uint8_t* times_out, uint8_t* winner);

// The entries of the winners as entries of the cells; source: which of the units' entries each of them is.
struct EarliestSupport {
    Buffer<int64_t> offset;  // [groups + 1]
    Buffer<uint8_t> place;   // [2, entries]
    Buffer<int64_t> source;  // [entries]
    int64_t groups = 0, entries = 0;
};
EarliestSupport earliest_support(const uint8_t* winner, const Windows&, const SupportView&, int threads);

}  // namespace firstspike
