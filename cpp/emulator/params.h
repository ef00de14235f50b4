// Plain descriptions of a program's layers, of a sample's state and of what a run writes.
#pragma once

#include <cstdint>

#include "../core/layer.h"  // kSilent, kMaxSteps

namespace firstspike::emulator {

constexpr int kLanes = 16;  // output channels of step-by-step layers are padded to a multiple of this

struct Register {
    int64_t low, high;
    int bits;
    bool wrap;  // false: saturate (policy `error` saturates too, and its caller looks at the counter)
};

enum Counter { kSpikes, kEvents, kDelivered, kEffective, kActive, kAccumulatorOverflows, kMembraneOverflows, kCounters };

// The synapses of a layer from one source. The source's map is in_h x in_w x in_c, pooled it is in_h / pool x in_w / pool.
// diagonal: neuron (y, x, c) has a synapse from (y stride_h, x stride_w, c) of the pooled map, for c < in_c.
struct Synapses {
    enum class Kind { linear, conv, diagonal };

    Kind kind;
    int source, delay;  // a layer before this one, -1 for the program's input
    int in_h, in_w, in_c, pool;
    int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, groups;  // conv; diagonal: the strides
    int out_h, out_w;                                                  // of the layer
    int steps;                                                         // of the source's window
    int row;                                                           // elements from one row of weights to the next
    const void* weights;  // linear: [rows][row]; conv: [in_c][kernel_h][kernel_w][row]; diagonal: [in_c]

    [[gnu::always_inline]] int sources() const { return in_h * in_w * in_c; }
};

// Arrays have `padded` elements of the state's type. Fields that only some neurons have are 0 for the others.
struct Layer {
    enum class Neuron { step, windowed, pool };

    Neuron neuron;
    int out_h, out_w, out_c, padded;
    int start, stop, shift;  // it may fire in steps start <= t < stop
    bool strict;             // at V > theta
    Register accumulator, membrane;
    int weight_bytes, state_bytes;  // 1, 2, 4 and 4, 8
    const void *theta, *bias;       // theta is for >=; padding is never reached
    const void* rise;               // windowed
    int input_count;
    Synapses inputs[2];  // of the layer before this one, and of a shortcut

    // step
    bool fires, by_event, leaks, has_bias;
    bool has_current, by_shift;  // the input enters a current; leaks are shifts
    int keep, current_keep, decay_bits;

    [[gnu::always_inline]] int sites() const { return out_h * out_w; }
    [[gnu::always_inline]] int neurons() const { return out_h * out_w * out_c; }
    [[gnu::always_inline]] int steps() const { return stop - start; }
    [[gnu::always_inline]] bool by_step() const { return neuron == Neuron::step; }
};

// Events of one population, by step: index[begin[t]] to index[begin[t + 1]] fired in step t, ascending.
struct Events {
    int32_t* index;
    int32_t* begin;  // [steps + 1]
};

// What one sample's run keeps of a step-by-step layer. Arrays of the state's type have sites * padded elements.
struct State {
    void* v;
    void* current;     // null where `step_with_current` does not run
    void* sum;         // weights of the events of this step
    void* alive;       // -1, or 0 for a spent neuron and for padding
    uint8_t* times;    // [sites * padded]
    int32_t* unspent;  // [sites] neurons not yet spent
    uint8_t* touched;  // [sites] `Touched`: whether, and by what, in this step
    int32_t all_unspent;
    Events out;
};

}  // namespace firstspike::emulator
