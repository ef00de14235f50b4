#include "spikes_by_sample.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "../runtime/parallel.h"
#include "../simd/bytes.h"

namespace firstspike {

namespace {

constexpr int64_t kChunk = 64;  // bytes compared at once
constexpr int kAtOnce = 4;      // units of a chunk listed at once
static_assert(kAtOnce <= kLanes, "a list has room for a vector more than its units");

// Sorts the units of a sample that fire by step; of equal times, in the order of the units.
class Sorter {
 public:
    explicit Sorter(const Layer& layer) : l_(layer), time_(padded()), label_(padded() + 1) {
        uint32_t* label = label_.data();
        for (int64_t y = 0; y < l_.height; ++y)
            for (int64_t x = 0; x < l_.width; ++x)
                for (int64_t c = 0; c < l_.channels; ++c)
                    *label++ = static_cast<uint32_t>((y / l_.pool * l_.kernel_width + x / l_.pool) * l_.channels + c);
        std::fill(time_.data() + l_.units(), time_.data() + padded(), static_cast<uint8_t>(kSilent));
        std::fill(label, label_.data() + padded() + 1, 0u);  // countr_zero(0) is one behind a chunk
    }

    // A list may be written over its end: it has this much room.
    static int64_t room(const Layer& layer) { return layer.units() + kLanes; }

    void sort(const uint8_t* sample, bool compare, uint32_t* begin, uint32_t* row) {
        std::copy_n(sample, l_.units(), time_.data());
        if (l_.cropped()) {
            for (int64_t y = 0; y < l_.height; ++y)
                for (int64_t x = 0; x < l_.width; ++x)
                    if (y / l_.pool >= l_.cells_y() || x / l_.pool >= l_.cells_x())
                        std::fill_n(time_.data() + (y * l_.width + x) * l_.channels, l_.channels, static_cast<uint8_t>(kSilent));
        }
        if (compare)
            sort_by_comparing(begin, row);
        else
            sort_by_counting(begin, row);
    }

 private:
    int64_t padded() const { return (l_.units() + kChunk - 1) / kChunk * kChunk; }

    // Searches for the units of each step.
    void sort_by_comparing(uint32_t* begin, uint32_t* row) const {
        uint32_t n = 0;
        for (int64_t t = 0; t < l_.steps; ++t) {
            begin[t] = n;
            for (int64_t i = 0; i < l_.units(); i += kChunk) {
                uint64_t found = mask_equal_bytes(time_.data() + i, static_cast<uint8_t>(t));
                uint32_t* out = row + n;
                n += static_cast<uint32_t>(std::popcount(found));
                do {  // four at a time, found or not: the end of a loop over each would be poorly predicted
                    for (int k = 0; k < kAtOnce; ++k, found &= found - 1) *out++ = label_[i + std::countr_zero(found)];
                } while (found);
            }
        }
        begin[l_.steps] = n;
    }

    // The same for many steps: counted, not searched for at every step.
    void sort_by_counting(uint32_t* begin, uint32_t* row) const {
        const auto each_spike = [&](auto&& call) {
            for (int64_t i = 0; i < l_.units(); i += kChunk)
                for (uint64_t found = ~mask_equal_bytes(time_.data() + i, kSilent); found; found &= found - 1)
                    call(i + std::countr_zero(found));
        };
        uint32_t next[kSilent] = {};
        each_spike([&](int64_t i) { ++next[time_[i]]; });
        uint32_t n = 0;
        for (int64_t t = 0; t < l_.steps; ++t) {
            begin[t] = n;
            n += std::exchange(next[t], n);
        }
        begin[l_.steps] = n;
        std::fill(next + l_.steps, next + kSilent, n);  // times past the last step: behind the list
        each_spike([&](int64_t i) { row[next[time_[i]]++] = label_[i]; });
    }

    Layer l_;
    Buffer<uint8_t> time_;    // padded with silence to whole chunks
    Buffer<uint32_t> label_;  // the weight row of each unit
};

}  // namespace

SpikesBySample::SpikesBySample(const Layer& l, const ForwardPlan& plan, const uint8_t* times, int threads)
    : steps_(l.steps), room_(Sorter::room(l)), row_(l.batch * room_), begin_(l.batch * (l.steps + 1)) {
    const int64_t lists = plan.lines_per_list;
    parallel_for((l.batch + lists - 1) / lists, threads, [&](int64_t task) {
        Sorter sorter(l);
        for (int64_t n = task * lists; n < std::min((task + 1) * lists, l.batch); ++n)
            sorter.sort(times + n * l.units(), plan.compare_steps, begin_.data() + n * (steps_ + 1), row_.data() + n * room_);
    });
}

}  // namespace firstspike
