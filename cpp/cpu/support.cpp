#include "support.h"

#include <algorithm>

#include "parallel.h"

namespace firstspike {

void SupportWriter::add_chunk(int64_t least) {
    constexpr int64_t kGroups = 8;  // of the largest size, at least, so that little stays free at the end of a chunk
    const int64_t entries = std::max(expected_, kGroups * least);
    chunks_.push_back({Buffer<float>(entries), Buffer<uint8_t>(entries), Buffer<uint8_t>(entries)});
    size_ = 0;
}

int64_t site_tasks(int64_t sites, int threads) { return std::max<int64_t>(1, std::min<int64_t>(sites, 4 * threads)); }

std::vector<SupportWriter> writers_for(int64_t tasks, int64_t neurons) {
    std::vector<SupportWriter> writers;
    for (int64_t task = 0; task < tasks; ++task) writers.emplace_back(neurons / tasks / 2);
    return writers;
}

Support join(std::vector<SupportWriter>& writers, int64_t groups, int threads) {
    Support all;
    all.groups = groups;
    all.offset.reserve(groups + 1);
    std::fill(all.offset.data(), all.offset.data() + groups + 1, 0);
    const auto each_writer = [&](auto&& f) {
        parallel_for(static_cast<int64_t>(writers.size()), threads, [&](int64_t task) { f(writers[static_cast<size_t>(task)]); });
    };
    each_writer([&](const SupportWriter& w) {
        for (const auto& group : w.groups_) all.offset[group.number + 1] = group.count;
    });
    for (int64_t g = 0; g < groups; ++g) all.offset[g + 1] += all.offset[g];
    all.entries = all.offset[groups];
    all.slope.reserve(all.entries);
    all.place.reserve(2 * all.entries);
    uint8_t *const step = all.place.data(), *const lane = step + all.entries;
    each_writer([&](const SupportWriter& w) {
        for (size_t i = 0, next; i < w.groups_.size(); i = next) {  // a run of groups in the final order is one copy
            const auto& first = w.groups_[i];
            for (next = i + 1; next < w.groups_.size(); ++next)
                if (w.groups_[next].number != w.groups_[next - 1].number + 1 || w.groups_[next].chunk != first.chunk) break;
            const auto& chunk = w.chunks_[first.chunk];
            const int64_t to = all.offset[first.number], count = all.offset[w.groups_[next - 1].number + 1] - to;
            std::copy_n(chunk.slope.data() + first.begin, count, all.slope.data() + to);
            std::copy_n(chunk.step.data() + first.begin, count, step + to);
            std::copy_n(chunk.lane.data() + first.begin, count, lane + to);
        }
    });
    return all;
}

}  // namespace firstspike
