// How the spikes of a layer's input are listed for its forward pass (plan.h): by sample, by field or by line.
#pragma once

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "../../core/layer.h"
#include "../runtime/scratch.h"
#include "../simd/bytes.h"
#include "plan.h"

namespace firstspike {

// Weight rows by step: step t has row(begin(t)) to row(begin(t + 1)), without the latter.
struct EventList {
    const uint32_t* rows;
    const uint32_t* begins;

    int64_t begin(int64_t t) const { return begins[t]; }
    uint32_t row(int64_t i) const { return rows[i]; }
};

// The spikes of each sample by step, for layers with one site: which weight rows a sample adds at which step.
class SpikesBySample {
 public:
    // Lists all samples.
    SpikesBySample(const Layer& layer, const ForwardPlan& plan, const uint8_t* times, int threads);

    EventList sample(int64_t n) const { return {row_.data() + n * room_, begin_.data() + n * (steps_ + 1)}; }

 private:
    int64_t steps_, room_;
    Buffer<uint32_t> row_, begin_;
};

// Weight rows by step, as an EventList: of one site among kSitesAtOnce.
struct FieldEvents {
    const uint16_t* key;     // time * 256 + row, in order
    const uint16_t* before;  // of each step, and of the end: how many come before it

    int64_t begin(int64_t t) const { return before[t * kSitesAtOnce]; }
    uint32_t row(int64_t i) const { return key[i * kSitesAtOnce] & 0xffu; }
};

// The spikes under each site of a line of sites, by step, for layers whose fields have few units: a vector of neighbouring sites
// at a time goes through a sorting network, which has no branches.
//
// Units that have the same position in the fields of neighbouring sites are read as a vector: the lines of units under the sites
// are dealt out to planes, [line of the field][column modulo the distance of two fields][channel], in which those units are
// neighbours.
class SpikesByField {
 public:
    SpikesByField(const Layer& layer, const uint8_t* times);

    // Lists the sites of line y of a sample.
    void build(int64_t sample, int64_t y);
    FieldEvents site(int64_t x) const {
        const int64_t block = x / kSitesAtOnce, place = x % kSitesAtOnce;
        return {key_.data() + block * units_ * kSitesAtOnce + place,
                before_.data() + block * (layer_.steps + 1) * kSitesAtOnce + place};
    }

 private:
    // A number of each of them.
    typedef uint8_t SiteBytes __attribute__((vector_size(kSitesAtOnce)));
    typedef uint16_t SiteNumbers __attribute__((vector_size(kSitesAtOnce * 2)));

    void deal(const uint8_t* sample, int64_t y);
    void gather(int64_t first_site, SiteNumbers* key) const;

    struct Exchange {
        int low, high;
    };
    Layer layer_;
    const uint8_t* times_;
    int64_t units_;           // of a field
    int64_t sites_;           // of a line, in whole blocks
    int64_t apart_;           // columns from one site's field to the next one's
    int64_t lead_;            // places of a plane before column 0
    int64_t plane_;           // places of a plane
    Buffer<uint8_t> planes_;  // times, silent beside the map
    Buffer<int64_t> from_;    // in the planes, of each unit of the field of site 0
    std::vector<Exchange> network_;
    Buffer<uint16_t> row_;           // the weight row of each unit
    Buffer<uint16_t> key_, before_;  // [block of sites][unit, or step][site of the block]
};

// The spikes of the lines of cells of a sample's map, for convolutions with large fields: for each line of cells and each step
// the channels that fire, cell after cell. So what some neighbouring cells send at a step lies one after another.
class SpikesByLine {
 public:
    SpikesByLine(const Layer& layer, const ForwardPlan& plan, const uint8_t* times)
        : layer_(layer),
          compare_(plan.compare_steps),
          times_(times),
          room_(layer.cells_x() * layer.pool * layer.pool * layer.channels),
          row_(layer.cells_y() * room_),
          begin_(layer.cells_y() * (layer.cells_x() + 1) * layer.steps),
          channel_(layer.pool * layer.channels),
          sample_of_(static_cast<size_t>(layer.cells_y()), -1) {
        for (int64_t i = 0; i < layer.pool * layer.channels; ++i) channel_[i] = static_cast<uint32_t>(i % layer.channels);
    }

    // Makes the lists of the cells under a line of sites; a sample's lists are kept from line to line.
    void build(int64_t sample, int64_t y) {
        const int64_t top = layer_.top(y), end = std::min(top + layer_.kernel_height, layer_.cells_y());
        for (int64_t cell_y = std::max<int64_t>(top, 0); cell_y < end; ++cell_y) {
            int64_t& holds = sample_of_[static_cast<size_t>(cell_y)];
            if (holds != sample) build_line(sample, cell_y);
            holds = sample;
        }
    }

    // The events of line y of the cells, each as cell * channels + channel. Step t has, from the cells [a, b), the events
    // from begin(y, a)[t] to begin(y, b)[t].
    const uint32_t* events(int64_t y) const { return row_.data() + y * room_; }
    const uint32_t* begin(int64_t y, int64_t cell) const {
        return begin_.data() + (y * (layer_.cells_x() + 1) + cell) * layer_.steps;
    }

 private:
    void build_line(int64_t sample, int64_t y) {
        const Layer& l = layer_;
        const uint8_t* times = times_ + (sample * l.height + y * l.pool) * l.width * l.channels;
        const int64_t next_line = l.width * l.channels, wide = l.pool * l.channels;
        const int steps = static_cast<int>(l.steps);
        uint32_t next[kSilent] = {};
        for (int64_t dy = 0; dy < l.pool; ++dy) count_steps(times + dy * next_line, l.cells_x() * wide, next);
        uint32_t before = 0;
        for (int64_t t = 0; t < l.steps; ++t) before += std::exchange(next[t], before);
        uint32_t* row = row_.data() + y * room_;
        uint32_t* begin = begin_.data() + y * (l.cells_x() + 1) * l.steps;
        for (int64_t x = 0; x < l.cells_x(); ++x, begin += l.steps) {
            std::copy_n(next, l.steps, begin);
            const auto first = static_cast<uint32_t>(x * l.channels);
            for (int64_t dy = 0; dy < l.pool; ++dy) {
                const uint8_t* from = times + dy * next_line + x * wide;
                each_below(from, wide, steps, [&](int64_t i) { row[next[from[i]]++] = first + channel_[i]; });
            }
        }
        std::copy_n(next, l.steps, begin);
    }

    // Adds to number[t] how many of the times are t.
    void count_steps(const uint8_t* times, int64_t units, uint32_t* number) const {
        constexpr int64_t kChunk = 64;
        int64_t i = 0;
        if (compare_)
            for (; i + kChunk <= units; i += kChunk)
                for (int64_t t = 0; t < layer_.steps; ++t)
                    number[t] += static_cast<uint32_t>(std::popcount(mask_equal_bytes(times + i, static_cast<uint8_t>(t))));
        each_below(times + i, units - i, static_cast<int>(layer_.steps), [&](int64_t k) { ++number[times[i + k]]; });
    }

    Layer layer_;
    bool compare_;
    const uint8_t* times_;
    int64_t room_;
    Buffer<uint32_t> row_, begin_;
    Buffer<uint32_t> channel_;        // of each unit of a cell with the same y
    std::vector<int64_t> sample_of_;  // which sample's lists a line of cells holds
};

}  // namespace firstspike
