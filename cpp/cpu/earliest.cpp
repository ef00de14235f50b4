// Earliest pooling: the winners of the windows, and their support entries in the order of the cells' groups.
#include "earliest.h"

#include <algorithm>

#include "layer/tiles.h"

namespace firstspike {

namespace {

// The entries of one unit of a window of which it is the winner, one after another.
class WinnersEntries {
 public:
    WinnersEntries() = default;
    WinnersEntries(const SupportView& support, int64_t group, const uint8_t* winner, int unit)
        : support_(&support), winner_(winner), unit_(unit), entry_(support.offset[group]), end_(support.offset[group + 1]) {
        skip();
    }

    int64_t entry() const { return entry_; }
    // By step, then by lane; larger than any entry's at the end.
    int order() const { return entry_ < end_ ? support_->step[entry_] * kTile + support_->lane[entry_] : kEnd; }
    bool ended() const { return entry_ == end_; }
    void next() {
        ++entry_;
        skip();
    }

 private:
    static constexpr int kEnd = 256 * kTile;

    void skip() {
        while (entry_ < end_ && winner_[support_->lane[entry_]] != unit_) ++entry_;
    }

    const SupportView* support_ = nullptr;
    const uint8_t* winner_ = nullptr;
    int unit_ = 0;
    int64_t entry_ = 0, end_ = 0;
};

// run(group, entries, units) for all groups of the cells: the winners' entries of each unit of the window.
template <class Run>
void each_group(const uint8_t* winner, const Windows& w, const SupportView& support, int threads, Run&& run) {
    const int64_t tiles = Tiles{w.channels}.number();
    each_window(w, threads, [&](int64_t cell, int64_t first) {
        WinnersEntries entries[kWidestPool * kWidestPool];
        for (int64_t tile = 0; tile < tiles; ++tile) {
            int units = 0;
            each_unit(w, first, [&](int64_t site) {
                entries[units] = {support, site * tiles + tile, winner + cell * w.channels + tile * kTile, units};
                ++units;
            });
            run(cell * tiles + tile, entries, units);
        }
    });
}

}  // namespace

void earliest_times(const uint8_t* times, const Windows& w, int threads, uint8_t* times_out, uint8_t* winner) {
    each_window(w, threads, [&](int64_t cell, int64_t first) {
        uint8_t* __restrict out = times_out + cell * w.channels;
        uint8_t* __restrict from = winner + cell * w.channels;
        std::copy_n(times + first * w.channels, w.channels, out);
        std::fill_n(from, w.channels, static_cast<uint8_t>(0));
        int unit = 0;
        each_unit(w, first, [&](int64_t site) {
            const uint8_t* __restrict own = times + site * w.channels;
            const auto number = static_cast<uint8_t>(unit++);
            for (int64_t c = 0; c < w.channels; ++c) {
                from[c] = own[c] < out[c] ? number : from[c];
                out[c] = std::min(out[c], own[c]);
            }
        });
    });
}

EarliestSupport earliest_support(const uint8_t* winner, const Windows& w, const SupportView& support, int threads) {
    EarliestSupport found;
    found.groups = w.cells() * Tiles{w.channels}.number();
    found.offset = Buffer<int64_t>(found.groups + 1);
    found.offset[0] = 0;
    each_group(winner, w, support, threads, [&](int64_t group, WinnersEntries* units, int count) {
        int64_t entries = 0;
        for (int i = 0; i < count; ++i)
            for (; !units[i].ended(); units[i].next()) ++entries;
        found.offset[group + 1] = entries;
    });
    for (int64_t group = 0; group < found.groups; ++group) found.offset[group + 1] += found.offset[group];
    found.entries = found.offset[found.groups];
    found.place = Buffer<uint8_t>(2 * found.entries);
    found.source = Buffer<int64_t>(found.entries);
    uint8_t* step = found.place.data();
    uint8_t* lane = step + found.entries;
    each_group(winner, w, support, threads, [&](int64_t group, WinnersEntries* units, int count) {
        for (int64_t to = found.offset[group]; to < found.offset[group + 1]; ++to) {
            WinnersEntries& next = *std::min_element(
                units, units + count, [](const WinnersEntries& a, const WinnersEntries& b) { return a.order() < b.order(); });
            step[to] = support.step[next.entry()];
            lane[to] = support.lane[next.entry()];
            found.source[to] = next.entry();
            next.next();
        }
    });
    return found;
}

}  // namespace firstspike
