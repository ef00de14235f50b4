// The support entries of a layer's neurons as the kernels read them (docs/model.md, section "Surrogate and support").
//
// A group is one tile of neurons at one site of one sample; groups are numbered sample, site, tile. Group g owns the entries
// offset[g] to offset[g + 1], sorted by step, then by lane.
#pragma once

#include <cstdint>

namespace firstspike {

struct SupportView {
    const int64_t* offset;  // [groups + 1]
    const uint8_t* step;    // [entries]
    const uint8_t* lane;    // [entries]: the neuron's place in its tile
};

// dL/dS at the support entries: gradient[e] * slope[e] is `direct` (docs/model.md, section "Backward pass").
struct OutputGradient {
    SupportView support;
    const float* slope;     // [entries], or null: all ones
    const float* gradient;  // [entries]
};

}  // namespace firstspike
