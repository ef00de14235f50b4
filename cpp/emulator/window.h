// Nets of windows: each layer integrates while its sources fire, then fires in a window of its own (docs/emulator.md).
#pragma once

#include <cstdint>

#include "params.h"

namespace firstspike::emulator {

// The synapses of a layer from one source. map: sizes of `Layer`; weights: [in_c][kernel_h][kernel_w][map.stride] of a
// convolution, with map.stride = out_c / groups outputs of the input's group, or [rows][out_c].
struct Synapses {
    Layer map;
    int source, steps, groups;  // a layer before this one, -1 for the input; the steps of its window
    const int32_t* weights;     // shifted, as the current takes them
};

// Sizes as in `Layer`; arrays [out_c]; theta is for >=. A layer of no steps is a readout; one that pools has no current.
struct WindowLayer {
    int out_h, out_w, out_c, steps;
    bool pools, narrow;  // narrow: 32 bits are exact
    Register current, membrane;
    const int64_t *theta, *start, *rise;
    int input_count;     // in order of their sources: one window after the other, or the same
    Synapses inputs[2];  // the layer before this one is the last

    [[gnu::always_inline]] int neurons() const { return out_h * out_w * out_c; }
};

// One sample. times[l + 1]: spikes of layer l, [0]: of the input; trace[l]: null, or the membranes of all steps in which layer l
// is updated, [steps][neurons]; last: the membranes of the last layer at the end.
struct WindowSample {
    const WindowLayer* layers;
    int layer_count;
    uint8_t* const* times;
    int64_t* const* trace;
    int64_t *last, *counters;   // [neurons], [layers][kCounters] of zeros
    Events events;              // room for the spikes of any population
    void *current, *v, *theta;  // room for 64 bits per neuron of any layer
};

}  // namespace firstspike::emulator
