// Neurons with a constant current, made of a sum of pixels (docs/emulator.md, "Pixels").
#pragma once

#include <cstdint>

namespace firstspike::emulator {

struct ConstantNeurons {
    int64_t channels;
    const int64_t* coarse;   // [channels], bits by which a sum is rounded, 0 to 31
    const int64_t* reached;  // [channels], the smallest membrane that fires, 1 to 2^46
    int64_t high;            // largest current, below 2^31
    int shift, keep, decay_bits, steps;
};

// Spike times [samples, sites, channels] of sums of that shape.
void constant_times(const ConstantNeurons& neurons, const int32_t* sums, int64_t samples, int64_t sites, int threads,
                    uint8_t* times);

}  // namespace firstspike::emulator
