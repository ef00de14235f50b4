// The spikes of each channel of a line of cells, or of each weight row of a layer with one site, for dL/dW.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "../../core/layer.h"
#include "../runtime/scratch.h"
#include "../simd/bytes.h"

namespace firstspike {

// The spikes of each channel of a line of cells, as cell * steps + step; for a layer with one site, the spikes of each weight
// row, as sample * steps + step.
class SpikesByChannel {
 public:
    SpikesByChannel(int64_t steps, int64_t lists, int64_t most)
        : steps_(steps), most_(most), codes_(lists * most), count_(lists) {}

    void clear(int64_t lists) { std::fill_n(count_.data(), lists, 0u); }

    // Adds the units of one pixel: channel c goes to the list list_of(c).
    template <class ListOf>
    void add(const uint8_t* times, int64_t channels, int64_t position, ListOf&& list_of) {
        const auto steps = static_cast<uint32_t>(steps_);
        const uint32_t code = static_cast<uint32_t>(position) * steps;
        each_below(times, channels, static_cast<int>(steps), [&](int64_t c) {
            const int64_t list = list_of(c);
            codes_[list * most_ + count_[list]++] = code + times[c];
        });
    }

    // Of the lists [from, to) those that are not empty, the shortest first; of equal ones the first in order.
    std::vector<uint32_t> by_length(int64_t from, int64_t to) const {
        std::vector<uint32_t> next(static_cast<size_t>(most_) + 1), order;
        for (int64_t i = from; i < to; ++i) ++next[count_[i]];
        uint32_t before = 0;
        for (size_t length = 1; length < next.size(); ++length) before += std::exchange(next[length], before);
        order.resize(before);
        for (int64_t i = from; i < to; ++i)
            if (count_[i] > 0) order[next[count_[i]]++] = static_cast<uint32_t>(i);
        return order;
    }

    const uint32_t* begin(int64_t list) const { return codes_.data() + list * most_; }
    int64_t count(int64_t list) const { return count_[list]; }

 private:
    int64_t steps_, most_;
    Buffer<uint32_t> codes_, count_;
};

}  // namespace firstspike
