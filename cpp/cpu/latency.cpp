#include "latency.h"

#include <cmath>

#include "../core/layer.h"
#include "runtime/parallel.h"

namespace firstspike {

namespace {

// Pointers of its own, for the compiler makes vectors only where it knows that a byte written is none of the values read.
void block(const float* __restrict x, int64_t units, float last, uint8_t* __restrict times) {
    for (int64_t i = 0; i < units; ++i) {
        float step = std::rint((1.0f - x[i]) * last);
        step = step > 0.0f ? step : 0.0f;  // of a NaN as well, which is no integer
        step = step < last ? step : last;
        const int time = static_cast<int>(step);
        times[i] = static_cast<uint8_t>(x[i] == 0.0f ? kSilent : time);
    }
}

}  // namespace

void linear_latency(const float* x, int64_t units, int64_t steps, int threads, uint8_t* times) {
    constexpr int64_t kUnitsPerTask = 16384;
    parallel_blocks(units, kUnitsPerTask, threads,
                    [&](int64_t from, int64_t number) { block(x + from, number, static_cast<float>(steps - 1), times + from); });
}

}  // namespace firstspike
