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

constexpr int64_t kWeightsInL1 = 24576;   // bytes of L1 for their weights
constexpr int64_t kBlockInL2 = 131072;    // bytes of L2 for a block of cells

// `direct` of some sites, by step: rows of the transposed panel, and what to multiply them with.
class Events {
   public:
    // Room for the sites from `first` to `end`; none is listed yet.
    void start(const Layer& l, const OutputGradient& g, int64_t first, int64_t end) {
        const int64_t tiles = Tiles{l.outputs}.number();
        const int64_t count = g.support.offset[end * tiles] - g.support.offset[first * tiles];
        steps_ = l.steps;
        used_ = 0;
        row_.reserve(count + kLanes);
        value_.reserve(count + kLanes);
        begin_.reserve((end - first) * (steps_ + 1));
        until_.reserve(tiles * (steps_ + 1));
    }

    // Lists a site as number i: joins the entries of its tiles, each sorted by step already.
    void list(const Layer& l, const OutputGradient& g, int64_t site, int64_t i) {
        const int64_t tiles = Tiles{l.outputs}.number(), *offset = g.support.offset + site * tiles;
        const uint8_t* step = g.support.step;
        for (int64_t tile = 0; tile < tiles; ++tile) {  // until[t]: the entries of the tile before step t end here
            int64_t* until = until_.data() + tile * (steps_ + 1);
            std::fill_n(until, steps_ + 1, offset[tile]);
            for (int64_t e = offset[tile]; e < offset[tile + 1]; ++e) until[step[e] + 1] = e + 1;
            for (int64_t t = 0; t < steps_; ++t) until[t + 1] = std::max(until[t + 1], until[t]);
        }
        uint32_t* begin = begin_.data() + i * (steps_ + 1);
        for (int64_t t = 0; t < steps_; ++t) {
            begin[t] = used_;
            for (int64_t tile = 0; tile < tiles; ++tile) {
                const int64_t* until = until_.data() + tile * (steps_ + 1);
                copy(g, until[t], until[t + 1], static_cast<uint32_t>(tile * kTile));
            }
        }
        begin[steps_] = used_;
    }

    int64_t count(int64_t i, int64_t t) const { return begin(i)[t + 1] - begin(i)[t]; }
    const uint32_t* rows(int64_t i, int64_t t) const { return row_.data() + begin(i)[t]; }
    const float* values(int64_t i, int64_t t) const { return value_.data() + begin(i)[t]; }

   private:
    const uint32_t* begin(int64_t i) const { return begin_.data() + i * (steps_ + 1); }

    // Vectors are written whole; what is too much comes to lie under the next.
    void copy(const OutputGradient& g, int64_t from, int64_t to, uint32_t first_row) {
        for (int64_t e = from; e < to; e += kLanes) {
            const int64_t at = used_ + (e - from);
            *reinterpret_cast<Words*>(row_.data() + at) = widen_some(g.support.lane + e, to - e) + first_row;
            const Vec gradient = load_some(g.gradient + e, to - e);
            store(value_.data() + at, g.slope ? gradient * load_some(g.slope + e, to - e) : gradient);
        }
        used_ += static_cast<uint32_t>(to - from);
    }

    int64_t steps_ = 0;
    uint32_t used_ = 0;
    Buffer<uint32_t> row_, begin_;
    Buffer<float> value_;
    Buffer<int64_t> until_;
};

// h of a row of cells for one tile, [cell][step][N vectors]; then, step by step from the last, dL/ds.
template <int N>
class Block {
   public:
    Block(int64_t cells, int64_t steps, Buffer<float>& scratch) : steps_(steps) {
        scratch.reserve(cells * steps * kWidth);
        h_ = scratch.data();
        std::fill_n(h_, cells * steps * kWidth, 0.0f);
    }

    static constexpr int64_t kWidth = N * kLanes;

    // Adds what site i of the events sends through G neighbouring taps to as many cells, the first of them `cell`.
    template <int G>
    void add(int64_t cell, const float* weights, int64_t tap_stride, const Events& events, int64_t i) {
        for (int64_t t = 0; t < steps_; ++t) {
            const int64_t count = events.count(i, t);
            if (count == 0) continue;
            float* h = row(cell) + t * kWidth;
            const uint32_t* rows = events.rows(i, t);
            const float* values = events.values(i, t);
            Vec v[G * N];
            for (int n = 0; n < G * N; ++n) v[n] = load(h + n / N * steps_ * kWidth + n % N * kLanes);
            add_rows<G * N>(v, count, [&](Vec (&sum)[G * N], int64_t event) {
                const float* w = weights + static_cast<int64_t>(rows[event]) * kWidth;
                const Vec value = splat(values[event]);
                for (int n = 0; n < G * N; ++n) sum[n] += load(w + n / N * tap_stride + n % N * kLanes) * value;
            });
            for (int n = 0; n < G * N; ++n) store(h + n / N * steps_ * kWidth + n % N * kLanes, v[n]);
        }
    }

    // From h to dL/ds of a cell, [step][N vectors].
    const float* gradient(int64_t cell, const Neuron& neuron) {
        float* h = row(cell);
        Vec sum[N] = {};
        for (int64_t t = steps_ - 1; t >= 0; --t)
            for (int k = 0; k < N; ++k) {
                sum[k] = leak(sum[k], neuron) + load(h + t * kWidth + k * kLanes);
                store(h + t * kWidth + k * kLanes, sum[k]);
            }
        return h;
    }

   private:
    float* row(int64_t cell) const { return h_ + cell * steps_ * kWidth; }

    int64_t steps_;
    float* h_;
};

// Where a cell's gradient [step][N vectors] goes: each unit of the pooling window gets the cell's, at its own support entries or
// at every step.
class AtSupport {
   public:
    AtSupport(const Layer& l, const SupportView& input, float* gradient) : l_(l), input_(input), gradient_(gradient) {}

    template <int N>
    void write(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const float* cell) const {
        const int64_t tiles = Tiles{l_.channels}.number();
        for (int64_t y = cell_y * l_.pool; y < (cell_y + 1) * l_.pool; ++y)
            for (int64_t x = cell_x * l_.pool; x < (cell_x + 1) * l_.pool; ++x) {
                const int64_t group = ((sample * l_.height + y) * l_.width + x) * tiles + tile;
                for (int64_t e = input_.offset[group]; e < input_.offset[group + 1]; ++e)
                    gradient_[e] = cell[input_.step[e] * (N * kLanes) + input_.lane[e]];
            }
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
    void write(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const float* cell) const {
        const int used = Tiles{l_.channels}.used(tile);
        for (int64_t t = 0; t < l_.steps; ++t)
            for (int64_t y = cell_y * l_.pool; y < (cell_y + 1) * l_.pool; ++y)
                for (int64_t x = cell_x * l_.pool; x < (cell_x + 1) * l_.pool; ++x)
                    std::memcpy(gradient_ + ((t * l_.batch + sample) * l_.height * l_.width + y * l_.width + x) * l_.channels +
                                    tile * kTile,
                                cell + t * (N * kLanes), static_cast<size_t>(used) * sizeof(float));
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
    parallel_for(l.batch, s.threads, [&](int64_t n) {
        events[static_cast<size_t>(n)].start(l, g, n, n + 1);
        events[static_cast<size_t>(n)].list(l, g, n, 0);
    });
    const Tiles tiles{l.channels};
    const int64_t blocks = (l.batch + kBlock - 1) / kBlock;
    parallel_for(l.taps() * tiles.number() * blocks, s.threads, [&](int64_t task) {
        const int64_t block = task % blocks, tile = task / blocks % tiles.number(), cell = task / blocks / tiles.number();
        with_vectors(tiles.vectors(tile), [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            Buffer<float> scratch;
            const float* weights = panel.tile(tile) + cell * l.outputs * N * kLanes;
            for (int64_t n = block * kBlock; n < std::min((block + 1) * kBlock, l.batch); ++n) {
                Block<N> h(1, l.steps, scratch);
                h.template add<1>(0, weights, 0, events[static_cast<size_t>(n)], 0);
                output.template write<N>(n, cell / l.cells_x(), cell % l.cells_x(), tile, h.gradient(0, neuron));
            }
        });
    });
}

int64_t ceiling(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

// One tile of the cells [from, to) of a row. `events` are those of the sample's sites.
template <int N, class Output>
void block_of_cells(const Layer& l, const Neuron& neuron, const float* weights, const Events& events, int64_t sample,
                    int64_t cell_y, int64_t from, int64_t to, int64_t tile, Buffer<float>& scratch, const Output& output) {
    constexpr int64_t kMargin = kMostTaps - 1;  // cells of other blocks, or of none, that a run of taps reaches as well
    Block<N> h(to - from + 2 * kMargin, l.steps, scratch);
    const int64_t tap_stride = l.outputs * N * kLanes;
    const int64_t together = std::clamp<int64_t>(kWeightsInL1 / (tap_stride * 4), 1, kMostTaps);
    for (int64_t ky = 0; ky < l.kernel_height; ++ky) {
        const int64_t down = cell_y + l.pad_y - ky, y = down / l.stride_y;
        if (down < 0 || down % l.stride_y != 0 || y >= l.out_height()) continue;
        for (int64_t kx = 0, taps; kx < l.kernel_width; kx += taps) {
            taps = std::min(together, l.kernel_width - kx);
            const float* w = weights + (ky * l.kernel_width + kx) * tap_stride;
            const int64_t shift = l.pad_x - kx;  // site x sends to the cells from x stride_x - shift on
            const int64_t first = std::max<int64_t>(ceiling(from - taps + 1 + shift, l.stride_x), 0);
            with_taps(taps, [&](auto number) {
                for (int64_t x = first; x < l.out_width() && x * l.stride_x - shift < to; ++x)
                    h.template add<decltype(number)::value>(x * l.stride_x - shift - from + kMargin, w, tap_stride, events,
                                                            y * l.out_width() + x);
            });
        }
    }
    for (int64_t cell_x = from; cell_x < to; ++cell_x)
        output.template write<N>(sample, cell_y, cell_x, tile, h.gradient(cell_x - from + kMargin, neuron));
}

// Rows of cells of a convolution; the lists of the sites above them are kept from row to row.
template <class Output>
void convolution(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const Panel& panel, const Output& output) {
    const Layer& l = s.layer;
    const Tiles tiles{l.channels};
    const int64_t rows = l.batch * l.cells_y();
    const int64_t per_task = l.batch >= 2 * s.threads ? l.cells_y() : std::max<int64_t>(1, rows / (4 * s.threads));
    parallel_for((rows + per_task - 1) / per_task, s.threads, [&](int64_t task) {
        Events events;
        Buffer<float> scratch;
        int64_t listed_sample = -1, listed = 0;  // rows of sites of that sample up to here are listed, or not needed
        for (int64_t n = task * per_task; n < std::min((task + 1) * per_task, rows); ++n) {
            const int64_t sample = n / l.cells_y(), cell_y = n % l.cells_y();
            const int64_t lowest = ceiling(std::max<int64_t>(cell_y + l.pad_y - l.kernel_height + 1, 0), l.stride_y);
            if (sample != listed_sample) {
                events.start(l, g, sample * l.sites(), (sample + 1) * l.sites());
                listed_sample = sample;
                listed = lowest;
            }
            for (; listed <= (cell_y + l.pad_y) / l.stride_y && listed < l.out_height(); ++listed)
                for (int64_t i = listed * l.out_width(); i < (listed + 1) * l.out_width(); ++i)
                    events.list(l, g, sample * l.sites() + i, i);
            for (int64_t tile = 0; tile < tiles.number(); ++tile)
                with_vectors(tiles.vectors(tile), [&](auto vectors) {
                    constexpr int N = decltype(vectors)::value;
                    const int64_t block = std::max<int64_t>(8, kBlockInL2 / (l.steps * N * kLanes * 4));
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
