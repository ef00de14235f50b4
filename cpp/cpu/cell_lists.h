// The spikes of the cells of a sample's map, sorted by time: which channels fire at which step.
#pragma once

#include <algorithm>
#include <vector>

#include "../core/layer.h"
#include "unit_sort.h"

namespace firstspike {

class CellLists {
   public:
    CellLists(const Layer& layer, const uint8_t* times)
        : layer_(layer), times_(times), sort_(layer.pool * layer.pool * layer.channels, layer.steps),
          row_(layer.cells_y() * layer.cells_x() * sort_.room()),
          begin_(layer.cells_y() * layer.cells_x() * (layer.steps + 1)), sample_of_(static_cast<size_t>(layer.cells_y()), -1) {
        const int64_t units = layer.pool * layer.pool * layer.channels;
        for (int64_t i = 0; i < units; ++i) sort_.labels()[i] = static_cast<uint32_t>(i % layer.channels);
    }

    // Makes the lists of the cells under a row of sites; a sample's lists are kept from row to row.
    void build(int64_t sample, int64_t y) {
        const int64_t top = y * layer_.stride_y - layer_.pad_y, end = std::min(top + layer_.kernel_height, layer_.cells_y());
        for (int64_t cell_y = std::max<int64_t>(top, 0); cell_y < end; ++cell_y) {
            int64_t& holds = sample_of_[static_cast<size_t>(cell_y)];
            if (holds != sample) build_row(sample, cell_y);
            holds = sample;
        }
    }

    EventList cell(int64_t y, int64_t x) const {
        const int64_t i = y * layer_.cells_x() + x;
        return {row_.data() + i * sort_.room(), begin_.data() + i * (layer_.steps + 1)};
    }

   private:
    void build_row(int64_t sample, int64_t y) {
        const Layer& l = layer_;
        const int64_t wide = l.pool * l.channels;
        for (int64_t x = 0; x < l.cells_x(); ++x) {
            for (int64_t dy = 0; dy < l.pool; ++dy)
                std::copy_n(times_ + ((sample * l.height + y * l.pool + dy) * l.width + x * l.pool) * l.channels, wide,
                            sort_.times() + dy * wide);
            const int64_t i = y * l.cells_x() + x;
            sort_.sort(begin_.data() + i * (l.steps + 1), row_.data() + i * sort_.room());
        }
    }

    Layer layer_;
    const uint8_t* times_;
    UnitSort sort_;
    Buffer<uint32_t> row_, begin_;
    std::vector<int64_t> sample_of_;  // which sample's lists a row of cells holds
};

}  // namespace firstspike
