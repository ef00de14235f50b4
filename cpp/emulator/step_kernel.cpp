// One sample through all layers, step by step. Compiled once per instruction set (isa.h).
#include "kernel.h"

#include "events.h"
#include "layer_step.h"

namespace firstspike::emulator {
namespace FIRSTSPIKE_EMULATOR_ISA {
namespace {

template <class W, class S>
void step_typed(const Layer& layer, State& state, const Inputs& events, int t, int64_t* counters) {
    const bool acc = layer.accumulator.wrap, mem = layer.membrane.wrap;
    if (layer.by_event)
        return mem ? step_by_event<W, S, true>(layer, state, events, t, counters)
                   : step_by_event<W, S, false>(layer, state, events, t, counters);
    if (layer.has_current || layer.by_shift) return step_with_current<W, S>(layer, state, events, t, counters);
    if (layer.leaks) {
        if (acc)
            return mem ? step_by_step<W, S, true, true, true>(layer, state, events, t, counters)
                       : step_by_step<W, S, true, false, true>(layer, state, events, t, counters);
        return mem ? step_by_step<W, S, false, true, true>(layer, state, events, t, counters)
                   : step_by_step<W, S, false, false, true>(layer, state, events, t, counters);
    }
    if (acc)
        return mem ? step_by_step<W, S, true, true, false>(layer, state, events, t, counters)
                   : step_by_step<W, S, true, false, false>(layer, state, events, t, counters);
    return mem ? step_by_step<W, S, false, true, false>(layer, state, events, t, counters)
               : step_by_step<W, S, false, false, false>(layer, state, events, t, counters);
}

template <class S>
void step_weights(const Layer& layer, State& state, const Inputs& events, int t, int64_t* counters) {
    switch (layer.weight_bytes) {
        case 1: return step_typed<int8_t, S>(layer, state, events, t, counters);
        case 2: return step_typed<int16_t, S>(layer, state, events, t, counters);
        default: return step_typed<int32_t, S>(layer, state, events, t, counters);
    }
}

template <class S>
void reset_state(const Layer& layer, State& state, int total_steps) {
    S *v = static_cast<S*>(state.v), *sum = static_cast<S*>(state.sum), *alive = static_cast<S*>(state.alive);
    for (int site = 0; site < layer.sites(); ++site) {
        const int64_t at = static_cast<int64_t>(site) * layer.padded;
        for (int i = 0; i < layer.padded; ++i) {
            v[at + i] = sum[at + i] = 0;
            if (layer.has_current || layer.by_shift) static_cast<S*>(state.current)[at + i] = 0;
            alive[at + i] = i < layer.out_c ? -1 : 0;
            state.times[at + i] = kSilent;
        }
        state.unspent[site] = layer.out_c;
        state.touched[site] = kUntouched;
    }
    state.all_unspent = layer.neurons();
    for (int t = 0; t <= total_steps; ++t) state.out.begin[t] = 0;
}

template <class S>
void read_membrane(const Layer& layer, const State& state, int64_t* out) {
    const S *v = static_cast<const S*>(state.v), *alive = static_cast<const S*>(state.alive);
    for (int site = 0; site < layer.sites(); ++site) {
        const int64_t at = static_cast<int64_t>(site) * layer.padded;
        for (int c = 0; c < layer.out_c; ++c) *out++ = alive[at + c] ? v[at + c] : 0;
    }
}

// The events of a source that were sent in a step.
Arrivals sent_in(const Events& source, int step) {
    if (step < 0) return {source.index, 0};
    return {source.index + source.begin[step], source.begin[step + 1] - source.begin[step]};
}

// shortcut: null where the layer has none.
void step_layer(const Layer& layer, State& state, const Events& source, const Events* shortcut, int t, int64_t* counters) {
    if (t < layer.start || t >= layer.stop) {
        state.out.begin[t + 1] = state.out.begin[t];
        return;
    }
    const Inputs events{sent_in(source, t - layer.inputs[0].delay),
                        shortcut ? sent_in(*shortcut, t - layer.inputs[1].delay) : Arrivals{nullptr, 0}};
    counters[kEvents] += events.own.count;
    const int64_t before = counters[kSpikes];
    if (layer.state_bytes == 4)
        step_weights<int32_t>(layer, state, events, t, counters);
    else
        step_weights<int64_t>(layer, state, events, t, counters);
    if (counters[kSpikes] > before)
        append_fired(layer, state, t);
    else
        state.out.begin[t + 1] = state.out.begin[t];
}

}  // namespace

int run_steps(const StepSample& sample) {
    bucket_events(sample.input, sample.layers[0].inputs[0].sources(), sample.total_steps, sample.events);
    for (int l = 0; l < sample.layer_count; ++l) {
        if (sample.layers[l].state_bytes == 4)
            reset_state<int32_t>(sample.layers[l], sample.states[l], sample.total_steps);
        else
            reset_state<int64_t>(sample.layers[l], sample.states[l], sample.total_steps);
        for (int k = 0; k < kCounters; ++k) sample.counters[l * kCounters + k] = 0;
    }
    const int last = sample.layer_count - 1;
    const auto fired_in = [&](int source) -> const Events& { return source < 0 ? sample.events : sample.states[source].out; };
    for (int t = 0; t < sample.total_steps; ++t) {
        for (int l = 0; l < sample.layer_count; ++l) {
            const Layer& layer = sample.layers[l];
            const Events* const shortcut = layer.input_count > 1 ? &fired_in(layer.inputs[1].source) : nullptr;
            step_layer(layer, sample.states[l], fired_in(l - 1), shortcut, t, sample.counters + l * kCounters);
            if (!sample.trace[l]) continue;
            int64_t* out = sample.trace[l] + static_cast<int64_t>(t) * layer.neurons();
            if (layer.state_bytes == 4)
                read_membrane<int32_t>(layer, sample.states[l], out);
            else
                read_membrane<int64_t>(layer, sample.states[l], out);
        }
        if (sample.exit_at_first_spike && sample.counters[last * kCounters + kSpikes] > 0) return t + 1;
    }
    return sample.total_steps;
}

}  // namespace FIRSTSPIKE_EMULATOR_ISA
}  // namespace firstspike::emulator
