// One step of one layer, for weights of type W and states of type S.
#pragma once

#include "geometry.h"
#include "isa.h"
#include "neuron.h"
#include "params.h"

namespace firstspike::emulator {
namespace FIRSTSPIKE_EMULATOR_ISA {

struct Arrivals {
    const int32_t* index;
    int32_t count;
};

// What arrives in one step: from the layer's own source, and through its shortcut.
struct Inputs {
    Arrivals own, shortcut;
};

enum Touched : uint8_t { kUntouched, kByOwn, kByShortcut };  // of a site in a step, by which events

template <class S, class W>
[[gnu::always_inline]] inline void add_row(S* __restrict sum, const W* __restrict row, int n) {
    for (int i = 0; i < n; ++i) sum[i] += row[i];
}

// Note an event at a site: synapses, those to live neurons, and neurons that now have one (`active`).
[[gnu::always_inline]] inline void count_synapses(const Layer& layer, const State& state, int site, int64_t* counters) {
    counters[kDelivered] += layer.out_c;
    counters[kEffective] += state.unspent[site];
    if (!state.touched[site]) {
        state.touched[site] = kByOwn;
        counters[kActive] += state.unspent[site];
    }
}

// The same for the one synapse of a shortcut's event, after all events of the layer's own source. A neuron has no other one
// from the shortcut, so it is active by this one unless the site was touched before.
[[gnu::always_inline]] inline void count_shortcut(const State& state, int site, bool live, int64_t* counters) {
    ++counters[kDelivered];
    counters[kEffective] += live;
    if (state.touched[site] == kByOwn) return;
    state.touched[site] = kByShortcut;
    counters[kActive] += live;
}

// What a few rows of weights add up to without overflow.
template <class W, class S>
struct RowSum {
    using Type = S;
};
template <class S>
struct RowSum<int8_t, S> {
    using Type = int16_t;
};

// Add kRows rows: the sums are loaded and stored once for all of them, and 8-bit weights add up in 16 bits first.
template <int kRows, class W, class S>
[[gnu::always_inline]] inline void add_rows(S* __restrict sum, const W* const* rows, int n) {
    using Mid = typename RowSum<W, S>::Type;
    const W* r[kRows];
    for (int k = 0; k < kRows; ++k) r[k] = rows[k];
    for (int i = 0; i < n; ++i) {
        Mid mid = 0;
        for (int k = 0; k < kRows; ++k) mid = static_cast<Mid>(mid + static_cast<Mid>(r[k][i]));
        sum[i] += mid;
    }
}

template <class W, class S>
inline void deliver_linear(const Layer& layer, const State& state, Arrivals events, int64_t* counters) {
    constexpr int kRows = 8;
    S* __restrict sum = static_cast<S*>(state.sum);
    const W* weights = static_cast<const W*>(layer.inputs[0].weights);
    const W* rows[kRows];
    int waiting = 0;
    for (int32_t e = 0; e < events.count; ++e)
        visit_linear(layer.inputs[0], events.index[e], [&](int site, int64_t row) {
            count_synapses(layer, state, site, counters);
            if (state.all_unspent == 0) return;
            rows[waiting++] = weights + row;
            if (waiting < kRows) return;
            waiting = 0;
            add_rows<kRows>(sum, rows, layer.padded);
        });
    int done = 0;
    if (waiting >= 4) add_rows<4>(sum, rows, layer.padded), done = 4;
    for (; done < waiting; ++done) add_row(sum, rows[done], layer.padded);
}

template <class W, class S>
inline void deliver_conv(const Layer& layer, const State& state, Arrivals events, int64_t* counters) {
    S* sum = static_cast<S*>(state.sum);
    const W* weights = static_cast<const W*>(layer.inputs[0].weights);
    for (int32_t e = 0; e < events.count; ++e)
        visit_conv(layer.inputs[0], events.index[e], [&](int site, int64_t row) {
            count_synapses(layer, state, site, counters);
            if (state.unspent[site] == 0) return;
            add_row(sum + static_cast<int64_t>(site) * layer.padded, weights + row, layer.padded);
        });
}

// Not inlined, as that for event cores: few layers have a shortcut, and the loops of the others stay as tight as without.
template <class S>
[[gnu::noinline]] void deliver_shortcut(const Layer& layer, const State& state, Arrivals events, int64_t* counters) {
    S* sum = static_cast<S*>(state.sum);
    const S* alive = static_cast<const S*>(state.alive);
    for (int32_t e = 0; e < events.count; ++e)
        visit_diagonal(layer.inputs[1], events.index[e], [&](int site, int c) {
            const int64_t at = static_cast<int64_t>(site) * layer.padded + c;
            count_shortcut(state, site, alive[at] != 0, counters);
            sum[at] += static_cast<S>(static_cast<const int32_t*>(layer.inputs[1].weights)[c]);
        });
}

inline void settle(const State& state, int site, const Outcome& outcome, State& all, int64_t* counters) {
    state.unspent[site] -= outcome.fired;
    all.all_unspent -= outcome.fired;
    counters[kSpikes] += outcome.fired;
    counters[kAccumulatorOverflows] += outcome.accumulator_overflows;
    counters[kMembraneOverflows] += outcome.membrane_overflows;
}

template <class S, bool kMemWrap>
[[gnu::noinline]] void deliver_shortcut_events(const Layer& layer, State& state, Arrivals events, int t, int64_t* counters) {
    const S* alive = static_cast<const S*>(state.alive);
    for (int32_t e = 0; e < events.count; ++e)
        visit_diagonal(layer.inputs[1], events.index[e], [&](int site, int c) {
            const int64_t at = static_cast<int64_t>(site) * layer.padded + c;
            count_shortcut(state, site, alive[at] != 0, counters);
            settle(state, site, event_neuron<S, kMemWrap>(layer, state, at, c, t), state, counters);
        });
}

// update(first neuron of a site) of every site that is due: those with events, or all.
template <class W, class S, class Update>
[[gnu::always_inline]] inline void step_sites(const Layer& layer, State& state, const Inputs& events, bool all, int64_t* counters,
                                              const Update& update) {
    if (layer.inputs[0].kind == Synapses::Kind::conv)
        deliver_conv<W, S>(layer, state, events.own, counters);
    else
        deliver_linear<W, S>(layer, state, events.own, counters);
    if (events.shortcut.count) deliver_shortcut<S>(layer, state, events.shortcut, counters);
    for (int site = 0; site < layer.sites(); ++site) {
        const bool due = (all || state.touched[site]) && state.unspent[site] > 0;
        state.touched[site] = kUntouched;
        if (!due) continue;
        settle(state, site, update(static_cast<int64_t>(site) * layer.padded), state, counters);
    }
}

template <class W, class S, bool kAccWrap, bool kMemWrap, bool kLeak>
inline void step_by_step(const Layer& layer, State& state, const Inputs& events, int t, int64_t* counters) {
    const bool all = layer.has_bias || kLeak || t == layer.start;  // elsewhere a site without events keeps its state
    step_sites<W, S>(layer, state, events, all, counters, [&](int64_t at) {
        return step_site<S, kAccWrap, kMemWrap, kLeak>(layer, static_cast<S*>(state.v) + at, static_cast<S*>(state.sum) + at,
                                                       static_cast<S*>(state.alive) + at, state.times + at, t);
    });
}

template <class W, class S>
inline void step_with_current(const Layer& layer, State& state, const Inputs& events, int t, int64_t* counters) {
    step_sites<W, S>(layer, state, events, true, counters, [&](int64_t at) {
        return current_site(layer, static_cast<S*>(state.v) + at, static_cast<S*>(state.current) + at,
                            static_cast<S*>(state.sum) + at, static_cast<S*>(state.alive) + at, state.times + at, t);
    });
}

template <class W, class S, bool kMemWrap>
inline void step_by_event(const Layer& layer, State& state, const Inputs& events, int t, int64_t* counters) {
    S *v = static_cast<S*>(state.v), *alive = static_cast<S*>(state.alive);
    if (layer.leaks)
        for (int site = 0; site < layer.sites(); ++site)
            leak_site(layer, v + static_cast<int64_t>(site) * layer.padded, alive + static_cast<int64_t>(site) * layer.padded);
    const W* weights = static_cast<const W*>(layer.inputs[0].weights);
    const auto visit = [&](int site, int64_t row) {
        count_synapses(layer, state, site, counters);
        if (state.unspent[site] == 0) return;
        const int64_t at = static_cast<int64_t>(site) * layer.padded;
        settle(state, site,
               event_site<W, S, kMemWrap>(layer, weights + row, layer.shift, v + at, alive + at, state.times + at, t), state,
               counters);
    };
    for (int32_t e = 0; e < events.own.count; ++e) {
        if (layer.inputs[0].kind == Synapses::Kind::conv)
            visit_conv(layer.inputs[0], events.own.index[e], visit);
        else
            visit_linear(layer.inputs[0], events.own.index[e], visit);
    }
    if (events.shortcut.count) deliver_shortcut_events<S, kMemWrap>(layer, state, events.shortcut, t, counters);
    const bool all = layer.has_bias || layer.leaks || t == layer.start;
    for (int site = 0; site < layer.sites(); ++site) {
        state.touched[site] = kUntouched;
        if (!all || state.unspent[site] == 0) continue;
        const int64_t at = static_cast<int64_t>(site) * layer.padded;
        settle(state, site,
               event_site<S, S, kMemWrap>(layer, static_cast<const S*>(layer.bias), 0, v + at, alive + at, state.times + at, t),
               state, counters);
    }
}

}  // namespace FIRSTSPIKE_EMULATOR_ISA
}  // namespace firstspike::emulator
