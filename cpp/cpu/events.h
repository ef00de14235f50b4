// Which weight rows a site adds at which step: its input spikes, sorted by time.
//
// A line is what a task handles at a time: a row of sites of one sample, or, for a layer with a single site, a block of samples.
// Site i of line l has the number first_site(l) + i in the order sample, row, column.
#pragma once

#include <memory>
#include <vector>

#include "../core/layer.h"
#include "field_sort.h"
#include "memory.h"

namespace firstspike {

// Rows of the events of step t: row[begin[t]] to row[begin[t + 1]].
struct EventList {
    const uint32_t* row;
    const uint32_t* begin;

    int64_t count(int64_t t) const { return begin[t + 1] - begin[t]; }
};

class EventLines {
   public:
    EventLines(const Layer& layer, const uint8_t* times);

    static int64_t lines(const Layer& layer);
    static int64_t first_site(const Layer& layer, int64_t line);
    static int64_t sites(const Layer& layer, int64_t line);

    // Makes the lists of one line; quickest when a sample's lines come one after another.
    void build(int64_t line);
    EventList site(int64_t i) const { return {row_.data() + i * row_stride_, begin_.data() + i * (layer_.steps + 1)}; }

   private:
    enum class Method { whole_sample, field, cells };

    void build_cell_row(int64_t sample, int64_t cell_y);
    void join_column(int64_t y, int64_t cell_x);
    void join_site(int64_t x);
    void join(uint32_t* begin, uint32_t* row) const;
    void sort_units(int64_t units, uint32_t* begin, uint32_t* row);
    void count_units(int64_t units, uint32_t* begin, uint32_t* row);

    Layer layer_;
    const uint8_t* times_;
    Method method_;
    std::unique_ptr<FieldSort> fields_;
    int64_t row_stride_;
    Buffer<uint8_t> units_;    // the times of the units to sort, padded with silence to whole vectors
    Buffer<uint32_t> label_;   // the weight row, or the channel, of each of them
    Buffer<uint32_t> row_, begin_;
    // A large field's list is joined from its columns of cells, which neighbouring sites share, and these from their cells.
    struct Part {
        EventList list;
        uint32_t first_row;
    };
    int64_t cell_stride_ = 0, column_stride_ = 0;
    Buffer<uint32_t> cell_row_, cell_begin_;  // for each cell of a sample
    std::vector<int64_t> cell_row_of_;        // which sample's cells a row of cells holds
    Buffer<uint32_t> column_row_, column_begin_;  // for each column of a row of sites
    std::vector<Part> parts_;                     // of the list that is being joined
};

}  // namespace firstspike
