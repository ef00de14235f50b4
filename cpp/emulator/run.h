// A batch of samples through a network, over threads; each sample's results depend on that sample alone.
#pragma once

#include <cstdint>
#include <vector>

#include "network.h"

namespace firstspike::emulator {

// Where results go; null pointers are not written. B samples, L layers, N_l neurons, T_l updated steps.
struct Results {
    int64_t* counters;            // [B][L][kCounters], zeroed by the caller
    int32_t* steps_run;           // [B]
    std::vector<uint8_t*> times;  // per layer: [B][N_l]; of layers of windows none is null
    std::vector<int64_t*> trace;  // per layer: [B][T_l][N_l], zeroed by the caller
    int64_t* last;                // [B][N_last], of layers of windows: the last layer's membrane at the end
    int64_t* overshoot;           // [B][N_last], of step-by-step layers
};

// times: [B][sources], checked by the caller. threads >= 1. Layers of windows take no early exit.
void run(const Network& network, const uint8_t* times, int64_t samples, int threads, bool exit_at_first_spike,
         const Results& results);

// The instruction set in use: "v4", "v3" or "generic".
const char* instruction_set();

}  // namespace firstspike::emulator
