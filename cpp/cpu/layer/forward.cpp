// Forward pass of a layer: one read of the weights of the inputs that fire, whatever the number of steps.
//
// For each tile of neurons of a site the membranes stay in registers; step by step its current is added, either the rows of the
// inputs that fire or, in a convolution with large fields, their sums (layer/tap_sums.h); then the threshold is tested, and the
// tile is left as soon as all its neurons have fired.
#include <optional>

#include "accumulate.h"
#include "layer.h"
#include "schedule.h"
#include "tap_sums.h"

namespace firstspike {

namespace {

constexpr int64_t kNap = 8;  // steps without events that are passed over at once

// The bias of a tile, zeros in the padding and where there is none.
class TileBias {
 public:
    TileBias(const float* bias, int64_t outputs) : data_(Tiles{outputs}.padded()) {
        std::fill(data_.data(), data_.data() + Tiles{outputs}.padded(), 0.0f);
        if (bias) std::copy_n(bias, outputs, data_.data());
    }
    const float* tile(int64_t i) const { return data_.data() + i * kTile; }

 private:
    Buffer<float> data_;
};

template <int N>
FIRSTSPIKE_INLINE void add(Vec (&v)[N], const float* values) {
    for (int k = 0; k < N; ++k) v[k] += load(values + k * kLanes);
}

// The current of a tile of neurons at each step: rows of weights to add, and the bias, ...
struct ListedCurrent {
    const float* weights;
    const float* bias;
    EventList events;

    bool silent(int64_t from, int64_t to) const { return events.begin[to] == events.begin[from]; }
    template <int N>
    FIRSTSPIKE_INLINE void enter(Vec (&v)[N], int64_t t) const {
        add_rows<N>(v, weights, events.row + events.begin[t], events.count(t));
        add(v, bias);
    }
    // Some silent steps.
    template <int N>
    FIRSTSPIKE_INLINE void enter_silent(Vec (&v)[N], int64_t steps) const {
        for (int64_t t = 0; t < steps; ++t) add(v, bias);
    }
};

// ... or the sums of all that.
struct SummedCurrent {
    const float* sums;

    static bool silent(int64_t, int64_t) { return false; }
    template <int N>
    static void enter_silent(Vec (&)[N], int64_t) {}
    template <int N>
    FIRSTSPIKE_INLINE void enter(Vec (&v)[N], int64_t t) const {
        add(v, sums + t * N * kLanes);
    }
};

// Calls run(task, site, tile, vectors, current) for every tile of neurons; calls with the same `task` come one after another.
template <class Run>
void each_tile(const Synapses& s, const Schedule& schedule, Run&& run) {
    const Layer& l = s.layer;
    const Tiles tiles{l.outputs};
    const TileBias bias(s.bias, l.outputs);
    std::optional<Panel> own;
    if (!s.packed) own.emplace(l, s.weight, !schedule.one_task_a_tile(), s.threads);
    const Panel& panel = s.packed ? *s.packed : *own;
    if (l.single_site() || FieldSort::units(l) <= FieldSort::kMostUnits) {
        schedule.each_tile(
            s.times, [&](int64_t tile) { return panel.tile(tile); },
            [&](int64_t task, int64_t site, int64_t tile, const Panel::Tile& packed, EventList events) {
                with_vectors(tiles.vectors(tile), [&](auto vectors) {
                    run(task, site, tile, vectors, ListedCurrent{packed.weights, bias.tile(tile), events});
                });
            });
        return;
    }
    schedule.each_task([&](int64_t task, auto&& lines) {
        CellLists cells(l, s.times);
        Buffer<float> scratch;
        lines([&](int64_t line) {
            const int64_t y = line % l.out_height();
            cells.build(line / l.out_height(), y);
            for (int64_t tile = 0; tile < tiles.number(); ++tile)
                with_vectors(tiles.vectors(tile), [&](auto vectors) {
                    constexpr int N = decltype(vectors)::value;
                    const int64_t block = StepSums<N>::block(l.steps);
                    for (int64_t from = 0; from < l.out_width(); from += block)
                        sum_taps<N>(l, cells, panel.tile(tile).weights, bias.tile(tile), y, from,
                                    std::min(from + block, l.out_width()), scratch, [&](int64_t x, const float* sums) {
                                        run(task, line * l.out_width() + x, tile, vectors, SummedCurrent{sums});
                                    });
                });
        });
    });
}

// Calls at_step(v, t) with the membranes after each step's current, until it returns false.
//
// In kNap steps without events the membranes move by the bias alone, one way: where at_step.sleeps(after the first of the steps,
// after the last) says that nothing happens in between, they are passed over.
template <int N, class Current, class AtStep>
FIRSTSPIKE_INLINE void walk(Vec (&v)[N], const Current& current, int64_t steps, const Neuron& neuron, AtStep&& at_step) {
    const bool leaky = neuron.decay != 1.0f;
    int64_t awake = 0;  // steps before this one are not passed over
    for (int64_t t = 0; t < steps; ++t) {
        const int64_t end = std::min(t + kNap, steps);
        if (t >= awake && current.silent(t, end) && !leaky) {
            awake = end;
            Vec first[N], last[N];
            for (int k = 0; k < N; ++k) first[k] = v[k];
            current.enter_silent(first, 1);
            for (int k = 0; k < N; ++k) last[k] = first[k];
            current.enter_silent(last, end - t - 1);
            if (at_step.sleeps(first, last)) {
                for (int k = 0; k < N; ++k) v[k] = last[k];
                t = end - 1;
                continue;
            }
        }
        if (leaky)
            for (int k = 0; k < N; ++k) v[k] = leak(v[k], neuron);
        current.enter(v, t);
        if (!at_step(v, static_cast<int>(t))) return;
    }
}

// Writes the membranes of a tile of neurons that never fire.
template <int N>
struct Membranes {
    float* out;  // at step 0
    int64_t stride;
    int used;

    bool operator()(Vec (&v)[N], int step) const {
        std::memcpy(out + step * stride, v, static_cast<size_t>(used) * sizeof(float));
        return true;
    }
    bool sleeps(const Vec (&)[N], const Vec (&)[N]) const { return false; }
};

}  // namespace

Support fire_layer(const Synapses& s, const Neuron& neuron, const Surrogate& surrogate, bool record, uint8_t* times_out) {
    const Tiles tiles{s.layer.outputs};
    const int64_t sites = s.layer.batch * s.layer.sites();
    const Schedule schedule(s.layer, s.threads);
    const int64_t steps = s.layer.steps;
    const FiringRule rule(neuron, surrogate);
    SupportRecord found(record, schedule.tasks(), sites * tiles.number(), sites * s.layer.outputs);
    each_tile(s, schedule, [&](int64_t task, int64_t site, int64_t tile, auto vectors, const auto& current) {
        constexpr int N = decltype(vectors)::value;
        const int used = tiles.used(tile);
        Vec v[N] = {};
        rest(v, used);
        uint8_t* times = times_out + site * s.layer.outputs + tile * kTile;
        if (record) {
            SupportWriter& writer = found.of_task(task);
            FiringRecord<N> firing(rule, writer.begin_group(site * tiles.number() + tile, steps * used));
            walk(v, current, steps, neuron, firing);
            writer.end_group(firing.cursor());
            firing.write_times(times, used);
        } else {
            FiringTimes<N> firing(rule, used);
            walk(v, current, steps, neuron, firing);
            firing.write_times(times, used);
        }
    });
    return found.join(s.threads);
}

void integrate_layer(const Synapses& s, const Neuron& neuron, float* membrane) {
    const Tiles tiles{s.layer.outputs};
    const int64_t sites = s.layer.batch * s.layer.sites();
    each_tile(s, Schedule(s.layer, s.threads), [&](int64_t, int64_t site, int64_t tile, auto vectors, const auto& current) {
        constexpr int N = decltype(vectors)::value;
        Vec v[N] = {};
        walk(v, current, s.layer.steps, neuron,
             Membranes<N>{membrane + site * s.layer.outputs + tile * kTile, sites * s.layer.outputs, tiles.used(tile)});
    });
}

}  // namespace firstspike
