#include "spikes_by_sample.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "../../core/layer.h"

namespace firstspike {

namespace {
constexpr int64_t kChunk = 64;  // bytes compared at once
constexpr int64_t kFewSteps = 16;
constexpr int kAtOnce = 4;  // units of a chunk listed at once
static_assert(kAtOnce <= kLanes, "a list has room for a vector more than its units");

int64_t padded(int64_t units) { return (units + kChunk - 1) / kChunk * kChunk; }
}  // namespace

UnitSort::UnitSort(int64_t units, int64_t steps)
    : units_(units), steps_(steps), time_(padded(units)), label_(padded(units) + 1) {  // countr_zero(0) is one behind a chunk
    std::fill(time_.data() + units, time_.data() + padded(units), static_cast<uint8_t>(kSilent));
    std::fill(label_.data() + units, label_.data() + padded(units) + 1, 0u);
}

void UnitSort::sort(uint32_t* begin, uint32_t* row) const {
    if (steps_ <= kFewSteps)
        compare(begin, row);
    else
        count(begin, row);
}

// Searches for the units of each step.
void UnitSort::compare(uint32_t* begin, uint32_t* row) const {
    uint32_t n = 0;
    for (int64_t t = 0; t < steps_; ++t) {
        begin[t] = n;
        for (int64_t i = 0; i < units_; i += kChunk) {
            uint64_t found = mask_equal_bytes(time_.data() + i, static_cast<uint8_t>(t));
            uint32_t* out = row + n;
            n += static_cast<uint32_t>(std::popcount(found));
            do {  // four at a time, found or not: the end of a loop over each would be hard to foresee
                for (int k = 0; k < kAtOnce; ++k, found &= found - 1) *out++ = label_[i + std::countr_zero(found)];
            } while (found);
        }
    }
    begin[steps_] = n;
}

// The same for many steps: counted, not searched for at every step.
void UnitSort::count(uint32_t* begin, uint32_t* row) const {
    const auto each_spike = [&](auto&& call) {
        for (int64_t i = 0; i < units_; i += kChunk)
            for (uint64_t found = ~mask_equal_bytes(time_.data() + i, kSilent); found; found &= found - 1)
                call(i + std::countr_zero(found));
    };
    uint32_t next[kSilent] = {};
    each_spike([&](int64_t i) { ++next[time_[i]]; });
    uint32_t n = 0;
    for (int64_t t = 0; t < steps_; ++t) {
        begin[t] = n;
        n += std::exchange(next[t], n);
    }
    begin[steps_] = n;
    std::fill(next + steps_, next + kSilent, n);  // times past the last step: behind the list
    each_spike([&](int64_t i) { row[next[time_[i]]++] = label_[i]; });
}

}  // namespace firstspike
