#include "support.h"

#include <algorithm>

#include "parallel.h"

namespace firstspike {

void SupportWriter::reserve(int64_t entries) {
    slope_.reserve(entries, size_);
    step_.reserve(slope_.capacity(), size_);
    lane_.reserve(slope_.capacity(), size_);
}

int64_t site_tasks(int64_t sites, int threads) { return std::max<int64_t>(1, std::min<int64_t>(sites, 4 * threads)); }

std::vector<SupportWriter> writers_for(int64_t tasks, int64_t neurons) {
    std::vector<SupportWriter> writers(static_cast<size_t>(tasks));
    for (auto& writer : writers) writer.reserve(neurons / tasks + kLanes);
    return writers;
}

Support join(std::vector<SupportWriter>& writers, int64_t groups, int threads) {
    Support all;
    all.groups = groups;
    all.offset.reserve(groups + 1);
    std::fill(all.offset.data(), all.offset.data() + groups + 1, 0);
    for (auto& w : writers) {
        for (size_t i = 0; i < w.segments_.size(); ++i) {
            const int64_t end = i + 1 < w.segments_.size() ? w.segments_[i + 1].begin : w.size_;
            all.offset[w.segments_[i].group + 1] = end - w.segments_[i].begin;
        }
    }
    for (int64_t g = 0; g < groups; ++g) all.offset[g + 1] += all.offset[g];
    all.entries = all.offset[groups];
    all.slope.reserve(all.entries);
    all.place.reserve(2 * all.entries);
    uint8_t *const step = all.place.data(), *const lane = step + all.entries;
    parallel_for(static_cast<int64_t>(writers.size()), threads, [&](int64_t task) {
        const auto& w = writers[static_cast<size_t>(task)];
        const size_t n = w.segments_.size();
        for (size_t i = 0; i < n;) {  // a run of groups in the final order is one copy
            size_t next = i + 1;
            while (next < n && w.segments_[next].group == w.segments_[next - 1].group + 1) ++next;
            const int64_t from = w.segments_[i].begin, end = next < n ? w.segments_[next].begin : w.size_;
            const int64_t to = all.offset[w.segments_[i].group];
            std::copy_n(w.slope_.data() + from, end - from, all.slope.data() + to);
            std::copy_n(w.step_.data() + from, end - from, step + to);
            std::copy_n(w.lane_.data() + from, end - from, lane + to);
            i = next;
        }
    });
    return all;
}

}  // namespace firstspike
