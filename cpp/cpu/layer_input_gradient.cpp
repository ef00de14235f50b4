// dL/ds of a layer's input.
//
// h[j, t] = sum_o W[o, j] direct[o, t] and dL/ds[j, t] = h[t] + decay dL/ds[t+1] (DESIGN, section 3). `direct` lives only at the
// support entries of the layer, and dL/ds is wanted only at those of the layer that made the input. So each cell of the input
// walks the entries of the sites above it from the last step to the first with one running row of a tile's width, and reads it
// where the producer has entries: nothing of size steps x neurons exists.
#include <algorithm>
#include <vector>

#include "kernels.h"
#include "parallel.h"
#include "tile_loops.h"

namespace firstspike {

namespace {

// Gradient events by step: weight rows of the transposed panel, and what to multiply them with.
struct Events {
    Buffer<uint32_t> row, begin;
    Buffer<float> value;

    void reserve(int64_t events, int64_t steps) {
        row.reserve(events + kLanes);
        value.reserve(events + kLanes);
        begin.reserve(steps + 1);
    }
};

// A site's `direct`, of all its tiles, by step.
void sort_site(const Layer& l, const OutputGradient& g, int64_t site, Events& out) {
    const int64_t tiles = Tiles{l.outputs}.number(), steps = l.steps;
    const int64_t first = g.support.offset[site * tiles], last = g.support.offset[(site + 1) * tiles];
    out.reserve(last - first, steps);
    uint32_t* begin = out.begin.data();
    std::fill_n(begin, steps + 1, 0u);
    for (int64_t e = first; e < last; ++e) ++begin[g.support.step[e] + 1];
    for (int64_t t = 0; t < steps; ++t) begin[t + 1] += begin[t];
    for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t end = g.support.offset[site * tiles + tile + 1];
        for (int64_t e = g.support.offset[site * tiles + tile]; e < end; ++e) {
            const uint32_t to = begin[g.support.step[e]]++;
            out.row[to] = static_cast<uint32_t>(tile * kTile + g.support.lane[e]);
            out.value[to] = g.gradient[e] * (g.slope ? g.slope[e] : 1.0f);
        }
    }
    for (int64_t t = steps; t > 0; --t) begin[t] = begin[t - 1];
    begin[0] = 0;
}

// The events of all sites above a cell, joined step by step; the copies run over by up to a vector.
struct SiteAbove {
    const Events* events;
    uint32_t first_row;
};

void merge_sites(const std::vector<SiteAbove>& sites, int64_t steps, Events& out) {
    int64_t total = 0;
    for (const auto& site : sites) total += site.events->begin[steps];
    out.reserve(total, steps);
    uint32_t n = 0;
    for (int64_t t = 0; t < steps; ++t) {
        out.begin[t] = n;
        for (const auto& site : sites) {
            const uint32_t from = site.events->begin[t], count = site.events->begin[t + 1] - from;
            for (uint32_t k = 0; k < count; k += kLanes) {
                *reinterpret_cast<Words*>(&out.row[n + k]) =
                    *reinterpret_cast<const Words*>(&site.events->row[from + k]) + site.first_row;
                store(&out.value[n + k], load(&site.events->value[from + k]));
            }
            n += count;
        }
    }
    out.begin[steps] = n;
}

// Calls at_step(sum, t) for the steps downwards, sum = dL/ds of the tile at step t.
template <int N, class AtStep>
inline void walk_back(const float* weights, const Events& events, int64_t steps, const Neuron& neuron, AtStep&& at_step) {
    Vec sum[N] = {};
    for (int64_t t = steps - 1; t >= 0; --t) {
        if (neuron.decay != 1.0f)
            for (int k = 0; k < N; ++k) sum[k] = leak(sum[k], neuron);
        const uint32_t from = events.begin[t];
        add_scaled_rows<N>(sum, weights, events.row.data() + from, events.value.data() + from, events.begin[t + 1] - from);
        at_step(sum, t);
    }
}

// Where a cell's gradient goes: each unit of the pooling window gets the cell's, at its own support entries or at every step.
class AtSupport {
   public:
    AtSupport(const Layer& l, const SupportView& input, float* gradient) : l_(l), input_(input), gradient_(gradient) {}

    template <int N>
    void run(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const float* weights, const Events& events,
             const Neuron& neuron) const {
        struct Cursor {
            int64_t begin, end;
        };
        thread_local std::vector<Cursor> cursors;
        cursors.clear();
        for (int64_t y = cell_y * l_.pool; y < (cell_y + 1) * l_.pool; ++y)
            for (int64_t x = cell_x * l_.pool; x < (cell_x + 1) * l_.pool; ++x) {
                const int64_t group = ((sample * l_.height + y) * l_.width + x) * Tiles{l_.channels}.number() + tile;
                if (input_.offset[group] < input_.offset[group + 1])
                    cursors.push_back({input_.offset[group], input_.offset[group + 1]});
            }
        if (cursors.empty()) return;
        walk_back<N>(weights, events, l_.steps, neuron, [&](const Vec (&sum)[N], int64_t t) {
            alignas(64) float row[kTile];
            bool stored = false;
            for (auto& cursor : cursors)
                for (; cursor.end > cursor.begin && input_.step[cursor.end - 1] == t; --cursor.end) {
                    if (!stored)
                        for (int k = 0; k < N; ++k) store(row + k * kLanes, sum[k]);
                    stored = true;
                    gradient_[cursor.end - 1] = row[input_.lane[cursor.end - 1]];
                }
        });
    }

   private:
    const Layer& l_;
    SupportView input_;
    float* gradient_;
};

class AtEveryStep {
   public:
    AtEveryStep(const Layer& l, float* gradient) : l_(l), gradient_(gradient) {}

    template <int N>
    void run(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const float* weights, const Events& events,
             const Neuron& neuron) const {
        const int used = Tiles{l_.channels}.used(tile);
        walk_back<N>(weights, events, l_.steps, neuron, [&](const Vec (&sum)[N], int64_t t) {
            for (int64_t y = cell_y * l_.pool; y < (cell_y + 1) * l_.pool; ++y)
                for (int64_t x = cell_x * l_.pool; x < (cell_x + 1) * l_.pool; ++x)
                    std::memcpy(gradient_ + ((t * l_.batch + sample) * l_.height * l_.width + y * l_.width + x) * l_.channels +
                                    tile * kTile,
                                sum, static_cast<size_t>(used) * sizeof(float));
        });
    }

   private:
    const Layer& l_;
    float* gradient_;
};

// Every tile of every cell of a layer with one site: a cell's weights serve a block of samples.
template <class Output>
void single_site(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const Panel& panel, const Output& output) {
    const Layer& l = s.layer;
    constexpr int64_t kBlock = 64;
    std::vector<Events> events(static_cast<size_t>(l.batch));
    parallel_for((l.batch + kBlock / 8 - 1) / (kBlock / 8), s.threads, [&](int64_t task) {
        for (int64_t n = task * (kBlock / 8); n < std::min((task + 1) * (kBlock / 8), l.batch); ++n)
            sort_site(l, g, n, events[static_cast<size_t>(n)]);
    });
    const Tiles tiles{l.channels};
    const int64_t blocks = (l.batch + kBlock - 1) / kBlock;
    parallel_for(l.taps() * tiles.number() * blocks, s.threads, [&](int64_t task) {
        const int64_t block = task % blocks, tile = task / blocks % tiles.number(), cell = task / blocks / tiles.number();
        with_vectors(tiles.vectors(tile), [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            const float* weights = panel.tile(tile) + cell * l.outputs * N * kLanes;
            for (int64_t n = block * kBlock; n < std::min((block + 1) * kBlock, l.batch); ++n)
                output.template run<N>(n, cell / l.cells_x(), cell % l.cells_x(), tile, weights, events[static_cast<size_t>(n)],
                                       neuron);
        });
    });
}

// Rows of cells of a convolution; the sorted sites above them are kept from row to row.
template <class Output>
void convolution(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const Panel& panel, const Output& output) {
    const Layer& l = s.layer;
    const Tiles tiles{l.channels};
    const int64_t rows = l.batch * l.cells_y();
    const int64_t per_task = l.batch >= 2 * s.threads ? l.cells_y() : std::max<int64_t>(1, rows / (4 * s.threads));
    parallel_for((rows + per_task - 1) / per_task, s.threads, [&](int64_t task) {
        std::vector<Events> sorted(static_cast<size_t>(l.sites())), merged(static_cast<size_t>(l.cells_x()));
        std::vector<int64_t> sample_of_row(static_cast<size_t>(l.out_height()), -1);
        std::vector<SiteAbove> above;
        for (int64_t n = task * per_task; n < std::min((task + 1) * per_task, rows); ++n) {
            const int64_t sample = n / l.cells_y(), cell_y = n % l.cells_y();
            for (int64_t cell_x = 0; cell_x < l.cells_x(); ++cell_x) {
                above.clear();
                for (int64_t ky = 0; ky < l.kernel_height; ++ky) {
                    const int64_t down = cell_y + l.pad_y - ky, y = down / l.stride_y;
                    if (down < 0 || down % l.stride_y != 0 || y >= l.out_height()) continue;
                    if (sample_of_row[static_cast<size_t>(y)] != sample) {
                        sample_of_row[static_cast<size_t>(y)] = sample;
                        for (int64_t i = y * l.out_width(); i < (y + 1) * l.out_width(); ++i)
                            sort_site(l, g, sample * l.sites() + i, sorted[static_cast<size_t>(i)]);
                    }
                    for (int64_t kx = 0; kx < l.kernel_width; ++kx) {
                        const int64_t right = cell_x + l.pad_x - kx, x = right / l.stride_x;
                        if (right < 0 || right % l.stride_x != 0 || x >= l.out_width()) continue;
                        above.push_back({&sorted[static_cast<size_t>(y * l.out_width() + x)],
                                         static_cast<uint32_t>((ky * l.kernel_width + kx) * l.outputs)});
                    }
                }
                merge_sites(above, l.steps, merged[static_cast<size_t>(cell_x)]);
            }
            for (int64_t tile = 0; tile < tiles.number(); ++tile)
                with_vectors(tiles.vectors(tile), [&](auto vectors) {
                    constexpr int N = decltype(vectors)::value;
                    for (int64_t cell_x = 0; cell_x < l.cells_x(); ++cell_x)
                        output.template run<N>(sample, cell_y, cell_x, tile, panel.tile(tile),
                                               merged[static_cast<size_t>(cell_x)], neuron);
                });
        }
    });
}

template <class Output>
void input_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const Output& output) {
    const Panel panel = Panel::by_channel(s.layer, s.weight, s.threads);
    if (s.layer.single_site()) single_site(s, neuron, g, panel, output);
    else convolution(s, neuron, g, panel, output);
}

// Units outside the last whole pooling window reach nothing.
bool cropped(const Layer& l) { return l.height % l.pool != 0 || l.width % l.pool != 0; }

}  // namespace

void input_gradient_at(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const SupportView& input,
                       float* gradient) {
    const Layer& l = s.layer;
    if (cropped(l))
        std::fill_n(gradient, input.offset[l.batch * l.height * l.width * Tiles{l.channels}.number()], 0.0f);
    input_gradient(s, neuron, g, AtSupport(l, input, gradient));
}

void input_gradient_dense(const Synapses& s, const Neuron& neuron, const OutputGradient& g, float* gradient) {
    const Layer& l = s.layer;
    if (cropped(l)) std::fill_n(gradient, l.steps * l.batch * l.units(), 0.0f);
    input_gradient(s, neuron, g, AtEveryStep(l, gradient));
}

}  // namespace firstspike
