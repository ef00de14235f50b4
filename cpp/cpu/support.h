// The steps at which a neuron's surrogate derivative is not zero: what the backward pass needs beside the spike times.
//
// Group = one tile of neurons at one site of one sample; groups are numbered sample, site, tile. Group g owns the entries
// offset[g] to offset[g + 1], sorted by step, then by lane.
#pragma once

#include <algorithm>
#include <vector>

#include "layer/packed_weights.h"
#include "runtime/scratch.h"
#include "simd/bytes.h"

namespace firstspike {

struct SupportView {
    const int64_t* offset;  // [groups + 1]
    const uint8_t* step;    // [entries]
    const uint8_t* lane;    // [entries]
};

// Of the `count` entries of a group that starts at `first`, where those of each step end: until[t] is behind the steps before t,
// for t from 0 to `steps`.
template <class Place>
inline void find_steps(Place* until, Place first, const uint8_t* step, int64_t count, int64_t steps) {
    constexpr int64_t kFewSteps = 16;  // up to here counting is faster than a look at each entry
    if (steps <= kFewSteps) {
        until[0] = first;
        for (int t = 1; t <= steps; ++t) until[t] = first + static_cast<Place>(count_below(step, count, t));
        return;
    }
    std::fill_n(until, steps + 1, first);
    for (int64_t e = 0; e < count; ++e) until[step[e] + 1] = first + static_cast<Place>(e + 1);
    for (int64_t t = 0; t < steps; ++t) until[t + 1] = std::max(until[t + 1], until[t]);
}

struct Support {
    Buffer<int64_t> offset;
    Buffer<float> slope;    // sigma'(V - threshold); or, made from a dense gradient, that gradient
    Buffer<uint8_t> place;  // the steps of all entries, then their lanes
    int64_t groups = 0, entries = 0;
};

// Where the entries of a group go, and how many have come. Kept apart from the writer, so that it stays in registers while a tile
// steps.
struct SupportCursor {
    float* slope = nullptr;
    uint8_t* step = nullptr;
    uint8_t* lane = nullptr;
    int64_t count = 0;

    // What is added now is at this step; may write as many of them as a tile has neurons.
    FIRSTSPIKE_INLINE void start_step(int now) const { std::memset(step + count, now, kTile); }
    // Adds the lanes of `mask`; may write a whole vector of slopes and lanes.
    FIRSTSPIKE_INLINE void append(uint32_t mask, Vec slopes, int first_lane) {
        count += append_lanes(mask, slopes, first_lane, slope + count, lane + count);
    }
};

// What one task finds, in the order of its work. Entries lie in chunks, so that more of them never move what is there. Aligned so
// that writers of different threads share no cache line, nor the pair of lines that is fetched at once.
class alignas(128) SupportWriter {
 public:
    // chunk: entries of a chunk. count: where the number of entries of each group of the layer goes.
    SupportWriter(int64_t chunk, int64_t* count) : chunk_(chunk), count_(count) {}

    // Room for a group of at most `most` entries; end_group takes the cursor with those that came.
    FIRSTSPIKE_INLINE SupportCursor begin_group(int64_t group, int64_t most) {
        const bool full = chunks_.empty() || size_ + most + kTile > chunks_.back().slope.capacity();
        if (full) add_chunk(most + kTile);
        if (full || runs_.back().end != group) runs_.push_back({group, group, chunks_.size() - 1, size_});
        Chunk& chunk = chunks_.back();
        return {chunk.slope.data() + size_, chunk.step.data() + size_, chunk.lane.data() + size_, 0};
    }
    FIRSTSPIKE_INLINE void end_group(const SupportCursor& cursor) {
        count_[runs_.back().end++] = cursor.count;
        size_ += cursor.count;
    }

 private:
    friend class SupportRecord;
    struct Chunk {
        Buffer<float> slope;
        Buffer<uint8_t> step, lane;
    };
    // Groups whose numbers follow each other, as their entries do from `begin` on.
    struct Run {
        int64_t first, end;
        size_t chunk;
        int64_t begin;
    };

    void add_chunk(int64_t least);

    int64_t chunk_;
    int64_t* count_;
    std::vector<Chunk> chunks_;
    std::vector<Run> runs_;
    int64_t size_ = 0;  // of the last chunk
};

// What the tasks of a layer find: each group is one task's.
class SupportRecord {
 public:
    // wanted: else nothing is recorded. neurons: of all groups; most have about an entry each.
    SupportRecord(bool wanted, int64_t tasks, int64_t groups, int64_t neurons);

    SupportWriter& of_task(int64_t task) { return writers_[static_cast<size_t>(task)]; }

    // All groups' entries in the groups' order, whichever task found them.
    Support join(int threads);

 private:
    bool wanted_;
    Support all_;
    std::vector<SupportWriter> writers_;
};

// Tasks for a pass over sites; few enough that each has work worth its buffers.
int64_t site_tasks(int64_t sites, int threads);

}  // namespace firstspike
