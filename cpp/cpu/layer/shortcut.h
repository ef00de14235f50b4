// A shortcut into the current of a layer: where an output's own shortcut neuron fires, `scale` is added, as by an identity
// weight.
#pragma once

#include <algorithm>

#include "../../core/layer.h"
#include "../runtime/scratch.h"
#include "../simd/bytes.h"
#include "synapses.h"
#include "tiles.h"

namespace firstspike {

// The neurons of a shortcut that belong to the outputs of each site.
class ShortcutSites {
 public:
    ShortcutSites(const Layer& l, const Shortcut& s)
        : shortcut_(s), width_(l.out_width()), sites_(l.sites()), same_map_(s.height * s.width == l.sites()) {}

    // Where a site, counted over the batch, lies in the shortcut's maps, counted likewise.
    int64_t source(int64_t site) const {
        if (same_map_) return site;
        const int64_t y = site % sites_ / width_, x = site % width_;
        return (site / sites_ * shortcut_.height + y * shortcut_.stride_y) * shortcut_.width + x * shortcut_.stride_x;
    }

    // How many neurons of a tile have a shortcut.
    int64_t used(int64_t tile) const { return std::clamp<int64_t>(shortcut_.channels - tile * kTile, 0, kTile); }

    // The times of a tile's shortcut neurons as words, silent where there is none.
    template <int N>
    FIRSTSPIKE_INLINE void read(Words (&time)[N], int64_t site, int64_t tile) const {
        const uint8_t* from = shortcut_.times + source(site) * shortcut_.channels + tile * kTile;
        const int64_t count = used(tile);
        unrolled<N>(FIRSTSPIKE_BODY(k) {
            const int64_t left = count - k * kLanes;
            const uint32_t lanes = first_lanes(left);
            time[k] =
                choose(lanes, left > 0 ? widen_some(from + k * kLanes, left) : Words{}, Words{} + static_cast<uint32_t>(kSilent));
        });
    }

 private:
    Shortcut shortcut_;
    int64_t width_, sites_;
    bool same_map_;
};

// The current of a tile with its shortcut's added, behind the rest of each step.
template <int N, class Current>
class ShortcutCurrent {
 public:
    static constexpr bool kWhole = Current::kWhole;

    // scale: of the tile, N vectors.
    ShortcutCurrent(const Current& own, const ShortcutSites& sites, const float* scale, int64_t site, int64_t tile)
        : own_(own), scale_(scale) {
        sites.read(time_, site, tile);
    }

    FIRSTSPIKE_INLINE bool silent(int64_t from, int64_t to) const {
        if (!own_.silent(from, to)) return false;
        const Words first = Words{} + static_cast<uint32_t>(from), length = Words{} + static_cast<uint32_t>(to - from);
        Words found = {};
        unrolled<N>(FIRSTSPIKE_BODY(k) { found |= reinterpret_cast<Words>(time_[k] - first < length); });
        return !any(found);
    }
    FIRSTSPIKE_INLINE void enter(Vec (&v)[N], int64_t t) const {
        own_.enter(v, t);
        unrolled<N>(FIRSTSPIKE_BODY(k) { v[k] = with_shortcut(v[k], t, k); });
    }
    FIRSTSPIKE_INLINE void enter_silent(Vec (&v)[N], int64_t from, int64_t to) const {
        if constexpr (kWhole)
            enter(v, to - 1);
        else
            own_.enter_silent(v, from, to);
    }
    const uint8_t* silent_times() const { return own_.silent_times(); }
    FIRSTSPIKE_INLINE Vec at(int64_t t, int k) const { return with_shortcut(own_.at(t, k), t, k); }

 private:
    // A whole membrane holds the spikes of all steps up to t, a current only the spikes of step t.
    FIRSTSPIKE_INLINE Vec with_shortcut(Vec v, int64_t t, int k) const {
        const Words now = Words{} + static_cast<uint32_t>(t);
        const auto added = kWhole ? time_[k] <= now : time_[k] == now;
        return added ? v + load(scale_ + k * kLanes) : v;
    }

    const Current& own_;
    const float* scale_;
    Words time_[N];
};

}  // namespace firstspike
