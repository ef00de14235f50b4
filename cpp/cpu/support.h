// Recording the support entries: the steps at which a neuron's surrogate derivative is not zero, which is what the backward pass
// needs beside the spike times (core/support.h).
#pragma once

#include <algorithm>
#include <vector>

#include "../core/support.h"
#include "layer/tiles.h"
#include "runtime/scratch.h"
#include "simd/bytes.h"

namespace firstspike {

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

    // The entries that are appended from now on are at step `now`; writes kTile bytes of steps, however many are appended.
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
        const bool full = chunks_.empty() || size_ + most + kTile > chunks_.back().room;
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
        int64_t room;  // entries that each of the arrays holds
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
    void clear();  // gives the chunks back

    int64_t chunk_;
    int64_t* count_;
    std::vector<Chunk> chunks_;
    std::vector<Run> runs_;
    int64_t size_ = 0;  // of the last chunk
};

// What the tasks of a layer find: each group is one task's.
//
// Where one thread runs all tasks, in their order, the place of a task's entries is known when it ends: they move there at once,
// while they lie in L2. How many there will be is estimated from the first tasks. The entries of several threads' tasks move at
// the end.
class SupportRecord {
 public:
    // wanted: else nothing is recorded. neurons: of all groups; most have about an entry each.
    SupportRecord(bool wanted, int64_t tasks, int64_t groups, int64_t neurons);

    SupportWriter& of_task(int64_t task) { return writers_[static_cast<size_t>(task)]; }
    // Says that this task records nothing more, after all tasks before it have said so. Where the calls stop, `join` moves the
    // rest.
    void end_task(int64_t task);

    // All groups' entries in the groups' order, whichever task found them.
    Support join(int threads);

 private:
    void add_up(int64_t end);                                        // the offsets of the groups up to `end`
    void resize(int64_t room);                                       // keeps what has moved
    void copy_to_place(const SupportWriter& writer, uint8_t* lane);  // lane: of the first entry

    bool wanted_;
    Support all_;
    std::vector<SupportWriter> writers_;
    bool in_order_ = true;  // each task that has ended had the groups that follow the previous task's
    int64_t counted_ = 0;   // groups whose offsets are known
    int64_t moved_ = 0;     // tasks
    int64_t filled_ = 0;    // entries of these
    int64_t room_ = 0;      // entries that all_ has memory for: so many steps, then so many lanes
};

}  // namespace firstspike
