// dL/ds of a layer's input.
//
// h[j, t] = sum_o W[o, j] direct[o, t] and dL/ds[j, t] = h[t] + decay dL/ds[t+1] (DESIGN, section 3). `direct` lives only at the
// support entries of the layer, and dL/ds is wanted only at those of the layer that made the input. So for a block of cells h is
// summed in a scratch that fits in L1, one tap after another so that a tap's weights stay there too; then each cell walks its h
// from the last step to the first with one running row, which is read where the producer has entries. Nothing of size
// steps x neurons outlives its block.
#include <algorithm>
#include <vector>

#include "kernels.h"
#include "parallel.h"
#include "tile_loops.h"

namespace firstspike {

namespace {

// `direct` of a site, by step: rows of the transposed panel, and what to multiply them with.
class Events {
   public:
    // Joins the entries of the site's tiles, each sorted by step already.
    void list(const Layer& l, const OutputGradient& g, int64_t site) {
        const int64_t tiles = Tiles{l.outputs}.number(), *offset = g.support.offset + site * tiles;
        const int64_t count = offset[tiles] - offset[0];
        row_.reserve(count);
        value_.reserve(count);
        begin_.reserve(l.steps + 1);
        next_.assign(offset, offset + tiles);
        uint32_t n = 0;
        for (int64_t t = 0; t < l.steps; ++t) {
            begin_[t] = n;
            for (int64_t tile = 0; tile < tiles; ++tile) {
                int64_t e = next_[static_cast<size_t>(tile)];
                for (; e < offset[tile + 1] && g.support.step[e] == t; ++e, ++n) {
                    row_[n] = static_cast<uint32_t>(tile * kTile + g.support.lane[e]);
                    value_[n] = g.slope ? g.gradient[e] * g.slope[e] : g.gradient[e];
                }
                next_[static_cast<size_t>(tile)] = e;
            }
        }
        begin_[l.steps] = n;
    }

    int64_t count(int64_t t) const { return begin_[t + 1] - begin_[t]; }
    const uint32_t* rows(int64_t t) const { return row_.data() + begin_[t]; }
    const float* values(int64_t t) const { return value_.data() + begin_[t]; }

   private:
    Buffer<uint32_t> row_, begin_;
    Buffer<float> value_;
    std::vector<int64_t> next_;  // entry of each tile
};

// h of a block of cells for one tile, [cell][step][N vectors].
template <int N>
class Block {
   public:
    Block(int64_t cells, int64_t steps, Buffer<float>& scratch) : steps_(steps), h_(scratch.data()) {
        std::fill_n(h_, cells * steps * N * kLanes, 0.0f);
    }

    static int64_t size(int64_t cells, int64_t steps) { return cells * steps * N * kLanes; }
    // As many cells as L1 holds beside the weights of a tap.
    static int64_t cells(int64_t steps) { return std::max<int64_t>(1, 6144 / (steps * N * kLanes)); }

    // Adds what a site sends to a cell through the weights of one tap.
    void add(int64_t cell, const float* weights, const Events& events) {
        float* h = h_ + cell * steps_ * N * kLanes;
        for (int64_t t = 0; t < steps_; ++t, h += N * kLanes) {
            if (events.count(t) == 0) continue;
            Vec v[N];
            for (int k = 0; k < N; ++k) v[k] = load(h + k * kLanes);
            add_scaled_rows<N>(v, weights, events.rows(t), events.values(t), events.count(t));
            for (int k = 0; k < N; ++k) store(h + k * kLanes, v[k]);
        }
    }

    // Calls at_step(sum, t) for the steps downwards, sum = dL/ds of the cell at step t.
    template <class AtStep>
    void walk_back(int64_t cell, const Neuron& neuron, AtStep&& at_step) const {
        const float* h = h_ + cell * steps_ * N * kLanes;
        Vec sum[N] = {};
        for (int64_t t = steps_ - 1; t >= 0; --t) {
            for (int k = 0; k < N; ++k) sum[k] = leak(sum[k], neuron) + load(h + (t * N + k) * kLanes);
            at_step(sum, t);
        }
    }

   private:
    int64_t steps_;
    float* h_;
};

// Where a cell's gradient goes: each unit of the pooling window gets the cell's, at its own support entries or at every step.
class AtSupport {
   public:
    AtSupport(const Layer& l, const SupportView& input, float* gradient) : l_(l), input_(input), gradient_(gradient) {}

    template <int N>
    void write(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const Block<N>& block, int64_t cell,
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
        block.walk_back(cell, neuron, [&](const Vec (&sum)[N], int64_t t) {
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
    void write(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const Block<N>& block, int64_t cell,
               const Neuron& neuron) const {
        const int used = Tiles{l_.channels}.used(tile);
        block.walk_back(cell, neuron, [&](const Vec (&sum)[N], int64_t t) {
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
    parallel_for(l.batch, s.threads, [&](int64_t n) { events[static_cast<size_t>(n)].list(l, g, n); });
    const Tiles tiles{l.channels};
    const int64_t blocks = (l.batch + kBlock - 1) / kBlock;
    parallel_for(l.taps() * tiles.number() * blocks, s.threads, [&](int64_t task) {
        const int64_t block = task % blocks, tile = task / blocks % tiles.number(), cell = task / blocks / tiles.number();
        with_vectors(tiles.vectors(tile), [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            Buffer<float> scratch(Block<N>::size(1, l.steps));
            const float* weights = panel.tile(tile) + cell * l.outputs * N * kLanes;
            for (int64_t n = block * kBlock; n < std::min((block + 1) * kBlock, l.batch); ++n) {
                Block<N> h(1, l.steps, scratch);
                h.add(0, weights, events[static_cast<size_t>(n)]);
                output.template write<N>(n, cell / l.cells_x(), cell % l.cells_x(), tile, h, 0, neuron);
            }
        });
    });
}

// One tile of the cells [from, to) of a row. `events` are those of the sample's sites.
template <int N, class Output>
void block_of_cells(const Layer& l, const Neuron& neuron, const float* weights, const std::vector<Events>& events, int64_t sample,
                    int64_t cell_y, int64_t from, int64_t to, int64_t tile, Buffer<float>& scratch, const Output& output) {
    Block<N> h(to - from, l.steps, scratch);
    for (int64_t tap = 0; tap < l.taps(); ++tap) {
        const int64_t down = cell_y + l.pad_y - tap / l.kernel_width, y = down / l.stride_y;
        if (down < 0 || down % l.stride_y != 0 || y >= l.out_height()) continue;
        for (int64_t cell_x = from; cell_x < to; ++cell_x) {
            const int64_t right = cell_x + l.pad_x - tap % l.kernel_width, x = right / l.stride_x;
            if (right < 0 || right % l.stride_x != 0 || x >= l.out_width()) continue;
            h.add(cell_x - from, weights + tap * l.outputs * N * kLanes, events[static_cast<size_t>(y * l.out_width() + x)]);
        }
    }
    for (int64_t cell_x = from; cell_x < to; ++cell_x)
        output.template write<N>(sample, cell_y, cell_x, tile, h, cell_x - from, neuron);
}

// Rows of cells of a convolution; the lists of the sites above them are kept from row to row.
template <class Output>
void convolution(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const Panel& panel, const Output& output) {
    const Layer& l = s.layer;
    const Tiles tiles{l.channels};
    const int64_t rows = l.batch * l.cells_y();
    const int64_t per_task = l.batch >= 2 * s.threads ? l.cells_y() : std::max<int64_t>(1, rows / (4 * s.threads));
    parallel_for((rows + per_task - 1) / per_task, s.threads, [&](int64_t task) {
        std::vector<Events> events(static_cast<size_t>(l.sites()));
        std::vector<int64_t> sample_of_row(static_cast<size_t>(l.out_height()), -1);
        Buffer<float> scratch;
        for (int64_t n = task * per_task; n < std::min((task + 1) * per_task, rows); ++n) {
            const int64_t sample = n / l.cells_y(), cell_y = n % l.cells_y();
            const int64_t lowest = (std::max<int64_t>(cell_y + l.pad_y - l.kernel_height + 1, 0) + l.stride_y - 1) / l.stride_y;
            for (int64_t y = lowest; y <= (cell_y + l.pad_y) / l.stride_y && y < l.out_height(); ++y) {
                if (sample_of_row[static_cast<size_t>(y)] == sample) continue;
                sample_of_row[static_cast<size_t>(y)] = sample;
                for (int64_t i = y * l.out_width(); i < (y + 1) * l.out_width(); ++i)
                    events[static_cast<size_t>(i)].list(l, g, sample * l.sites() + i);
            }
            for (int64_t tile = 0; tile < tiles.number(); ++tile)
                with_vectors(tiles.vectors(tile), [&](auto vectors) {
                    constexpr int N = decltype(vectors)::value;
                    const int64_t block = std::min(Block<N>::cells(l.steps), l.cells_x());
                    scratch.reserve(Block<N>::size(block, l.steps));
                    for (int64_t x = 0; x < l.cells_x(); x += block)
                        block_of_cells<N>(l, neuron, panel.tile(tile), events, sample, cell_y, x, std::min(x + block, l.cells_x()),
                                          tile, scratch, output);
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
