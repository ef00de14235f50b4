// The spikes under each site of a line of sites, by step, for layers whose fields have few units: a vector of neighbouring sites
// at a time goes through a sorting network, which has no branches.
//
// Units that have the same place in the fields of neighbouring sites are read as a vector: the lines of units under the sites are
// dealt out to planes, [line of the field][column modulo the distance of two fields][channel], in which those units are
// neighbours.
#pragma once

#include <array>
#include <vector>

#include "../../core/layer.h"
#include "../runtime/scratch.h"
#include "plan.h"
#include "spikes_by_sample.h"

namespace firstspike {

class SpikesByField {
 public:
    SpikesByField(const Layer& layer, const uint8_t* times);

    // Lists the sites of line y of a sample.
    void build(int64_t sample, int64_t y);
    EventList site(int64_t x) const { return {row_.data() + x * units_, begin_.data() + x * (layer_.steps + 1)}; }

 private:
    // Of so many neighbouring sites, one number each.
    static constexpr int kSites = 2 * kLanes;
    typedef uint8_t SiteBytes __attribute__((vector_size(kSites)));
    typedef uint16_t SiteNumbers __attribute__((vector_size(kSites * 2)));

    void deal(const uint8_t* sample, int64_t y);
    void gather(int64_t first_site);

    struct Exchange {
        int low, high;
    };
    Layer layer_;
    const uint8_t* times_;
    int64_t units_;           // of a field
    int64_t apart_;           // columns from one site's field to the next one's
    int64_t lead_;            // places of a plane before column 0
    int64_t plane_;           // places of a plane
    Buffer<uint8_t> planes_;  // times, silent beside the map
    Buffer<int64_t> from_;    // in the planes, of each unit of the field of site 0
    std::vector<Exchange> network_;
    std::array<SiteNumbers, kMostFieldUnits> key_;  // time * 256 + unit; units are numbered y, x, channel
    Buffer<uint32_t> label_;                        // the weight row of each unit of a field
    Buffer<uint32_t> row_, begin_;
};

}  // namespace firstspike
