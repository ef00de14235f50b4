// Latency coding: intensities to spike times (python/firstspike/encode.py has the formulas).
#pragma once

#include <cstdint>

namespace firstspike {

// times[i] = round((1 - x[i]) (steps - 1)), half to even, and silent where x[i] is 0. What is outside [0, 1] gets the nearest
// step.
void linear_latency(const float* x, int64_t units, int64_t steps, int threads, uint8_t* times);

}  // namespace firstspike
