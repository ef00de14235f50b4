// One sample through a net of windows, layer by layer and step by step. Compiled once per instruction set (isa.h).
#include "events.h"
#include "geometry.h"
#include "neuron.h"
#include "window.h"

namespace firstspike::emulator {
namespace FIRSTSPIKE_EMULATOR_ISA {
namespace {

// The neurons of one layer; fired: kSilent for a neuron that is not spent.
template <class S>
struct Neurons {
    const WindowLayer& layer;
    S *current, *v, *theta;
    uint8_t* fired;
    int64_t* counters;
};

template <class S>
void deliver(const Neurons<S>& to, const Synapses& from, int32_t event) {
    const int wide = from.map.stride, group = event % from.map.in_c / (from.map.in_c / from.groups);
    const auto visit = [&](int site, int64_t row) {
        const int64_t at = static_cast<int64_t>(site) * from.map.out_c + group * wide;
        S* __restrict current = to.current + at;
        const int32_t* __restrict weights = from.weights + row;
        const uint8_t* fired = to.fired + at;
        for (int i = 0; i < wide; ++i) current[i] += weights[i];
        int spent = 0;  // only a pool has such neurons while events arrive
        for (int i = 0; to.layer.pools && i < wide; ++i) spent += fired[i] != kSilent;
        to.counters[kDelivered] += wide;
        to.counters[kEffective] += wide - spent;
    };
    if (from.map.conv)
        visit_conv(from.map, event, visit);
    else
        visit_linear(from.map, event, visit);
}

// V = V + I of every neuron that is not spent. kFires: one that passes theta is spent at `step`. kPools: I is that of one step.
template <class S, bool kCurrentWrap, bool kMembraneWrap, bool kFires, bool kPools>
void update(const Neurons<S>& n, int step) {
    const Limits<S> current(n.layer.current), membrane(n.layer.membrane);
    S spent = 0, active = 0, current_changed = 0, membrane_changed = 0;  // of one step: at most 2^24
    S* __restrict input = n.current, * __restrict v = n.v;
    const S* __restrict theta = n.theta;
    uint8_t* __restrict fired = n.fired;
    for (int i = 0, count = n.layer.neurons(); i < count; ++i) {
        const S live = -static_cast<S>(fired[i] == kSilent), raw = input[i];
        const S now = current.template apply<kCurrentWrap>(raw), exact = v[i] + now;
        const S next = membrane.template apply<kMembraneWrap>(exact);
        active -= live & -static_cast<S>(now != 0);
        current_changed -= live & -static_cast<S>(now != raw);
        membrane_changed -= live & -static_cast<S>(next != exact);
        input[i] = kPools ? 0 : now;
        v[i] = live ? next : v[i];
        if constexpr (kFires) {
            const S fire = live & -static_cast<S>(next >= theta[i]);
            spent -= fire;
            fired[i] = fire ? static_cast<uint8_t>(step) : fired[i];
        }
    }
    n.counters[kSpikes] += spent;
    n.counters[kActive] += active;
    n.counters[kAccumulatorOverflows] += current_changed;
    n.counters[kMembraneOverflows] += membrane_changed;
}

template <class S, bool kCurrentWrap, bool kMembraneWrap>
void run_layer(const Neurons<S>& n, const WindowSample& sample, int64_t* trace) {
    const WindowLayer& layer = n.layer;
    const int count = layer.neurons();
    const auto traced = [&] {
        if (!trace) return;
        for (int i = 0; i < count; ++i) *trace++ = n.fired[i] == kSilent ? n.v[i] : 0;
    };
    const auto set = [&](S* values, const int64_t* of_channel) {
        for (int i = 0; i < count; i += layer.out_c)
            for (int c = 0; c < layer.out_c; ++c) values[i + c] = of_channel ? static_cast<S>(of_channel[c]) : 0;
    };
    for (int i = 0; i < count; ++i) n.fired[i] = kSilent;
    set(n.v, layer.start);
    set(n.theta, layer.theta);
    const int own = layer.inputs[layer.input_count - 1].source;
    for (int first = 0, last; first < layer.input_count; first = last) {
        const Synapses& source = layer.inputs[first];
        for (last = first + 1; last < layer.input_count && layer.inputs[last].source == source.source;) ++last;
        set(n.current, nullptr);
        bucket_events(sample.times[source.source + 1], source.map.sources(), source.steps, sample.events);
        for (int t = 0; t < source.steps; ++t) {
            const int32_t begin = sample.events.begin[t], end = sample.events.begin[t + 1];
            for (int k = first; k < last; ++k)
                for (int32_t e = begin; e < end; ++e) deliver(n, layer.inputs[k], sample.events.index[e]);
            if (source.source == own) n.counters[kEvents] += end - begin;
            if (!layer.pools)
                update<S, kCurrentWrap, kMembraneWrap, false, false>(n, t);
            else if (begin < end)
                update<S, kCurrentWrap, kMembraneWrap, true, true>(n, t);
            traced();
        }
    }
    if (layer.pools) return;
    set(n.current, layer.rise);
    for (int t = 0; t < layer.steps; ++t) {
        update<S, kCurrentWrap, kMembraneWrap, true, false>(n, t);
        traced();
    }
}

template <class S>
void run_typed(const WindowSample& sample, int l) {
    const WindowLayer& layer = sample.layers[l];
    const Neurons<S> n{layer,
                       static_cast<S*>(sample.current),
                       static_cast<S*>(sample.v),
                       static_cast<S*>(sample.theta),
                       sample.times[l + 1],
                       sample.counters + static_cast<int64_t>(l) * kCounters};
    const bool membrane = layer.membrane.wrap;
    if (layer.current.wrap)
        membrane ? run_layer<S, true, true>(n, sample, sample.trace[l]) : run_layer<S, true, false>(n, sample, sample.trace[l]);
    else
        membrane ? run_layer<S, false, true>(n, sample, sample.trace[l]) : run_layer<S, false, false>(n, sample, sample.trace[l]);
    if (l + 1 < sample.layer_count) return;
    for (int i = 0; i < layer.neurons(); ++i) sample.last[i] = n.v[i];
}

}  // namespace

void run_windows(const WindowSample& sample) {
    for (int l = 0; l < sample.layer_count; ++l)
        sample.layers[l].narrow ? run_typed<int32_t>(sample, l) : run_typed<int64_t>(sample, l);
}

}  // namespace FIRSTSPIKE_EMULATOR_ISA
}  // namespace firstspike::emulator
