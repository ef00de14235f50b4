// The entry points of the kernels, one per instruction set that was compiled in.
#pragma once

#include "params.h"
#include "window.h"

namespace firstspike::emulator {

// One sample: times [sources] -> counters [layers][kCounters], states; `trace[l]`, where not null, takes the membrane
// of every step, [total_steps][neurons]. Returns the number of steps made.
struct Sample {
    const Layer* layers;
    State* states;
    int layer_count, total_steps;
    bool exit_at_first_spike;
    const uint8_t* times;
    Events input;
    int64_t* counters;
    int64_t** trace;
};

using RunSample = int (*)(const Sample&);
using RunWindows = void (*)(const WindowSample&);

namespace generic {
int run_sample(const Sample& sample);
void run_windows(const WindowSample& sample);
}  // namespace generic
namespace v3 {
int run_sample(const Sample& sample);
void run_windows(const WindowSample& sample);
}  // namespace v3
namespace v4 {
int run_sample(const Sample& sample);
void run_windows(const WindowSample& sample);
}  // namespace v4

// The newest kernels that were compiled in (FIRSTSPIKE_ISAS) and that the processor can run.
struct Kernel {
    RunSample run_sample;
    RunWindows run_windows;
    const char* name;
};

Kernel kernel();

}  // namespace firstspike::emulator
