// Forward pass of a layer: one read of the weights of the inputs that fire, whatever the number of steps.
//
// For each tile of neurons of a site the membranes stay in registers; step by step its current is added, either the rows of the
// inputs that fire or, in a convolution with large fields, their sums; then the threshold is tested, and the tile is left as soon
// as all its neurons have fired. The loops, one function for each way to list the spikes (plan.h):
//
//   by_sample   for tile: for sample:                walk(the sample's list)
//   by_field    for line: for tile: for site:        the membranes of all steps at once, or, with a leak or a synaptic current,
//                                                    walk(the site's list)
//   by_line     for line: for tile: for block of sites: sum taps, kernel row by kernel row; for site: walk(the site's sums)
#include <cstring>
#include <optional>
#include <type_traits>

#include "../runtime/parallel.h"
#include "firing.h"
#include "plan.h"
#include "shortcut.h"
#include "spike_lists.h"
#include "sums.h"
#include "synapses.h"
#include "walk.h"

namespace firstspike {

namespace {

// The weights and the bias as the tiles read them.
struct PackedLayer {
    std::optional<Panel> own;
    const Panel* panel;
    PaddedRow bias;  // zeros where there is none

    PackedLayer(const Synapses& s, bool whole) : panel(s.packed), bias(s.bias, s.layer.outputs, s.layer.outputs) {
        if (!panel) panel = &own.emplace(s.layer, s.weight, whole, s.threads);
    }
};

// Calls line(n) for each line of a task.
template <class Line>
void each_line(const ForwardPlan& plan, int64_t lines, int64_t task, Line&& line) {
    for (int64_t n = task * plan.lines_per_task; n < std::min((task + 1) * plan.lines_per_task, lines); ++n) line(n);
}

// Tile by tile: a thread goes through some samples with one tile of weights in its cache.
template <class Run, class End>
void each_tile_by_sample(const Synapses& s, const ForwardPlan& plan, Run&& run, End&& end) {
    const Layer& l = s.layer;
    const Tiles tiles{l.outputs};
    const PackedLayer packed(s, plan.pack_whole);
    const SpikesBySample spikes(l, plan, s.times, s.threads);
    const int64_t blocks = plan.tasks / tiles.number();
    parallel_for(plan.tasks, s.threads, [&](int64_t task) {
        const int64_t tile = task / blocks;
        const Panel::Tile weights = packed.panel->tile(tile);
        each_line(plan, l.batch, task % blocks, [&](int64_t sample) {
            with_vectors(tiles.vectors(tile), [&](auto vectors) {
                run(task, sample, tile, vectors,
                    ListedCurrent<EventList>{weights.weights, packed.bias.tile(tile), spikes.sample(sample)});
            });
        });
        end(task);
    });
}

// kSynaptic: the current enters a synaptic one, so that membranes of all steps at once are none.
template <bool kSynaptic, class Run, class End>
void each_tile_by_field(const Synapses& s, const ForwardPlan& plan, const Neuron& neuron, Run&& run, End&& end) {
    const Layer& l = s.layer;
    const Tiles tiles{l.outputs};
    const PackedLayer packed(s, plan.pack_whole);
    std::optional<SilentSite> silent;
    if (!kSynaptic && neuron.decay == 1.0f) silent.emplace(l, packed.bias, neuron);
    const int64_t height = l.out_height(), width = l.out_width();
    parallel_for(plan.tasks, s.threads, [&](int64_t task) {
        SpikesByField spikes(l, s.times);
        Buffer<float> sums((kMostFieldUnits + 1) * kTile);
        each_line(plan, l.batch * height, task, [&](int64_t line) {
            spikes.build(line / height, line % height);
            for (int64_t tile = 0; tile < tiles.number(); ++tile) {
                const float *const weights = packed.panel->tile(tile).weights, *const bias = packed.bias.tile(tile);
                with_vectors(tiles.vectors(tile), [&](auto vectors) {
                    constexpr int N = decltype(vectors)::value;
                    for (int64_t x = 0; x < width; ++x) {
                        const FieldEvents events = spikes.site(x);
                        if constexpr (!kSynaptic)
                            if (silent) {
                                run(task, line * width + x, tile, vectors,
                                    FieldMembranes<N>(*silent, tile, weights, events, l.steps, sums.data()));
                                continue;
                            }
                        run(task, line * width + x, tile, vectors, ListedCurrent<FieldEvents>{weights, bias, events});
                    }
                });
            }
        });
        end(task);
    });
}

// The currents of the sites [from, to) of line y of a sample, [site][step][N vectors], of one tile of neurons with its weights
// [tap][channel][N vectors] and its bias: for each kernel row the spikes under its taps are added up.
//
// One kernel row after another, or some of its taps at a time, so that their weights stay in L1 for a whole line of sites; a site
// that took all its events at once would go through all weights at every step, from L2.
template <int N>
StepSums<N> sum_taps(const Layer& l, const SpikesByLine& cells, const float* weights, const float* bias, int64_t y, int64_t from,
                     int64_t to, int64_t together, Buffer<float>& scratch) {
    StepSums<N> sums(to - from, l.steps, scratch, bias);
    constexpr int64_t kWidth = StepSums<N>::kWidth;
    for (int64_t ky = 0; ky < l.kernel_height; ++ky) {
        const int64_t cell_y = l.top(y) + ky;
        if (cell_y < 0 || cell_y >= l.cells_y()) continue;
        const uint32_t* events = cells.events(cell_y);
        const float* kernel_row = weights + ky * l.kernel_width * l.channels * kWidth;
        for (int64_t kx = 0; kx < l.kernel_width; kx += together) {
            const int64_t taps = std::min(together, l.kernel_width - kx);
            for (int64_t x = from; x < to; ++x) {
                const int64_t left = l.left(x);  // the cell under tap 0
                const uint32_t* begin = cells.begin(cell_y, std::clamp<int64_t>(left + kx, 0, l.cells_x()));
                const uint32_t* end = cells.begin(cell_y, std::clamp<int64_t>(left + kx + taps, 0, l.cells_x()));
                for (int64_t t = 0; t < l.steps; ++t) {
                    const int64_t count = end[t] - begin[t];
                    if (count == 0) continue;
                    const uint32_t* event = events + begin[t];
                    sums.template add<1>(x - from, t, count, [&](Vec(&v)[N], int64_t i) {
                        const float* w = kernel_row + (static_cast<int64_t>(event[i]) - left * l.channels) * kWidth;
                        unrolled<N>(FIRSTSPIKE_BODY(n) { v[n] += load(w + n * kLanes); });
                    });
                }
            }
        }
    }
    return sums;
}

template <class Run, class End>
void each_tile_by_line(const Synapses& s, const ForwardPlan& plan, Run&& run, End&& end) {
    const Layer& l = s.layer;
    const Tiles tiles{l.outputs};
    const PackedLayer packed(s, plan.pack_whole);
    parallel_for(plan.tasks, s.threads, [&](int64_t task) {
        SpikesByLine cells(l, plan, s.times);
        Buffer<float> scratch;
        each_line(plan, l.batch * l.out_height(), task, [&](int64_t line) {
            const int64_t y = line % l.out_height();
            cells.build(line / l.out_height(), y);
            for (int64_t tile = 0; tile < tiles.number(); ++tile)
                with_vectors(tiles.vectors(tile), [&](auto vectors) {
                    constexpr int N = decltype(vectors)::value;
                    const int64_t block = plan.sums.positions_of(N), together = plan.sums.taps_of(N);
                    for (int64_t from = 0; from < l.out_width(); from += block) {
                        const int64_t to = std::min(from + block, l.out_width());
                        StepSums<N> sums = sum_taps<N>(l, cells, packed.panel->tile(tile).weights, packed.bias.tile(tile), y,
                                                       from, to, together, scratch);
                        for (int64_t x = from; x < to; ++x)
                            run(task, line * l.out_width() + x, tile, vectors, SummedCurrent{sums.at(x - from)});
                    }
                });
        });
        end(task);
    });
}

// Calls run(task, site, tile, vectors, current) for every tile of neurons; calls with the same `task` come one after another, and
// then end(task).
template <bool kSynaptic, class Run, class End>
void each_tile(const Synapses& s, const ForwardPlan& plan, const Neuron& neuron, Run&& run, End&& end) {
    switch (plan.lists) {
        case SpikeLists::by_sample: return each_tile_by_sample(s, plan, run, end);
        case SpikeLists::by_field: return each_tile_by_field<kSynaptic>(s, plan, neuron, run, end);
        case SpikeLists::by_line: return each_tile_by_line(s, plan, run, end);
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
    bool idle(const Vec (&)[N], const Vec (&)[N]) const { return false; }
};

// The current as it is, or with a shortcut's.
struct OwnCurrent {
    static constexpr bool kSynaptic = false;
    template <int N, class Current>
    FIRSTSPIKE_INLINE const Current& of(const Current& current, int64_t, int64_t) const {
        return current;
    }
};
struct CurrentAndShortcut {
    static constexpr bool kSynaptic = false;
    ShortcutSites sites;
    PaddedRow scale;

    explicit CurrentAndShortcut(const Synapses& s)
        : sites(s.layer, s.shortcut), scale(s.shortcut.scale, s.shortcut.channels, s.layer.outputs) {}
    template <int N, class Current>
    FIRSTSPIKE_INLINE ShortcutCurrent<N, Current> of(const Current& current, int64_t site, int64_t tile) const {
        return {current, sites, scale.tile(tile), site, tile};
    }
};

// One of these as what enters a synaptic current.
template <class Complete>
struct Synaptic {
    static constexpr bool kSynaptic = true;
    const Complete& entering;
    Neuron neuron;

    template <int N, class Current>
    FIRSTSPIKE_INLINE auto of(const Current& current, int64_t site, int64_t tile) const {
        using Entering = std::remove_cvref_t<decltype(entering.template of<N>(current, site, tile))>;
        return SynapticCurrent<N, Entering>(entering.template of<N>(current, site, tile), neuron);
    }
};

template <class Complete>
Support fire(const Synapses& s, const Neuron& neuron, const Surrogate& surrogate, bool record, uint8_t* times_out,
             const Complete& complete) {
    const Tiles tiles{s.layer.outputs};
    const int64_t sites = s.layer.batch * s.layer.sites();
    const ForwardPlan plan = plan_layer(s.layer, s.threads).forward;
    announce("forward", plan);
    const int64_t steps = s.layer.steps;
    const FiringRule rule(neuron, surrogate);
    SupportRecord found(record, plan.tasks, sites * tiles.number(), sites * s.layer.outputs);
    const auto run = [&](int64_t task, int64_t site, int64_t tile, auto vectors, const auto& own) {
        constexpr int N = decltype(vectors)::value;
        const int used = tiles.used(tile);
        const auto& current = complete.template of<N>(own, site, tile);
        Vec v[N] = {};
        rest(v, used);
        uint8_t* times = times_out + site * s.layer.outputs + tile * kTile;
        if (record) {
            SupportWriter& writer = found.of_task(task);
            FiringRecord<N> firing(rule, writer.begin_group(site * tiles.number() + tile, steps * used));
            walk(v, current, steps, neuron, firing);
            writer.end_group(firing.cursor());
            firing.write_times(times, used);
        } else if constexpr (std::remove_cvref_t<decltype(current)>::kWhole) {
            if (current.silent(0, steps)) {
                std::memcpy(times, current.silent_times(), static_cast<size_t>(used));
            } else {
                Words time[N];
                earliest(rule, current, steps, time);
                narrow_times(times, time, used);
            }
        } else {
            FiringTimes<N> firing(rule, used);
            walk(v, current, steps, neuron, firing);
            firing.write_times(times, used);
        }
    };
    each_tile<Complete::kSynaptic>(s, plan, neuron, run, [&](int64_t task) {
        if (s.threads == 1) found.end_task(task);
    });
    return found.join(s.threads);
}

template <class Complete>
void integrate(const Synapses& s, const Neuron& neuron, float* membrane, const Complete& complete) {
    const Tiles tiles{s.layer.outputs};
    const int64_t sites = s.layer.batch * s.layer.sites();
    const ForwardPlan plan = plan_layer(s.layer, s.threads).forward;
    announce("forward", plan);
    const auto run = [&](int64_t, int64_t site, int64_t tile, auto vectors, const auto& own) {
        constexpr int N = decltype(vectors)::value;
        const auto& current = complete.template of<N>(own, site, tile);
        Vec v[N] = {};
        walk(v, current, s.layer.steps, neuron,
             Membranes<N>{membrane + site * s.layer.outputs + tile * kTile, sites * s.layer.outputs, tiles.used(tile)});
    };
    each_tile<Complete::kSynaptic>(s, plan, neuron, run, [](int64_t) {});
}

}  // namespace

Support fire_layer(const Synapses& s, const Neuron& neuron, const Surrogate& surrogate, bool record, uint8_t* times_out) {
    const auto run = [&](const auto& complete) {
        if (neuron.synaptic_decay == 0.0f) return fire(s, neuron, surrogate, record, times_out, complete);
        return fire(s, neuron, surrogate, record, times_out, Synaptic{complete, neuron});
    };
    return s.shortcut.times ? run(CurrentAndShortcut(s)) : run(OwnCurrent{});
}

void integrate_layer(const Synapses& s, const Neuron& neuron, float* membrane) {
    if (neuron.synaptic_decay == 0.0f) return integrate(s, neuron, membrane, OwnCurrent{});
    integrate(s, neuron, membrane, Synaptic{OwnCurrent{}, neuron});
}

}  // namespace firstspike
