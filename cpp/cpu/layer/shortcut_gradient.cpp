// dL/ds and dL/dscale of a shortcut.
//
// A shortcut is an identity weight, so with D of the layer's current (docs/model.md, section "Backward pass") its neuron c gets
// dL/ds[c, t] = scale[c] D[c, t], and dL/dscale[c] = sum over samples and sites of D[c, time[c]].
//
//   for part of the sites: for tile: for site: for step, from the last: D, read at the shortcut's spikes and entries
#include <algorithm>

#include "../runtime/parallel.h"
#include "entries.h"
#include "plan.h"
#include "shortcut.h"

namespace firstspike {

namespace {

// Of one task. kSynaptic: with E in the place of D.
template <bool kSynaptic>
struct Gradient {
    const Layer& l;
    const Neuron& neuron;
    const Shortcut& shortcut;
    ShortcutSites sites;
    const float* scale;  // padded to whole vectors
    const OutputGradient& g;
    const SupportView* input;
    float* at_spikes;
    bool sums_wanted;
    EntriesByStep entries = {};
    Buffer<float> rows = {};

    // One tile of the sites [from, to). Adds its dL/dscale to `sum`, [N vectors], if asked.
    template <int N>
    void tile(int64_t tile, int64_t from, int64_t to, double* sum) {
        constexpr int64_t kWidth = N * kLanes;
        const int64_t tiles = Tiles{l.outputs}.number();
        rows.reserve(l.steps * kWidth);
        for (int64_t site = from; site < to; site += kSitesPerSum) {
            Vec sums[N] = {};
            for (int64_t i = site; i < std::min(site + kSitesPerSum, to); ++i) {
                entries.list(g, i * tiles + tile, l.steps);
                make_rows(sums, i, tile);
                if (at_spikes) write<N>(i, tile);
            }
            for (int64_t k = 0; k < (sums_wanted ? kWidth : 0); ++k) sum[k] += sums[k / kLanes][k % kLanes];
        }
    }

    // scale D of a site whose entries are listed, [step][N vectors], into rows; what its spikes meet of D is added to `sums`.
    template <int N>
    void make_rows(Vec (&sums)[N], int64_t site, int64_t tile) {
        constexpr int64_t kWidth = N * kLanes;
        const float* tile_scale = scale + tile * kTile;
        Words time[N];
        sites.read(time, site, tile);
        Vec d[N] = {};
        [[maybe_unused]] Vec e[N] = {};
        for (int64_t t = l.steps - 1; t >= 0; --t) {
            const Words now = Words{} + static_cast<uint32_t>(t);
            const uint64_t lanes = entries.lanes(t);
            const float* direct = entries.direct(t);
            unrolled<N>(FIRSTSPIKE_BODY(k) {
                d[k] = leak(d[k], neuron) + direct_of_lanes(lanes, direct, k);
                if constexpr (kSynaptic) e[k] = fade(e[k], neuron) + d[k];
                const Vec met = kSynaptic ? e[k] : d[k];
                sums[k] = time[k] == now ? sums[k] + met : sums[k];
                store(rows.data() + t * kWidth + k * kLanes, met * load(tile_scale + k * kLanes));
            });
        }
    }

    template <int N>
    void write(int64_t site, int64_t tile) {
        constexpr int64_t kWidth = N * kLanes;
        const int64_t source = sites.source(site);
        if (input) {
            const int64_t group = source * Tiles{shortcut.channels}.number() + tile, from = input->offset[group];
            pick<kWidth>(at_spikes + from, rows.data(), input->step + from, input->lane + from, input->offset[group + 1] - from,
                         0);
            return;
        }
        const int64_t step = l.batch * shortcut.height * shortcut.width * shortcut.channels;
        float* out = at_spikes + source * shortcut.channels + tile * kTile;
        for (int64_t t = 0; t < l.steps; ++t) std::copy_n(rows.data() + t * kWidth, sites.used(tile), out + t * step);
    }
};

template <bool kSynaptic>
void make_gradient(const Layer& l, const Neuron& neuron, const Shortcut& s, const OutputGradient& g, const SupportView* input,
                   int threads, float* at_spikes, float* at_scale) {
    const Tiles tiles{l.outputs}, own{s.channels};
    const int64_t sites = l.batch * l.sites(), sources = l.batch * s.height * s.width;
    if (at_spikes && s.height * s.width != l.sites())  // neurons between the strides reach nothing
        std::fill_n(at_spikes, input ? input->offset[sources * own.number()] : l.steps * sources * s.channels, 0.0f);
    const PaddedRow scale(s.scale, s.channels, l.outputs);
    const int64_t parts = std::min(sites, kShortcutParts), padded = own.number() * kTile;
    Buffer<double> sums(parts * padded);
    std::fill_n(sums.data(), parts * padded, 0.0);
    parallel_for(parts, threads, [&](int64_t part) {
        Gradient<kSynaptic> gradient{l, neuron, s, ShortcutSites(l, s), scale.tile(0), g, input, at_spikes, at_scale != nullptr};
        for (int64_t tile = 0; tile < own.number(); ++tile)
            with_vectors(tiles.vectors(tile), [&](auto vectors) {
                gradient.template tile<decltype(vectors)::value>(tile, sites * part / parts, sites * (part + 1) / parts,
                                                                 sums.data() + part * padded + tile * kTile);
            });
    });
    for (int64_t c = 0; c < (at_scale ? s.channels : 0); ++c) {
        double sum = 0.0;
        for (int64_t part = 0; part < parts; ++part) sum += sums[part * padded + c];
        at_scale[c] = static_cast<float>(sum);
    }
}

}  // namespace

void shortcut_gradient(const Layer& l, const Neuron& neuron, const Shortcut& s, const OutputGradient& g, const SupportView* input,
                       int threads, float* at_spikes, float* at_scale) {
    const auto make = neuron.synaptic_decay == 0.0f ? make_gradient<false> : make_gradient<true>;
    make(l, neuron, s, g, input, threads, at_spikes, at_scale);
}

}  // namespace firstspike
