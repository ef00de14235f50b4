// Sorts the spikes under each site of a row of sites, for layers whose fields have few units: a vector of neighbouring sites at a
// time goes through a sorting network, which has no branches to foresee.
#pragma once

#include <array>
#include <vector>

#include "../../core/layer.h"
#include "../simd/vector.h"

namespace firstspike {

// Of so many neighbouring sites, one number each.
constexpr int kFieldSites = 2 * kLanes;
typedef uint16_t SiteNumbers __attribute__((vector_size(kFieldSites * 2)));

class FieldSort {
 public:
    static constexpr int64_t kMostUnits = 64;  // larger fields are summed tap by tap

    static int64_t units(const Layer& layer) { return layer.rows() * layer.pool * layer.pool; }

    explicit FieldSort(const Layer& layer);

    // For each site x of row y: its units' labels by time, equal times in the units' order, to row[x * row_stride ...], and where
    // the steps begin to begin[x * (steps + 1) ...]. Units are numbered row, column, channel.
    void sort_row(const uint8_t* sample, int64_t y, const uint32_t* label, uint32_t* row, int64_t row_stride, uint32_t* begin);

 private:
    void gather(const uint8_t* sample, int64_t y, int64_t first_site);

    struct Exchange {
        int low, high;
    };
    Layer layer_;
    std::vector<Exchange> network_;
    std::array<SiteNumbers, kMostUnits> key_;  // time * 256 + unit
};

}  // namespace firstspike
