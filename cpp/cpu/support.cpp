#include "support.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "layer/plan.h"
#include "runtime/parallel.h"

namespace firstspike {

void SupportWriter::add_chunk(int64_t least) {
    const int64_t entries = std::max(chunk_, kGroupsPerChunk * least);
    chunks_.push_back({entries, Buffer<float>(entries), Buffer<uint8_t>(entries), Buffer<uint8_t>(entries)});
    size_ = 0;
}

void SupportWriter::clear() {
    chunks_.clear();
    runs_.clear();
}

SupportRecord::SupportRecord(bool wanted, int64_t tasks, int64_t groups, int64_t neurons) : wanted_(wanted) {
    if (!wanted) return;
    all_.groups = groups;
    all_.offset.reserve(groups + 1);
    all_.offset[0] = 0;
    for (int64_t task = 0; task < tasks; ++task) writers_.emplace_back(neurons / tasks / 2, all_.offset.data() + 1);
}

void SupportRecord::end_task(int64_t task) {
    if (!wanted_ || !in_order_) return;
    int64_t end = counted_, groups = 0;
    for (const auto& run : of_task(task).runs_) {
        end = std::max(end, run.end);
        groups += run.end - run.first;
    }
    in_order_ = groups == end - counted_;  // else some groups between them are another task's
    if (!in_order_) return;
    add_up(end);
    const bool enough = counted_ >= all_.groups / kShareBefore && counted_ < all_.groups;
    if (moved_ > 0 || enough) {
        const int64_t entries = all_.offset[counted_];
        if (entries > room_) {
            const double to_come = static_cast<double>(all_.groups - counted_) / static_cast<double>(counted_);
            resize(entries + static_cast<int64_t>(static_cast<double>(entries) * (to_come + kEntryMargin)));
        }
        for (; moved_ <= task; ++moved_) {
            copy_to_place(of_task(moved_), all_.place.data() + room_);
            of_task(moved_).clear();
        }
        filled_ = entries;
    }
}

void SupportRecord::add_up(int64_t end) {
    for (; counted_ < end; ++counted_) all_.offset[counted_ + 1] += all_.offset[counted_];
}

void SupportRecord::resize(int64_t room) {
    Buffer<float> slope(room);
    Buffer<uint8_t> place(2 * room);
    room = std::min(slope.capacity(), place.capacity() / 2);
    if (filled_ > 0) {
        std::copy_n(all_.slope.data(), filled_, slope.data());
        std::copy_n(all_.place.data(), filled_, place.data());
        std::copy_n(all_.place.data() + room_, filled_, place.data() + room);
    }
    all_.slope = std::move(slope);
    all_.place = std::move(place);
    room_ = room;
}

void SupportRecord::copy_to_place(const SupportWriter& writer, uint8_t* lane) {
    for (const auto& run : writer.runs_) {
        const auto& chunk = writer.chunks_[run.chunk];
        const int64_t to = all_.offset[run.first], count = all_.offset[run.end] - to;
        std::copy_n(chunk.slope.data() + run.begin, count, all_.slope.data() + to);
        std::copy_n(chunk.step.data() + run.begin, count, all_.place.data() + to);
        std::copy_n(chunk.lane.data() + run.begin, count, lane + to);
    }
}

Support SupportRecord::join(int threads) {
    if (!wanted_) return {};
    add_up(all_.groups);
    const int64_t entries = all_.entries = all_.offset[all_.groups];
    if (entries > room_ || static_cast<double>(room_) > kMostRoom * static_cast<double>(entries)) resize(entries);
    uint8_t *const step = all_.place.data(), *const lane = step + entries;
    if (filled_ > 0) std::memmove(lane, step + room_, static_cast<size_t>(filled_));
    const auto left = static_cast<int64_t>(writers_.size()) - moved_;
    parallel_for(left, threads, [&](int64_t task) { copy_to_place(of_task(moved_ + task), lane); });
    return std::move(all_);
}

}  // namespace firstspike
