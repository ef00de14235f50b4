// Firing and the support: what a warp does at the end of a step, and where it writes the entries.
#pragma once

#include "../core/neuron.h"
#include "../core/surrogate.h"
#include "kernels.h"
#include "platform.h"

namespace firstspike::cuda {

// Where the entries of one group go; what does not fit is counted, not written.
struct Room {
    int64_t begin = 0;
    int size = 0, count = 0;
};

__device__ inline Room room_in_slot(const Slots& s, int64_t group) { return {group * s.slot, s.slot, 0}; }
__device__ inline Room room_in_place(const Placement& p, int64_t group) {
    return {p.offset[group], static_cast<int>(p.offset[group + 1] - p.offset[group]), 0};
}

// Appends the lanes of `mask`, all at one step.
__device__ inline void append(const Entries& to, Room& room, unsigned mask, float slope, int step) {
    const int at = room.count + rank_in(mask);
    if ((mask >> lane() & 1u) != 0 && at < room.size) {
        to.slope[room.begin + at] = slope;
        to.step[room.begin + at] = static_cast<uint8_t>(step);
        to.lane[room.begin + at] = static_cast<uint8_t>(lane());
    }
    room.count += __popc(mask);
}

// V tiles of neurons: their firing times and support entries.
template <int V, bool kRecord>
struct Firing {
    Neuron neuron;
    Surrogate surrogate;
    Entries entries;
    int time[V];
    Room room[V];

    __device__ Firing(const Neuron& n, const Surrogate& s, const Entries& to) : neuron(n), surrogate(s), entries(to) {
#pragma unroll
        for (int i = 0; i < V; ++i) time[i] = kSilent;
    }

    // Returns false once no neuron is left to fire.
    __device__ bool operator()(float (&v)[V], int step) {
        bool alive = false;
#pragma unroll
        for (int i = 0; i < V; ++i) {
            if constexpr (kRecord) {
                const float u = overshoot(v[i], neuron);
                const bool near = fabsf(u) < surrogate.half_width();
                const unsigned mask = __ballot_sync(kAllLanes, near);
                if (mask != 0) append(entries, room[i], mask, near ? surrogate.slope(u) : 0.0f, step);
            }
            if (fires(v[i], neuron.threshold)) {
                time[i] = step;
                v[i] = kSpent;
            }
            alive = alive || v[i] > kSpent;
        }
        return __any_sync(kAllLanes, alive) != 0;
    }
};

// Copies a group's entries from its slot; false where the slot was too small.
__device__ inline bool copy_from_slot(const Slots& s, const Placement& p, int64_t group) {
    if (s.count[group] > s.slot) return false;
    const int64_t from = group * s.slot, to = p.offset[group], n = p.offset[group + 1] - to;
    for (int64_t e = lane(); e < n; e += kWarp) {
        p.entries.slope[to + e] = s.entries.slope[from + e];
        p.entries.step[to + e] = s.entries.step[from + e];
        p.entries.lane[to + e] = s.entries.lane[from + e];
    }
    return true;
}

}  // namespace firstspike::cuda
