// One sample through layers of windows, layer by layer and step by step. Compiled once per instruction set (isa.h).
#include "events.h"
#include "geometry.h"
#include "kernel.h"
#include "neuron.h"

namespace firstspike::emulator {
namespace FIRSTSPIKE_EMULATOR_ISA {
namespace {

// The neurons of one layer; fired: kSilent for a neuron that is not spent.
template <class S>
struct Neurons {
    const Layer& layer;
    S *current, *v, *theta;
    uint8_t* fired;
    int64_t* counters;

    bool pools() const { return layer.neuron == Layer::Neuron::pool; }
};

// Weights from `row` on into as many neurons of a site, from `first` on.
template <class S>
[[gnu::always_inline]] inline void deliver_row(const Neurons<S>& to, int site, int first, const int32_t* __restrict row,
                                               int count) {
    const int64_t at = static_cast<int64_t>(site) * to.layer.out_c + first;
    S* __restrict current = to.current + at;
    const uint8_t* fired = to.fired + at;
    for (int i = 0; i < count; ++i) current[i] += row[i];
    int spent = 0;  // only a pool has such neurons while events arrive
    for (int i = 0; to.pools() && i < count; ++i) spent += fired[i] != kSilent;
    to.counters[kDelivered] += count;
    to.counters[kEffective] += count - spent;
}

template <class S>
void deliver(const Neurons<S>& to, const Synapses& from, int32_t event) {
    const auto* const weights = static_cast<const int32_t*>(from.weights);
    const int first = event % from.in_c / (from.in_c / from.groups) * from.row;
    const auto visit = [&](int site, int64_t row) { deliver_row(to, site, first, weights + row, from.row); };
    switch (from.kind) {
        case Synapses::Kind::linear: return visit_linear(from, event, visit);
        case Synapses::Kind::conv: return visit_conv(from, event, visit);
        case Synapses::Kind::diagonal:
            return visit_diagonal(from, event, [&](int site, int c) { deliver_row(to, site, c, weights + c, 1); });
    }
}

// V = V + I of every neuron that is not spent. kFires: one that passes theta is spent at `step`. kPools: I is that of one step.
template <class S, bool kCurrentWrap, bool kMembraneWrap, bool kFires, bool kPools>
void update(const Neurons<S>& n, int step) {
    const Limits<S> current(n.layer.accumulator), membrane(n.layer.membrane);
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
void run_layer(const Neurons<S>& n, const WindowedSample& sample, int64_t* trace) {
    const Layer& layer = n.layer;
    const int count = layer.neurons();
    const auto traced = [&] {
        if (!trace) return;
        for (int i = 0; i < count; ++i) *trace++ = n.fired[i] == kSilent ? n.v[i] : 0;
    };
    const auto set = [&](S* values, const void* of_channel) {
        for (int i = 0; i < count; i += layer.out_c)
            for (int c = 0; c < layer.out_c; ++c) values[i + c] = of_channel ? static_cast<const S*>(of_channel)[c] : 0;
    };
    for (int i = 0; i < count; ++i) n.fired[i] = kSilent;
    set(n.v, layer.bias);
    set(n.theta, layer.theta);
    const Synapses &own = layer.inputs[0], &last = layer.inputs[layer.input_count - 1];
    // The window of a shortcut's source comes first, unless both inputs have one source.
    for (int window = last.source == own.source; window < 2; ++window) {
        const Synapses& from = window ? own : last;
        set(n.current, nullptr);
        bucket_events(from.source < 0 ? sample.input : sample.times[from.source], from.sources(), from.steps, sample.events);
        for (int t = 0; t < from.steps; ++t) {
            const int32_t begin = sample.events.begin[t], end = sample.events.begin[t + 1];
            for (int k = 0; k < layer.input_count; ++k)
                for (int32_t e = begin; e < end && layer.inputs[k].source == from.source; ++e)
                    deliver(n, layer.inputs[k], sample.events.index[e]);
            if (window) n.counters[kEvents] += end - begin;
            if (!n.pools())
                update<S, kCurrentWrap, kMembraneWrap, false, false>(n, t);
            else if (begin < end)
                update<S, kCurrentWrap, kMembraneWrap, true, true>(n, t);
            traced();
        }
    }
    if (n.pools()) return;
    set(n.current, layer.rise);
    for (int t = 0; t < layer.steps(); ++t) {
        update<S, kCurrentWrap, kMembraneWrap, true, false>(n, t);
        traced();
    }
}

template <class S>
void run_typed(const WindowedSample& sample, int l) {
    const Layer& layer = sample.layers[l];
    const Neurons<S> n{layer,
                       static_cast<S*>(sample.current),
                       static_cast<S*>(sample.v),
                       static_cast<S*>(sample.theta),
                       sample.times[l],
                       sample.counters + static_cast<int64_t>(l) * kCounters};
    const bool membrane = layer.membrane.wrap;
    if (layer.accumulator.wrap)
        membrane ? run_layer<S, true, true>(n, sample, sample.trace[l]) : run_layer<S, true, false>(n, sample, sample.trace[l]);
    else
        membrane ? run_layer<S, false, true>(n, sample, sample.trace[l]) : run_layer<S, false, false>(n, sample, sample.trace[l]);
    if (l + 1 < sample.layer_count || !sample.last) return;
    for (int i = 0; i < layer.neurons(); ++i) sample.last[i] = n.v[i];
}

}  // namespace

void run_windows(const WindowedSample& sample) {
    for (int l = 0; l < sample.layer_count; ++l)
        sample.layers[l].state_bytes == 4 ? run_typed<int32_t>(sample, l) : run_typed<int64_t>(sample, l);
}

}  // namespace FIRSTSPIKE_EMULATOR_ISA
}  // namespace firstspike::emulator
