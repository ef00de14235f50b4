#include "support.h"

#include <algorithm>
#include <utility>

#include "runtime/parallel.h"

namespace firstspike {

void SupportWriter::add_chunk(int64_t least) {
    constexpr int64_t kGroups = 8;  // of the largest size, at least, so that little stays free at the end of a chunk
    const int64_t entries = std::max(chunk_, kGroups * least);
    chunks_.push_back({entries, Buffer<float>(entries), Buffer<uint8_t>(entries), Buffer<uint8_t>(entries)});
    size_ = 0;
}

SupportRecord::SupportRecord(bool wanted, int64_t tasks, int64_t groups, int64_t neurons) : wanted_(wanted) {
    if (!wanted) return;
    all_.groups = groups;
    all_.offset.reserve(groups + 1);
    for (int64_t task = 0; task < tasks; ++task) writers_.emplace_back(neurons / tasks / 2, all_.offset.data() + 1);
}

Support SupportRecord::join(int threads) {
    if (!wanted_) return {};
    Support& all = all_;
    all.offset[0] = 0;
    for (int64_t g = 0; g < all.groups; ++g) all.offset[g + 1] += all.offset[g];
    all.entries = all.offset[all.groups];
    all.slope.reserve(all.entries);
    all.place.reserve(2 * all.entries);
    uint8_t *const step = all.place.data(), *const lane = step + all.entries;
    parallel_for(static_cast<int64_t>(writers_.size()), threads, [&](int64_t task) {
        const SupportWriter& writer = of_task(task);
        for (const auto& run : writer.runs_) {
            const auto& chunk = writer.chunks_[run.chunk];
            const int64_t to = all.offset[run.first], count = all.offset[run.end] - to;
            std::copy_n(chunk.slope.data() + run.begin, count, all.slope.data() + to);
            std::copy_n(chunk.step.data() + run.begin, count, step + to);
            std::copy_n(chunk.lane.data() + run.begin, count, lane + to);
        }
    });
    return std::move(all_);
}

}  // namespace firstspike
