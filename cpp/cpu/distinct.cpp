// Max pooling of single-spike trains: which unit of a window stands for it in a step.
#include "distinct.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "../core/layer.h"
#include "layer/tiles.h"
#include "runtime/scratch.h"

namespace firstspike {

namespace {

// A site of the map that is pooled, and the site of its window's first unit; `inside` is false where it is in no window.
struct Member {
    int64_t site, first;
    bool inside;
};

// run(task, member) for all sites.
template <class Run>
void each_member(const Windows& w, int threads, Run&& run) {
    const int64_t lines = w.samples * w.height, tasks = site_tasks(lines, threads);
    const int64_t rows = w.rows() * w.pool, columns = w.columns() * w.pool;
    parallel_for(tasks, threads, [&](int64_t task) {
        for (int64_t line = lines * task / tasks; line < lines * (task + 1) / tasks; ++line) {
            const int64_t y = line % w.height;
            for (int64_t x = 0; x < w.width; ++x)
                run(task, Member{line * w.width + x, (line - y % w.pool) * w.width + x - x % w.pool, y < rows && x < columns});
        }
    });
}

// Whether the unit stands for its window in this step.
inline bool stands(const uint8_t* left, const Windows& w, const Member& member, int64_t channel, int step) {
    if (member.site != member.first) return left[member.site * w.channels + channel] == step;
    bool others = false;
    each_unit(w, member.first,
              [&](int64_t site) { others |= site != member.first && left[site * w.channels + channel] == step; });
    return !others;
}

// out[c] is silent wherever two units of a window have the same time.
inline void silence_equal(const uint8_t* __restrict own, const uint8_t* __restrict other, int64_t channels,
                          uint8_t* __restrict out) {
    for (int64_t c = 0; c < channels; ++c) out[c] = static_cast<uint8_t>(out[c] | (own[c] == other[c] ? kSilent : 0));
}

// The earliest and the latest spike of a window, channel by channel.
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

}  // namespace

int64_t distinct_spikes(const uint8_t* times, const Windows& w, int threads, uint8_t* times_out) {
    const int64_t tasks = site_tasks(w.samples * w.height, threads);
    std::vector<int64_t> repeated(static_cast<size_t>(tasks), 0);
    std::vector<Range> ranges;
    for (int64_t task = 0; task < tasks; ++task) ranges.emplace_back(w.channels);
    each_member(w, threads, [&](int64_t task, const Member& member) {
        uint8_t* out = times_out + member.site * w.channels;
        if (!member.inside) {
            std::fill_n(out, w.channels, static_cast<uint8_t>(kSilent));
            return;
        }
        const uint8_t* own = times + member.site * w.channels;
        std::copy_n(own, w.channels, out);
        each_unit(w, member.first, member.site,
                  [&](int64_t site) { silence_equal(own, times + site * w.channels, w.channels, out); });
        if (member.site != member.first) return;
        Range& range = ranges[static_cast<size_t>(task)];
        range.reset(w.channels);
        each_unit(w, member.first, [&](int64_t site) { range.add(times + site * w.channels, w.channels); });
        repeated[static_cast<size_t>(task)] += range.several(w.channels);
    });
    return std::accumulate(repeated.begin(), repeated.end(), int64_t{0});
}

void distinct_gradient_at(const float* gradient, const uint8_t* left, const Windows& w, const SupportView& support, int threads,
                          float* out) {
    const int64_t tiles = Tiles{w.channels}.number();
    each_member(w, threads, [&](int64_t, const Member& member) {
        for (int64_t tile = 0; tile < tiles; ++tile) {
            const int64_t group = member.site * tiles + tile;
            for (int64_t e = support.offset[group]; e < support.offset[group + 1]; ++e) {
                const int64_t channel = tile * kTile + support.lane[e];
                out[e] = member.inside && stands(left, w, member, channel, support.step[e]) ? gradient[e] : 0.0f;
            }
        }
    });
}

void distinct_gradient_dense(const float* gradient, const uint8_t* left, const Windows& w, int64_t steps, int threads,
                             float* out) {
    const int64_t all = w.sites() * w.channels;
    each_member(w, threads, [&](int64_t, const Member& member) {
        for (int64_t t = 0; t < steps; ++t)
            for (int64_t c = 0; c < w.channels; ++c) {
                const int64_t i = t * all + member.site * w.channels + c;
                out[i] = member.inside && stands(left, w, member, c, static_cast<int>(t)) ? gradient[i] : 0.0f;
            }
    });
}

}  // namespace firstspike
