// Max pooling of single-spike trains: which unit of a patch stands for it in a step. Earliest pooling: the winners of the
// patches, and their support entries in the order of the cells' groups.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "kernels.h"

namespace firstspike {

namespace {

// A site of the map that is pooled, and the first site of its patch; `inside` is false where it is in no patch.
struct Member {
    int64_t site, first;
    bool inside;
};

// run(task, member) for all sites.
template <class Run>
void each_member(const Patches& p, int threads, Run&& run) {
    const int64_t lines = p.samples * p.height, rows = p.rows() * p.pool, columns = p.columns() * p.pool;
    parallel_ranges(lines, site_tasks(lines, threads), threads, [&](int64_t task, int64_t line) {
        const int64_t y = line % p.height;
        for (int64_t x = 0; x < p.width; ++x)
            run(task, Member{line * p.width + x, (line - y % p.pool) * p.width + x - x % p.pool, y < rows && x < columns});
    });
}

// Whether the unit stands for its patch in this step.
inline bool stands(const uint8_t* left, const Patches& p, const Member& member, int64_t channel, int step) {
    if (member.site != member.first) return left[member.site * p.channels + channel] == step;
    bool others = false;
    each_unit(p, member.first,
              [&](int64_t site) { others |= site != member.first && left[site * p.channels + channel] == step; });
    return !others;
}

// out[c] is silent wherever two units of a patch have the same time.
inline void silence_equal(const uint8_t* __restrict own, const uint8_t* __restrict other, int64_t channels,
                          uint8_t* __restrict out) {
    for (int64_t c = 0; c < channels; ++c) out[c] = static_cast<uint8_t>(out[c] | (own[c] == other[c] ? kSilent : 0));
}

// The earliest and the latest spike of a patch, channel by channel.
class Range {
 public:
    explicit Range(int64_t channels) : low_(channels), high_(channels) {}

    void reset(int64_t channels) {
        std::fill_n(low_.data(), channels, static_cast<uint8_t>(kSilent));
        std::fill_n(high_.data(), channels, static_cast<uint8_t>(0));
    }
    void add(const uint8_t* __restrict times, int64_t channels) {
        uint8_t* __restrict low = low_.data();
        uint8_t* __restrict high = high_.data();
        for (int64_t c = 0; c < channels; ++c) {
            low[c] = std::min(low[c], times[c]);
            high[c] = std::max(high[c], times[c] == kSilent ? uint8_t{0} : times[c]);
        }
    }
    // Channels in which the two differ.
    int64_t several(int64_t channels) const {
        const uint8_t* low = low_.data();
        const uint8_t* high = high_.data();
        int32_t count = 0;
        for (int64_t c = 0; c < channels; ++c) count += high[c] > low[c];
        return count;
    }

 private:
    Buffer<uint8_t> low_, high_;
};

// run(group, winners, each) for all groups of the cells; each(visit) visits the groups of the patch's units in their order.
template <class Run>
void each_group(const uint8_t* winner, const Patches& p, int threads, Run&& run) {
    const int64_t tiles = Tiles{p.channels}.number();
    each_patch(p, threads, [&](int64_t cell, int64_t first) {
        for (int64_t tile = 0; tile < tiles; ++tile)
            run(cell * tiles + tile, winner + cell * p.channels + tile * kTile,
                [&](auto&& visit) { each_unit(p, first, [&](int64_t site) { visit(site * tiles + tile); }); });
    });
}

// The entries of a patch's winners, unit after unit, each unit's by step, then by lane. A lane has one winner, so there are no
// more than neurons times steps.
class WinnersEntries {
 public:
    WinnersEntries() { next_[0] = 0; }

    // Adds the next unit's, which has this group.
    void add(const SupportView& support, int64_t group, const uint8_t* winner) {
        const int64_t begin = support.offset[group], end = support.offset[group + 1];
        for (int64_t e = begin; e < end; ++e) {  // each is written, and those that stay are counted
            order_[count_] = static_cast<uint16_t>(support.step[e] * kTile + support.lane[e]);
            from_[count_] = static_cast<uint16_t>(e - begin);
            count_ += winner[support.lane[e]] == units_;
        }
        group_[units_++] = begin;
        end_[units_] = next_[units_] = count_;
    }
    // The first of those that are left, by step, then by lane, as an entry of the support.
    int64_t take() {
        int best = 0;
        uint32_t least = UINT32_MAX;
        for (int unit = 0; unit < units_; ++unit) {
            const uint32_t order = next_[unit] < end_[unit + 1] ? order_[next_[unit]] : UINT32_MAX;
            best = order < least ? unit : best;
            least = std::min(least, order);
        }
        return group_[best] + from_[next_[best]++];
    }

 private:
    static constexpr int64_t kMostUnits = kWidestPool * kWidestPool, kMost = kTile * kMaxSteps;

    int units_ = 0, count_ = 0;
    int64_t group_[kMostUnits];                       // the first entry of each unit's group
    int next_[kMostUnits + 1], end_[kMostUnits + 1];  // of each unit's entries in the two below
    uint16_t order_[kMost + 1], from_[kMost + 1];
};

// The times of one more unit of a patch.
void take_earlier(const uint8_t* own, uint8_t number, int64_t channels, uint8_t* out, uint8_t* from) {
    typedef uint8_t Chunk __attribute__((vector_size(16)));
    int64_t c = 0;
    for (; c + 16 <= channels; c += 16) {
        Chunk time, least, winner;
        std::memcpy(&time, own + c, sizeof time);
        std::memcpy(&least, out + c, sizeof least);
        std::memcpy(&winner, from + c, sizeof winner);
        winner = time < least ? Chunk{} + number : winner;
        least = time < least ? time : least;
        std::memcpy(out + c, &least, sizeof least);
        std::memcpy(from + c, &winner, sizeof winner);
    }
    for (; c < channels; ++c) {
        from[c] = own[c] < out[c] ? number : from[c];
        out[c] = std::min(out[c], own[c]);
    }
}

}  // namespace

int64_t distinct_spikes(const uint8_t* times, const Patches& p, int threads, uint8_t* times_out) {
    const int64_t tasks = site_tasks(p.samples * p.height, threads);
    std::vector<int64_t> repeated(static_cast<size_t>(tasks), 0);
    std::vector<Range> ranges;
    for (int64_t task = 0; task < tasks; ++task) ranges.emplace_back(p.channels);
    each_member(p, threads, [&](int64_t task, const Member& member) {
        uint8_t* out = times_out + member.site * p.channels;
        if (!member.inside) {
            std::fill_n(out, p.channels, static_cast<uint8_t>(kSilent));
            return;
        }
        const uint8_t* own = times + member.site * p.channels;
        std::copy_n(own, p.channels, out);
        each_unit(p, member.first, member.site,
                  [&](int64_t site) { silence_equal(own, times + site * p.channels, p.channels, out); });
        if (member.site != member.first) return;
        Range& range = ranges[static_cast<size_t>(task)];
        range.reset(p.channels);
        each_unit(p, member.first, [&](int64_t site) { range.add(times + site * p.channels, p.channels); });
        repeated[static_cast<size_t>(task)] += range.several(p.channels);
    });
    return std::accumulate(repeated.begin(), repeated.end(), int64_t{0});
}

void distinct_gradient(const float* gradient, const uint8_t* left, const Patches& p, int64_t steps, const SupportView* support,
                       int threads, float* out) {
    const int64_t tiles = Tiles{p.channels}.number(), all = p.units();
    each_member(p, threads, [&](int64_t, const Member& member) {
        const auto pass = [&](int64_t i, int64_t channel, int step) {
            out[i] = member.inside && stands(left, p, member, channel, step) ? gradient[i] : 0.0f;
        };
        if (!support) {
            for (int64_t t = 0; t < steps; ++t)
                for (int64_t c = 0; c < p.channels; ++c) pass(t * all + member.site * p.channels + c, c, static_cast<int>(t));
            return;
        }
        for (int64_t tile = 0; tile < tiles; ++tile) {
            const int64_t group = member.site * tiles + tile;
            for (int64_t e = support->offset[group]; e < support->offset[group + 1]; ++e)
                pass(e, tile * kTile + support->lane[e], support->step[e]);
        }
    });
}

void earliest_times(const uint8_t* times, const Patches& p, int threads, uint8_t* times_out, uint8_t* winner) {
    each_patch(p, threads, [&](int64_t cell, int64_t first) {
        uint8_t* out = times_out + cell * p.channels;
        uint8_t* from = winner + cell * p.channels;
        std::copy_n(times + first * p.channels, p.channels, out);
        std::fill_n(from, p.channels, static_cast<uint8_t>(0));
        int unit = 0;
        each_unit(p, first, [&](int64_t site) {
            take_earlier(times + site * p.channels, static_cast<uint8_t>(unit++), p.channels, out, from);
        });
    });
}

EarliestSupport earliest_support(const uint8_t* winner, const Patches& p, const SupportView& support, int threads) {
    EarliestSupport found;
    found.groups = p.cells() * Tiles{p.channels}.number();
    found.offset = Buffer<int64_t>(found.groups + 1);
    found.offset[0] = 0;
    each_group(winner, p, threads, [&](int64_t group, const uint8_t* winners, auto&& each) {
        int64_t entries = 0;
        int unit = 0;
        each([&](int64_t from) {
            for (int64_t e = support.offset[from]; e < support.offset[from + 1]; ++e) entries += winners[support.lane[e]] == unit;
            ++unit;
        });
        found.offset[group + 1] = entries;
    });
    for (int64_t group = 0; group < found.groups; ++group) found.offset[group + 1] += found.offset[group];
    found.entries = found.offset[found.groups];
    found.place = Buffer<uint8_t>(2 * found.entries);
    found.source = Buffer<int64_t>(found.entries);
    uint8_t* step = found.place.data();
    uint8_t* lane = step + found.entries;
    each_group(winner, p, threads, [&](int64_t group, const uint8_t* winners, auto&& each) {
        WinnersEntries entries;
        each([&](int64_t from) { entries.add(support, from, winners); });
        for (int64_t to = found.offset[group]; to < found.offset[group + 1]; ++to) {
            const int64_t entry = found.source[to] = entries.take();
            step[to] = support.step[entry];
            lane[to] = support.lane[entry];
        }
    });
    return found;
}

}  // namespace firstspike
