#include "constant.h"

#include <algorithm>
#include <memory>

#include "../core/layer.h"
#include "fixed.h"
#include "threads.h"

namespace firstspike::emulator {

namespace {

uint8_t time_of(const ConstantNeurons& n, int32_t sum, int64_t channel) {
    using FIRSTSPIKE_EMULATOR_ISA::leak_toward_zero;
    const int64_t coarse = n.coarse[channel], reached = n.reached[channel];
    const int64_t rounded = (int64_t{sum} + ((int64_t{1} << coarse) >> 1)) >> coarse;
    const int64_t current = std::clamp(rounded, int64_t{0}, n.high) << n.shift;
    if (current == 0) return kSilent;
    int64_t step = 0;
    if (n.decay_bits == 0)
        step = (reached - 1) / current;  // the first with (step + 1) current >= reached
    else
        for (int64_t v = current; v < reached && step < n.steps; ++step)
            v = leak_toward_zero<int64_t>(v, n.keep, n.decay_bits) + current;
    return step < n.steps ? static_cast<uint8_t>(step) : static_cast<uint8_t>(kSilent);
}

}  // namespace

void constant_times(const ConstantNeurons& neurons, const int32_t* sums, int64_t samples, int64_t sites, int threads,
                    uint8_t* times) {
    const int64_t each = sites * neurons.channels;
    struct Nothing {};
    over_samples<Nothing>(
        samples, threads, [] { return std::make_unique<Nothing>(); },
        [&](Nothing&, int64_t sample) {
            for (int64_t i = sample * each; i < (sample + 1) * each; ++i)
                times[i] = time_of(neurons, sums[i], i % neurons.channels);
        });
}

}  // namespace firstspike::emulator
