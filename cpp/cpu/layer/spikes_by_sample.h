// The spikes of each sample by step, for layers with one site: which weight rows a sample adds at which step.
#pragma once

#include "../../core/layer.h"
#include "../runtime/scratch.h"
#include "plan.h"

namespace firstspike {

// Weight rows by step: those of step t are row(begin(t)) to row(begin(t + 1)), without the latter.
struct EventList {
    const uint32_t* rows;
    const uint32_t* begins;

    int64_t begin(int64_t t) const { return begins[t]; }
    uint32_t row(int64_t i) const { return rows[i]; }
};

class SpikesBySample {
 public:
    // Lists all samples.
    SpikesBySample(const Layer& layer, const ForwardPlan& plan, const uint8_t* times, int threads);

    EventList sample(int64_t n) const { return {row_.data() + n * room_, begin_.data() + n * (steps_ + 1)}; }

 private:
    int64_t steps_, room_;
    Buffer<uint32_t> row_, begin_;
};

}  // namespace firstspike
