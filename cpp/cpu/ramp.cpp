// Direct coding: a constant current into each neuron, so that V[t] = current (1 + decay + ... + decay^t). The layer's product is
// made once by the caller; here a tile of neurons steps in registers.
#include "ramp.h"

#include <algorithm>

#include "site_tiles.h"

namespace firstspike {

namespace {

// The currents of a tile, and how its membranes step.
template <int N>
struct ConstantCurrent {
    const Neuron& neuron;
    Vec x[N];

    ConstantCurrent(const Neuron& n, const float* current, int used) : neuron(n) {
        for (int k = 0; k < N; ++k) x[k] = load_some(current + k * kLanes, used - k * kLanes);
    }
    FIRSTSPIKE_INLINE void operator()(Vec (&v)[N], int) const {
        unrolled<N>(FIRSTSPIKE_BODY(k) { v[k] = leak(v[k], neuron) + x[k]; });
    }
};

}  // namespace

Support ramp(const float* current, int64_t sites, int64_t channels, int64_t steps, const Neuron& neuron,
             const Surrogate& surrogate, bool record, int threads, uint8_t* times_out) {
    return fire_sites(sites, channels, steps, neuron, surrogate, record, threads, times_out,
                      [&](auto vectors, int64_t first, int used) {
                          return ConstantCurrent<decltype(vectors)::value>(neuron, current + first, used);
                      });
}

void ramp_gradient(const OutputGradient& g, int64_t sites, int64_t channels, const Neuron& neuron, int threads,
                   float* current_gradient) {
    float gain[kMaxSteps];
    constant_current_gains(gain, kMaxSteps, neuron.decay);
    const int64_t tiles = Tiles{channels}.number();
    std::fill_n(current_gradient, sites * channels, 0.0f);
    each_site_tile(sites, channels, threads, [&](int64_t, int64_t site, int64_t tile) {
        const int64_t group = site * tiles + tile;
        float* out = current_gradient + site * channels + tile * kTile;
        for (int64_t e = g.support.offset[group]; e < g.support.offset[group + 1]; ++e)
            out[g.support.lane[e]] += g.gradient[e] * g.slope[e] * gain[g.support.step[e]];
    });
}

}  // namespace firstspike
