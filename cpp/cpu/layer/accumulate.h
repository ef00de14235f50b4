// The inner loops: a tile of N vectors of neurons, its accumulators in registers.
#pragma once

#include "../../core/neuron.h"
#include "../../core/surrogate.h"
#include "../simd/vector.h"
#include "../support.h"

namespace firstspike {

// Sums of N vectors kept apart so that an addition need not wait for the one before: the more, the fewer they are.
template <int N>
constexpr int kChains = N == 1           ? 4
                        : N <= kTileVecs ? 2
                                         : 1;

// Calls row(sum, i) for i in [0, count), which adds a row of weights, and adds all to v. The sums are locals: v's address is
// known elsewhere, and the compiler would write it back at every addition.
template <int N, class Row>
FIRSTSPIKE_INLINE void add_rows(Vec (&v)[N], int64_t count, Row&& row) {
    constexpr int C = kChains<N>;
    Vec sum[C][N];
    for (int k = 0; k < N; ++k) sum[0][k] = v[k];
    int64_t i = 0;
    if (count >= 2 * C) {
        for (int c = 1; c < C; ++c)
            for (int k = 0; k < N; ++k) sum[c][k] = Vec{};
        for (; i + C <= count; i += C)
            for (int c = 0; c < C; ++c) row(sum[c], i + c);
        for (int c = 1; c < C; ++c)
            for (int k = 0; k < N; ++k) sum[0][k] += sum[c][k];
    }
    for (; i < count; ++i) row(sum[0], i);
    for (int k = 0; k < N; ++k) v[k] = sum[0][k];
}

// v += the weight rows of some events.
template <int N>
FIRSTSPIKE_INLINE void add_rows(Vec (&v)[N], const float* tile, const uint32_t* event, int64_t count) {
    add_rows<N>(v, count, [&](Vec(&sum)[N], int64_t i) {
        const float* w = tile + static_cast<int64_t>(event[i]) * (N * kLanes);
        for (int k = 0; k < N; ++k) sum[k] += load(w + k * kLanes);
    });
}

// v += value * weight row, of some events.
template <int N>
FIRSTSPIKE_INLINE void add_scaled_rows(Vec (&v)[N], const float* tile, const uint32_t* event, const float* value, int64_t count) {
    add_rows<N>(v, count, [&](Vec(&sum)[N], int64_t i) {
        const float* w = tile + static_cast<int64_t>(event[i]) * (N * kLanes);
        for (int k = 0; k < N; ++k) sum[k] += load(w + k * kLanes) * value[i];
    });
}

// The slope of the two surrogates with a finite support.
struct SparseSlope {
    Vec peak, fall;  // slope = peak - fall |u|
    explicit SparseSlope(const Surrogate& s)
        : peak(splat(1.0f / s.scale)), fall(splat(s.kind == SurrogateKind::triangle ? 1.0f / s.scale / s.scale : 0.0f)) {}
    Vec operator()(Vec size_of_u) const { return peak - fall * size_of_u; }
};

// Of a kernel row, at most so many neighbouring taps are taken together, each with N vectors of sums.
constexpr int kMostTaps = 3;

constexpr float kSpent = -INFINITY;  // a membrane that can fire no more

// Membranes of a tile: padding lanes start as spent.
template <int N>
inline void rest(Vec (&v)[N], int used) {
    for (int k = 0; k < N; ++k) v[k] = choose(first_lanes(used - k * kLanes), Vec{}, splat(kSpent));
}

// When a neuron fires, and where its surrogate is not zero, in vectors.
struct FiringRule {
    Vec threshold, reach;
    SparseSlope slope;
    FiringRule(const Neuron& neuron, const Surrogate& surrogate)
        : threshold(splat(neuron.threshold)), reach(splat(surrogate.half_width())), slope(surrogate) {}
};

// The times of the first `used` neurons of a tile, as bytes.
template <int N>
FIRSTSPIKE_INLINE void narrow_times(uint8_t* out, const Words (&time)[N], int used) {
    for (int k = 0; k < N; ++k) narrow_some(out + k * kLanes, time[k], used - k * kLanes);
}

// What a tile does at the end of a step where nothing is recorded: notes the times of the neurons that fire. It has no branch,
// for whether some neuron of a tile fires at a step is hard to foresee.
template <int N>
class FiringTimes {
 public:
    FiringTimes(const FiringRule& rule, int used) : threshold_(rule.threshold) {
        for (int k = 0; k < N; ++k) {
            left_[k] = choose(first_lanes(used - k * kLanes), ~Words{}, Words{});
            time_[k] = Words{} + static_cast<uint32_t>(kSilent);
        }
    }

    // Returns false once no neuron of the tile is left to fire.
    FIRSTSPIKE_INLINE bool operator()(const Vec (&v)[N], int step) {
        const Words now = Words{} + static_cast<uint32_t>(step);
        Words left = {};
        for (int k = 0; k < N; ++k) {
            const Words fires = left_[k] & reaches(v[k]);
            time_[k] = fires ? now : time_[k];
            left_[k] ^= fires;
            left |= left_[k];
        }
        return any(left);
    }

    // Whether nothing happens while the membranes move from `first` to `last`, each in one direction.
    FIRSTSPIKE_INLINE bool sleeps(const Vec (&first)[N], const Vec (&last)[N]) const {
        Words fires = {};
        for (int k = 0; k < N; ++k) fires |= left_[k] & (reaches(first[k]) | reaches(last[k]));
        return !any(fires);
    }

    FIRSTSPIKE_INLINE void write_times(uint8_t* out, int used) const { narrow_times(out, time_, used); }

 private:
    FIRSTSPIKE_INLINE Words reaches(Vec v) const { return reinterpret_cast<Words>(v >= threshold_); }

    const Vec threshold_;
    Words left_[N], time_[N];  // left: all bits set where a neuron has not fired
};

// The same with a record: notes the support entries as well.
template <int N>
class FiringRecord {
 public:
    FiringRecord(const FiringRule& rule, SupportCursor cursor) : rule_(rule), cursor_(cursor) {
        for (int k = 0; k < N; ++k) time_[k] = Words{} + static_cast<uint32_t>(kSilent);
    }

    // Returns false once no neuron of the tile is left to fire.
    FIRSTSPIKE_INLINE bool operator()(Vec (&v)[N], int step) { return !near(highest(v)) || fire(v, step); }

    // Whether nothing happens while the membranes move from `first` to `last`, each in one direction.
    FIRSTSPIKE_INLINE bool sleeps(const Vec (&first)[N], const Vec (&last)[N]) const {
        return !near(larger(highest(first), highest(last)));
    }

    FIRSTSPIKE_INLINE void write_times(uint8_t* out, int used) const { narrow_times(out, time_, used); }
    const SupportCursor& cursor() const { return cursor_; }

 private:
    static FIRSTSPIKE_INLINE Vec highest(const Vec (&v)[N]) {
        Vec highest = v[0];
        for (int k = 1; k < N; ++k) highest = larger(highest, v[k]);
        return highest;
    }

    // Whether one of the membranes is within reach of the threshold or above.
    FIRSTSPIKE_INLINE bool near(Vec v) const { return mask_greater(v - rule_.threshold, -rule_.reach) != 0; }

    // Returns false once no neuron of the tile is left to fire.
    FIRSTSPIKE_INLINE bool fire(Vec (&v)[N], int step) {
        cursor_.start_step(step);
#pragma GCC unroll 4  // a loop would need the membranes in memory
        for (int k = 0; k < N; ++k) {
            const Vec size = absolute(v[k] - rule_.threshold);  // appending nothing is quicker than a branch that goes either way
            cursor_.append(mask_greater(rule_.reach, size), rule_.slope(size), k * kLanes);
            const uint32_t fired = mask_reaches(v[k], rule_.threshold);
            v[k] = choose(fired, splat(kSpent), v[k]);
            time_[k] = choose(fired, Words{} + static_cast<uint32_t>(step), time_[k]);
        }
        return mask_greater(highest(v), splat(kSpent)) != 0;
    }

    const FiringRule rule_;
    SupportCursor cursor_;
    Words time_[N];
};

}  // namespace firstspike
