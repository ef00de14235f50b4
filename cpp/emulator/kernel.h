// The entry points of the kernels, one per instruction set that was compiled in.
#pragma once

#include "params.h"

namespace firstspike::emulator {

// One sample through step-by-step layers: times [sources] -> counters [layers][kCounters], states; `trace[l]`, where not null,
// takes the membrane of every step, [total_steps][neurons].
struct StepSample {
    const Layer* layers;
    int layer_count, total_steps;
    bool exit_at_first_spike;
    const uint8_t* input;
    int64_t* counters;
    int64_t* const* trace;
    State* states;
    Events events;  // of the input
};

// One sample through layers of windows. times[l]: the spikes of layer l; trace[l]: null, or the membranes of all steps in which
// layer l is updated, [steps][neurons]; last: the membranes of the last layer at the end, or null.
struct WindowedSample {
    const Layer* layers;
    int layer_count;
    const uint8_t* input;
    int64_t* counters;  // zeros
    int64_t* const* trace;
    uint8_t* const* times;
    int64_t* last;
    Events events;              // room for the spikes of any population
    void *current, *v, *theta;  // room for 64 bits per neuron of any layer
};

using RunSteps = int (*)(const StepSample&);  // returns the number of steps made
using RunWindows = void (*)(const WindowedSample&);

namespace generic {
int run_steps(const StepSample& sample);
void run_windows(const WindowedSample& sample);
}  // namespace generic
namespace v3 {
int run_steps(const StepSample& sample);
void run_windows(const WindowedSample& sample);
}  // namespace v3
namespace v4 {
int run_steps(const StepSample& sample);
void run_windows(const WindowedSample& sample);
}  // namespace v4

// The newest kernels that were compiled in (FIRSTSPIKE_ISAS) and that the processor can run.
struct Kernel {
    RunSteps run_steps;
    RunWindows run_windows;
    const char* name;
};

Kernel kernel();

}  // namespace firstspike::emulator
