// What a tile of neurons does at the end of a step: who fires, and the support entries (docs/model.md, section "Neuron").
#pragma once

#include "../../core/layer.h"
#include "../../core/neuron.h"
#include "../../core/surrogate.h"
#include "../simd/bytes.h"
#include "../support.h"
#include "tiles.h"

namespace firstspike {

// Membranes of a tile: padding lanes start as spent.
template <int N>
inline void rest(Vec (&v)[N], int used) {
    unrolled<N>(FIRSTSPIKE_BODY(k) { v[k] = choose(first_lanes(used - k * kLanes), Vec{}, splat(kSpent)); });
}

// When a neuron fires, and where its surrogate is not zero, in vectors.
struct FiringRule {
    Vec threshold, half_width;
    FiniteSlope<Vec> slope;
    FiringRule(const Neuron& neuron, const Surrogate& surrogate)
        : threshold(splat(neuron.threshold)),
          half_width(splat(surrogate.half_width())),
          slope{splat(surrogate.peak()), splat(surrogate.fall())} {}
};

// The times of the first `used` neurons of a tile, as bytes.
template <int N>
FIRSTSPIKE_INLINE void narrow_times(uint8_t* out, const Words (&time)[N], int used) {
    unrolled<N>(FIRSTSPIKE_BODY(k) { narrow_some(out + k * kLanes, time[k], used - k * kLanes); });
}

// The times of membranes that are known at all steps: at(t, k) is vector k of a tile at step t.
template <int N, class Membranes>
FIRSTSPIKE_INLINE void earliest(const FiringRule& rule, const Membranes& membranes, int64_t steps, Words (&time)[N]) {
    unrolled<N>(FIRSTSPIKE_BODY(k) { time[k] = Words{} + static_cast<uint32_t>(kSilent); });
    for (int64_t t = steps - 1; t >= 0; --t) {
        const Words now = Words{} + static_cast<uint32_t>(t);
        unrolled<N>(FIRSTSPIKE_BODY(k) { time[k] = fires(membranes.at(t, k), rule.threshold) ? now : time[k]; });
    }
}

// What a tile does at the end of a step where nothing is recorded: notes the times of the neurons that fire. It has no branch,
// for whether some neuron of a tile fires at a step is poorly predicted.
template <int N>
class FiringTimes {
 public:
    FiringTimes(const FiringRule& rule, int used) : threshold_(rule.threshold) {
        unrolled<N>(FIRSTSPIKE_BODY(k) {
            left_[k] = choose(first_lanes(used - k * kLanes), ~Words{}, Words{});
            time_[k] = Words{} + static_cast<uint32_t>(kSilent);
        });
    }

    // Returns false once no neuron of the tile is left to fire.
    FIRSTSPIKE_INLINE bool operator()(const Vec (&v)[N], int step) {
        const Words now = Words{} + static_cast<uint32_t>(step);
        Words left = {};
        unrolled<N>(FIRSTSPIKE_BODY(k) {
            const Words fires = left_[k] & reaches(v[k]);
            time_[k] = fires ? now : time_[k];
            left_[k] ^= fires;
            left |= left_[k];
        });
        return any(left);
    }

    // Whether nothing happens while the membranes move from `first` to `last`, each in one direction.
    FIRSTSPIKE_INLINE bool idle(const Vec (&first)[N], const Vec (&last)[N]) const {
        Words fires = {};
        unrolled<N>(FIRSTSPIKE_BODY(k) { fires |= left_[k] & (reaches(first[k]) | reaches(last[k])); });
        return !any(fires);
    }

    FIRSTSPIKE_INLINE void write_times(uint8_t* out, int used) const { narrow_times(out, time_, used); }

 private:
    FIRSTSPIKE_INLINE Words reaches(Vec v) const { return reinterpret_cast<Words>(firstspike::fires(v, threshold_)); }

    const Vec threshold_;
    Words left_[N], time_[N];  // left: all bits set where a neuron has not fired
};

// The same with a record: notes the support entries as well.
template <int N>
class FiringRecord {
 public:
    FiringRecord(const FiringRule& rule, SupportCursor cursor) : rule_(rule), cursor_(cursor) {
        unrolled<N>(FIRSTSPIKE_BODY(k) { time_[k] = Words{} + static_cast<uint32_t>(kSilent); });
    }

    // Returns false once no neuron of the tile is left to fire.
    FIRSTSPIKE_INLINE bool operator()(Vec (&v)[N], int step) { return !near(highest(v)) || fire(v, step); }

    // Whether nothing happens while the membranes move from `first` to `last`, each in one direction.
    FIRSTSPIKE_INLINE bool idle(const Vec (&first)[N], const Vec (&last)[N]) const {
        return !near(larger(highest(first), highest(last)));
    }

    FIRSTSPIKE_INLINE void write_times(uint8_t* out, int used) const { narrow_times(out, time_, used); }
    const SupportCursor& cursor() const { return cursor_; }

 private:
    // Of each lane; a NaN counts as spent, so that it does not hide the other neurons.
    static FIRSTSPIKE_INLINE Vec highest(const Vec (&v)[N]) {
        Vec highest = splat(kSpent);
        unrolled<N>(FIRSTSPIKE_BODY(k) { highest = larger(v[k], highest); });
        return highest;
    }

    // Whether one of the membranes is in the support or above.
    FIRSTSPIKE_INLINE bool near(Vec v) const { return mask_greater(v - rule_.threshold, -rule_.half_width) != 0; }

    // Returns false once no neuron of the tile is left to fire.
    FIRSTSPIKE_INLINE bool fire(Vec (&v)[N], int step) {
        cursor_.start_step(step);
        unrolled<N>(FIRSTSPIKE_BODY(k) {
            const Vec size = absolute(v[k] - rule_.threshold);  // appending nothing is quicker than a branch that goes either way
            cursor_.append(mask_greater(rule_.half_width, size), rule_.slope(size), k * kLanes);
            const uint32_t fired = mask_reaches(v[k], rule_.threshold);
            v[k] = choose(fired, splat(kSpent), v[k]);
            time_[k] = choose(fired, Words{} + static_cast<uint32_t>(step), time_[k]);
        });
        return mask_greater(highest(v), splat(kSpent)) != 0;
    }

    const FiringRule rule_;
    SupportCursor cursor_;
    Words time_[N];
};

}  // namespace firstspike
