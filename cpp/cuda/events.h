// Input spikes sorted by time: for each cell of the pooled input, or for each sample of a layer with one site, which weight rows
// its spikes add at which step.
#pragma once

#include "shape.h"

namespace firstspike::cuda {

// List i has the spikes of step t at row[i * length + begin[i * (steps + 1) + t]] and so on. Labels are channels, or weight rows
// where a list holds a whole sample.
struct Lists {
    uint32_t* row;
    uint32_t* begin;
    int length;  // units of a list
    int number;
};

// The two arrays, taken from a workspace.
Lists lists_of(const Layer&, Workspace&);
void sort_events(const Layer&, const uint8_t* times, const Lists&, void* stream);

}  // namespace firstspike::cuda
