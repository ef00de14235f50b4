// Which weight rows a site adds at which step: its input spikes, sorted by time. For layers with one site, and for convolutions
// whose fields have few units; larger fields are summed tap by tap (layer/tap_sums.h).
//
// A line is what a task handles at a time: a row of sites of one sample, or, for a layer with a single site, a block of samples.
// Site i of line l has the number first_site(l) + i in the order sample, row, column.
#pragma once

#include <memory>

#include "../../core/layer.h"
#include "../runtime/scratch.h"
#include "spikes_by_field.h"
#include "spikes_by_sample.h"

namespace firstspike {

class EventLines {
 public:
    EventLines(const Layer& layer, const uint8_t* times);

    static int64_t lines(const Layer& layer);
    static int64_t first_site(const Layer& layer, int64_t line);
    static int64_t sites(const Layer& layer, int64_t line);

    void build(int64_t line);
    EventList site(int64_t i) const { return {row_.data() + i * row_stride_, begin_.data() + i * (layer_.steps + 1)}; }

 private:
    void build_samples(int64_t line);

    Layer layer_;
    const uint8_t* times_;
    std::unique_ptr<UnitSort> sample_;   // of a layer with one site
    std::unique_ptr<FieldSort> fields_;  // of others
    int64_t row_stride_;
    Buffer<uint32_t> label_;  // the weight row of each unit of a field
    Buffer<uint32_t> row_, begin_;
};

}  // namespace firstspike
