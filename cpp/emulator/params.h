// Plain descriptions of a program's layers, of a sample's state and of what a run writes.
#pragma once

#include <cstdint>

#include "../core/layer.h"  // kSilent, kMaxSteps

namespace firstspike::emulator {

constexpr int kLanes = 16;  // output channels are padded to a multiple of this

struct Register {
    int64_t low, high;
    int bits;
    bool wrap;  // false: saturate (policy `error` saturates too, and its caller looks at the counter)
};

enum Counter { kSpikes, kEvents, kDelivered, kEffective, kActive, kAccumulatorOverflows, kMembraneOverflows, kCounters };

// The input of a residual block into its last layer: neuron (y, x, c) has a synapse from (y stride_h, x stride_w, c) of the
// source, for c < in_c.
struct Shortcut {
    int source;            // a layer before this one, -1 for the program's input
    int in_h, in_w, in_c;  // the source's map
    int stride_h, stride_w, delay;
    const int32_t* weights;  // [in_c], null where a layer has no shortcut
};

// Sizes in elements. Weight rows hold `stride` values: out_c of them, then zeros.
struct Layer {
    bool conv, fires, by_event, leaks, has_bias;
    bool has_current, by_shift;                                // the input enters a current; leaks are shifts
    int in_h, in_w, in_c, pool;                                // the source's map; pooled: in_h / pool x in_w / pool
    int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;  // conv only
    int out_h, out_w, out_c, stride;                           // linear: out_h = out_w = 1
    int delay, start, stop;
    int shift, keep, current_keep, decay_bits;
    Register accumulator, membrane;
    int weight_bytes, state_bytes;  // 1, 2, 4 and 4, 8
    const void* weights;            // linear: [rows][stride]; conv: [in_c][kernel_h][kernel_w][stride]
    const void* theta;              // [stride] of the state's type, for >=; padding is never reached
    const void* bias;               // [stride]
    Shortcut shortcut;

    [[gnu::always_inline]] int sites() const { return out_h * out_w; }
    [[gnu::always_inline]] int neurons() const { return out_h * out_w * out_c; }
    [[gnu::always_inline]] int sources() const { return in_h * in_w * in_c; }
};

// Events of one population, by step: index[begin[t]] to index[begin[t + 1]] fired in step t, ascending.
struct Events {
    int32_t* index;
    int32_t* begin;  // [steps + 1]
};

// What one sample's run keeps of a layer. Arrays of the state's type have sites * stride elements.
struct State {
    void* v;
    void* current;     // null where `step_with_current` does not run
    void* sum;         // weights of the events of this step
    void* alive;       // -1, or 0 for a spent neuron and for padding
    uint8_t* times;    // [sites * stride]
    int32_t* unspent;  // [sites] neurons not yet spent
    uint8_t* touched;  // [sites] `Touched`: whether, and by what, in this step
    int32_t all_unspent;
    Events out;
};

}  // namespace firstspike::emulator
