// Sorts the spikes of some units by time.
#pragma once

#include "../runtime/scratch.h"
#include "../simd/vector.h"

namespace firstspike {

// Rows of the events of step t: row[begin[t]] to row[begin[t + 1]].
struct EventList {
    const uint32_t* row;
    const uint32_t* begin;

    int64_t count(int64_t t) const { return begin[t + 1] - begin[t]; }
};

class UnitSort {
 public:
    UnitSort(int64_t units, int64_t steps);

    // To be filled in: what a list calls each unit, once, and the times, before each `sort`.
    uint32_t* labels() { return label_.data(); }
    uint8_t* times() { return time_.data(); }

    // A list may be written over its end: it has this much room.
    int64_t room() const { return units_ + kLanes; }
    // Makes a list of the units that fire, begin [steps + 1]; of equal times, in the order of the units.
    void sort(uint32_t* begin, uint32_t* row) const;

 private:
    void compare(uint32_t* begin, uint32_t* row) const;
    void count(uint32_t* begin, uint32_t* row) const;

    int64_t units_, steps_;
    Buffer<uint8_t> time_;  // padded with silence to whole vectors
    Buffer<uint32_t> label_;
};

}  // namespace firstspike
