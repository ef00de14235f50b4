// One site's neurons: the update at a step's end and the update by one event. Loops run over whole padded rows,
// branch-free.
#pragma once

#include "fixed.h"
#include "isa.h"
#include "params.h"

namespace firstspike::emulator {
namespace FIRSTSPIKE_EMULATOR_ISA {

template <class S>
struct Limits {
    S low, high;
    int bits;

    explicit Limits(const Register& r) : low(static_cast<S>(r.low)), high(static_cast<S>(r.high)), bits(r.bits) {}

    template <bool kWrap>
    [[gnu::always_inline]] S apply(S x) const {
        if constexpr (kWrap) return wrap(x, low, bits);
        return saturate(x, low, high);
    }
};

struct Outcome {
    int64_t accumulator_overflows = 0, membrane_overflows = 0;
    int32_t fired = 0;
};

// `alive` is -1 for a neuron that is not spent, else 0; a spent neuron's v keeps the value at its spike (it reads as
// 0).
template <class S, bool kAccWrap, bool kMemWrap, bool kLeak>
inline Outcome step_site(const Layer& layer, S* __restrict v, S* __restrict sum, S* __restrict alive, uint8_t* __restrict times,
                         int t) {
    const Limits<S> acc(layer.accumulator), mem(layer.membrane);
    const S* __restrict theta = static_cast<const S*>(layer.theta);
    const S* __restrict bias = static_cast<const S*>(layer.bias);
    const S keep = static_cast<S>(layer.keep), fires = layer.fires ? -1 : 0;
    S acc_changed = 0, mem_changed = 0, fired = 0;
    for (int i = 0; i < layer.padded; ++i) {
        const S raw = shift_left(sum[i], layer.shift);
        const S input = acc.template apply<kAccWrap>(raw);
        const S old = kLeak ? leak_toward_zero(v[i], keep, layer.decay_bits) : v[i];
        const S exact = old + input + bias[i];
        const S next = mem.template apply<kMemWrap>(exact);
        const S live = alive[i];
        const S fire = live & fires & -static_cast<S>(next >= theta[i]);
        acc_changed += live & static_cast<S>(input != raw);
        mem_changed += live & static_cast<S>(next != exact);
        fired -= fire;
        v[i] = live ? next : v[i];
        alive[i] = live & ~fire;
        times[i] = fire ? static_cast<uint8_t>(t) : times[i];
        sum[i] = 0;
    }
    return {static_cast<int64_t>(acc_changed), static_cast<int64_t>(mem_changed), static_cast<int32_t>(fired)};
}

// The same with a current that lasts from step to step, or leaks by shift: few layers, so nothing here is a template.
template <class S>
[[gnu::noinline]] inline Outcome current_site(const Layer& layer, S* __restrict v, S* __restrict current, S* __restrict sum,
                                              S* __restrict alive, uint8_t* __restrict times, int t) {
    const Limits<S> acc(layer.accumulator), mem(layer.membrane);
    const S *theta = static_cast<const S*>(layer.theta), *bias = static_cast<const S*>(layer.bias);
    const auto left = [&](S x, int keep) {
        return layer.by_shift ? leak_by_shift(x, keep) : leak_toward_zero(x, static_cast<S>(keep), layer.decay_bits);
    };
    const auto fit = [](const Limits<S>& limits, bool wraps, S x) {
        return wraps ? limits.template apply<true>(x) : limits.template apply<false>(x);
    };
    Outcome made;
    for (int i = 0; i < layer.padded; ++i) {
        S raw = shift_left(sum[i], layer.shift);
        sum[i] = 0;
        if (!alive[i]) continue;
        if (layer.has_current) raw += layer.by_shift ? current[i] : left(current[i], layer.current_keep);
        S input = fit(acc, layer.accumulator.wrap, raw);
        made.accumulator_overflows += input != raw;
        if (layer.has_current) {
            if (layer.by_shift) input = left(input, layer.current_keep);
            current[i] = input;
        }
        const S exact = (layer.leaks ? left(v[i], layer.keep) : v[i]) + input + bias[i];
        v[i] = fit(mem, layer.membrane.wrap, exact);
        made.membrane_overflows += v[i] != exact;
        if (!layer.fires || v[i] < theta[i]) continue;
        alive[i] = 0, times[i] = static_cast<uint8_t>(t), ++made.fired;
    }
    return made;
}

// Add to the membrane of one neuron, and test it.
template <class S, bool kMemWrap>
[[gnu::always_inline]] inline void add_and_test(const Limits<S>& mem, S add, S theta, S fires, S& v, S& alive, uint8_t& time,
                                                int t, S& changed, S& fired) {
    const S exact = v + add;
    const S next = mem.template apply<kMemWrap>(exact);
    const S live = alive;
    const S fire = live & fires & -static_cast<S>(next >= theta);
    changed += live & static_cast<S>(next != exact);
    fired -= fire;
    v = live ? next : v;
    alive = live & ~fire;
    time = fire ? static_cast<uint8_t>(t) : time;
}

// Add weight * 2^shift to each neuron of the site, one event; with no weights, the bias at the step's end.
template <class W, class S, bool kMemWrap>
inline Outcome event_site(const Layer& layer, const W* __restrict weight, int shift, S* __restrict v, S* __restrict alive,
                          uint8_t* __restrict times, int t) {
    const Limits<S> mem(layer.membrane);
    const S* __restrict theta = static_cast<const S*>(layer.theta);
    const S fires = layer.fires ? -1 : 0;
    S changed = 0, fired = 0;
    for (int i = 0; i < layer.padded; ++i)
        add_and_test<S, kMemWrap>(mem, shift_left(static_cast<S>(weight[i]), shift), theta[i], fires, v[i], alive[i], times[i], t,
                                  changed, fired);
    return {0, static_cast<int64_t>(changed), static_cast<int32_t>(fired)};
}

// The event of a shortcut into the neuron `at` of channel c.
template <class S, bool kMemWrap>
inline Outcome event_neuron(const Layer& layer, const State& state, int64_t at, int c, int t) {
    const S add = shift_left(static_cast<S>(static_cast<const int32_t*>(layer.inputs[1].weights)[c]), layer.shift),
            fires = layer.fires ? -1 : 0;
    S changed = 0, fired = 0;
    add_and_test<S, kMemWrap>(Limits<S>(layer.membrane), add, static_cast<const S*>(layer.theta)[c], fires,
                              static_cast<S*>(state.v)[at], static_cast<S*>(state.alive)[at], state.times[at], t, changed, fired);
    return {0, static_cast<int64_t>(changed), static_cast<int32_t>(fired)};
}

template <class S>
inline void leak_site(const Layer& layer, S* __restrict v, const S* __restrict alive) {
    const S keep = static_cast<S>(layer.keep);
    for (int i = 0; i < layer.padded; ++i) v[i] = alive[i] ? leak_toward_zero(v[i], keep, layer.decay_bits) : v[i];
}

}  // namespace FIRSTSPIKE_EMULATOR_ISA
}  // namespace firstspike::emulator
