// The spikes under each site of a line of sites, by step, for layers whose fields have few units: a vector of neighbouring sites
// at a time goes through a sorting network, which has no branches.
//
// Units that have the same place in the fields of neighbouring sites are read as a vector: the lines of units under the sites are
// dealt out to planes, [line of the field][column modulo the distance of two fields][channel], in which those units are
// neighbours.
#pragma once

#include <vector>

#include "../../core/layer.h"
#include "../runtime/scratch.h"
#include "plan.h"

namespace firstspike {

// So many neighbouring sites go through the network together.
constexpr int kSites = 2 * kLanes;

// Weight rows by step, as an EventList (spikes_by_sample.h): of one site among kSites.
struct FieldEvents {
    const uint16_t* key;     // time * 256 + row, in order
    const uint16_t* before;  // of each step, and of the end: how many come before it

    int64_t begin(int64_t t) const { return before[t * kSites]; }
    uint32_t row(int64_t i) const { return key[i * kSites] & 0xffu; }
};

class SpikesByField {
 public:
    SpikesByField(const Layer& layer, const uint8_t* times);

    // Lists the sites of line y of a sample.
    void build(int64_t sample, int64_t y);
    FieldEvents site(int64_t x) const {
        const int64_t block = x / kSites, place = x % kSites;
        return {key_.data() + block * units_ * kSites + place, before_.data() + block * (layer_.steps + 1) * kSites + place};
    }

 private:
    // A number of each of them.
    typedef uint8_t SiteBytes __attribute__((vector_size(kSites)));
    typedef uint16_t SiteNumbers __attribute__((vector_size(kSites * 2)));

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

}  // namespace firstspike
