// Spikes of neurons whose membranes are known, so that a layer that gives both makes its product once.
#include "membranes.h"

#include "site_tiles.h"

namespace firstspike {

namespace {

// Reads the membranes of a tile; a neuron that is spent stays so.
template <int N>
struct ReadMembranes {
    const float* membrane;  // of the tile at step 0
    int64_t stride;
    int used;

    FIRSTSPIKE_INLINE void operator()(Vec (&v)[N], int t) const {
        const float* now = membrane + t * stride;
        unrolled<N>(FIRSTSPIKE_BODY(k) {
            const Vec read = load_some(now + k * kLanes, used - k * kLanes);
            v[k] = choose(mask_greater(v[k], splat(kSpent)), read, splat(kSpent));
        });
    }
};

}  // namespace

Support fire_membranes(const float* membrane, int64_t sites, int64_t channels, int64_t steps, const Neuron& neuron,
                       const Surrogate& surrogate, bool record, int threads, uint8_t* times_out) {
    return fire_sites(sites, channels, steps, neuron, surrogate, record, threads, times_out,
                      [&](auto vectors, int64_t first, int used) {
                          return ReadMembranes<decltype(vectors)::value>{membrane + first, sites * channels, used};
                      });
}

}  // namespace firstspike
