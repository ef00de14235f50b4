// dL/ds of a layer's input.
//
// h[j, t] = sum_o W[o, j] direct[o, t] and dL/ds[j, t] = h[t] + decay dL/ds[t+1] (DESIGN, section 3). `direct` lives only at the
// support entries of the layer, and dL/ds is wanted only at those of the layer that made the input. So for a block of cells h is
// summed in a scratch that fits in L1, one tap after another so that a tap's weights stay there too; then each cell walks its h
// from the last step to the first with one running row, which is read where the producer has entries. Nothing of size
// steps x neurons outlives its block.
#include <algorithm>
#include <vector>

#include "../runtime/parallel.h"
#include "direct_by_step.h"
#include "packed_transpose.h"
#include "pick.h"
#include "step_sums.h"

namespace firstspike {

namespace {

constexpr int64_t kFewSteps = 16;  // up to here a tile has some entries a step

// The steps that h has: from the first at which there is an entry. Without a leak dL/ds is the same at all steps before.
struct Steps {
    int64_t first, end;

    int64_t number() const { return end - first; }
};

// Adds to h what list i of the events sends through G neighbouring taps to as many cells, the first of them `cell`.
template <int G, int N>
void add_list(StepSums<N>& h, Steps steps, int64_t cell, const float* weights, int64_t tap_stride, const DirectLists& events,
              int64_t i) {
    for (int64_t t = steps.first; t < steps.end; ++t) {
        const int64_t count = events.count(i, t);
        if (count == 0) continue;
        const uint32_t* rows = events.rows(i, t);
        const float* values = events.values(i, t);
        h.template add<G>(cell, t - steps.first, count, [&](Vec(&sum)[G * N], int64_t event) {
            const float* w = weights + static_cast<int64_t>(rows[event]) * StepSums<N>::kWidth;
            const Vec value = splat(values[event]);
            for (int n = 0; n < G * N; ++n) sum[n] += load(w + n / N * tap_stride + n % N * kLanes) * value;
        });
    }
}

// From a cell's h to its dL/ds, [step][N vectors], in place.
template <int N>
const float* gradient(float* h, Steps steps, const Neuron& neuron) {
    Vec sum[N] = {};
    for (int64_t t = steps.number() - 1; t >= 0; --t)
        for (int k = 0; k < N; ++k) {
            float* at = h + (t * N + k) * kLanes;
            sum[k] = leak(sum[k], neuron) + load(at);
            store(at, sum[k]);
        }
    return h;
}

// Where a cell's gradient [step][N vectors] goes: each unit of the pooling window gets the cell's, at its own support entries or
// at every step.
class AtSupport {
 public:
    AtSupport(const Layer& l, const SupportView& input, float* gradient) : l_(l), input_(input), gradient_(gradient) {}

    template <int N>
    void write(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const float* cell, Steps steps) const {
        const int64_t tiles = Tiles{l_.channels}.number(), first_x = cell_x * l_.pool;
        const int64_t together = tiles == 1 ? l_.pool : 1;  // units whose entries lie in a row
        for (int64_t y = cell_y * l_.pool; y < (cell_y + 1) * l_.pool; ++y)
            for (int64_t x = first_x; x < first_x + l_.pool; x += together) {
                const int64_t group = ((sample * l_.height + y) * l_.width + x) * tiles + tile;
                const int64_t from = input_.offset[group], count = input_.offset[group + together] - from;
                pick<N * kLanes>(gradient_ + from, cell, input_.step + from, input_.lane + from, count,
                                 static_cast<int>(steps.first));
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
    void write(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const float* cell, Steps steps) const {
        const int used = Tiles{l_.channels}.used(tile);
        for (int64_t t = 0; t < l_.steps; ++t)
            for (int64_t y = cell_y * l_.pool; y < (cell_y + 1) * l_.pool; ++y)
                for (int64_t x = cell_x * l_.pool; x < (cell_x + 1) * l_.pool; ++x)
                    std::memcpy(gradient_ + ((t * l_.batch + sample) * l_.height * l_.width + y * l_.width + x) * l_.channels +
                                    tile * kTile,
                                cell + std::max<int64_t>(t - steps.first, 0) * (N * kLanes),
                                static_cast<size_t>(used) * sizeof(float));
    }

 private:
    const Layer& l_;
    float* gradient_;
};

// Every tile of every cell of a layer with one site. A block of samples shares a cell's weights, those of one tile of the outputs
// after the other: they lie in L1 while the block's h, which is read and written once a list and step, lies in L2. With many
// steps a tile has hardly an entry a step, and its reading and writing would cost more than that saves: there the tiles' lists
// are joined.
template <class Output>
void single_site(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const TransposedPanel& panel,
                 const Output& output) {
    const Layer& l = s.layer;
    const Tiles tiles{l.channels};
    const int64_t sources = Tiles{l.outputs}.number(), joined = l.steps <= kFewSteps ? 1 : sources, lists = sources / joined;
    std::vector<DirectLists> events(static_cast<size_t>(l.batch));
    parallel_for(l.batch, s.threads, [&](int64_t n) {
        DirectLists& sample = events[static_cast<size_t>(n)];
        sample.start(l, g, n * sources, (n + 1) * sources);
        for (int64_t i = 0; i < lists; ++i) sample.list(g, n * sources + i * joined, joined, i);
    });
    Steps steps{neuron.decay == 1.0f ? l.steps - 1 : 0, l.steps};
    for (const DirectLists& sample : events)
        for (int64_t i = 0; i < lists && steps.first > 0; ++i) steps.first = std::min(steps.first, sample.first_step(i));
    const int64_t block = std::min<int64_t>(StepSums<kTile / kLanes>::block(steps.number()), 64);
    const int64_t blocks = (l.batch + block - 1) / block;
    parallel_for(l.taps() * tiles.number() * blocks, s.threads, [&](int64_t task) {
        const int64_t first = task % blocks * block, end = std::min(first + block, l.batch);
        const int64_t tile = task / blocks % tiles.number(), cell = task / blocks / tiles.number();
        with_vectors(tiles.vectors(tile), [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            Buffer<float> scratch;
            const float* weights = panel.tile(tile) + cell * l.outputs * N * kLanes;
            StepSums<N> h(end - first, steps.number(), scratch);
            for (int64_t i = 0; i < lists; ++i)
                for (int64_t n = first; n < end; ++n)
                    add_list<1>(h, steps, n - first, weights + i * kTile * N * kLanes, 0, events[static_cast<size_t>(n)], i);
            for (int64_t n = first; n < end; ++n)
                output.template write<N>(n, cell / l.cells_x(), cell % l.cells_x(), tile,
                                         gradient<N>(h.at(n - first), steps, neuron), steps);
        });
    });
}

int64_t ceiling(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

// One tile of the cells [from, to) of a row. `events` are those of the sample's sites.
template <int N, class Output>
void block_of_cells(const Layer& l, const Neuron& neuron, const float* weights, const DirectLists& events, int64_t sample,
                    int64_t cell_y, int64_t from, int64_t to, int64_t tile, Buffer<float>& scratch, const Output& output) {
    constexpr int64_t kMargin = StepSums<N>::kMargin;
    const Steps steps{0, l.steps};
    StepSums<N> h(to - from + 2 * kMargin, steps.number(), scratch);
    const int64_t tap_stride = l.outputs * N * kLanes, together = taps_together(tap_stride, kMostTaps);
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
                    add_list<decltype(number)::value>(h, steps, x * l.stride_x - shift - from + kMargin, w, tap_stride, events,
                                                      y * l.out_width() + x);
            });
        }
    }
    for (int64_t cell_x = from; cell_x < to; ++cell_x)
        output.template write<N>(sample, cell_y, cell_x, tile, gradient<N>(h.at(cell_x - from + kMargin), steps, neuron), steps);
}

// Rows of cells of a convolution; the lists of the sites above them are kept from row to row.
template <class Output>
void convolution(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const TransposedPanel& panel,
                 const Output& output) {
    const Layer& l = s.layer;
    const Tiles tiles{l.channels};
    const int64_t rows = l.batch * l.cells_y(), sources = Tiles{l.outputs}.number();
    const int64_t per_task = l.batch >= 2 * s.threads ? l.cells_y() : std::max<int64_t>(1, rows / (4 * s.threads));
    parallel_for((rows + per_task - 1) / per_task, s.threads, [&](int64_t task) {
        DirectLists events;
        Buffer<float> scratch;
        int64_t listed_sample = -1, listed = 0;  // rows of sites of that sample up to here are listed, or not needed
        for (int64_t n = task * per_task; n < std::min((task + 1) * per_task, rows); ++n) {
            const int64_t sample = n / l.cells_y(), cell_y = n % l.cells_y();
            const int64_t lowest = ceiling(std::max<int64_t>(cell_y + l.pad_y - l.kernel_height + 1, 0), l.stride_y);
            if (sample != listed_sample) {
                events.start(l, g, sample * l.sites() * sources, (sample + 1) * l.sites() * sources);
                listed_sample = sample;
                listed = lowest;
            }
            for (; listed <= (cell_y + l.pad_y) / l.stride_y && listed < l.out_height(); ++listed)
                for (int64_t i = listed * l.out_width(); i < (listed + 1) * l.out_width(); ++i)
                    events.list(g, (sample * l.sites() + i) * sources, sources, i);
            for (int64_t tile = 0; tile < tiles.number(); ++tile)
                with_vectors(tiles.vectors(tile), [&](auto vectors) {
                    constexpr int N = decltype(vectors)::value;
                    const int64_t block = StepSums<N>::block(l.steps);
                    for (int64_t x = 0; x < l.cells_x(); x += block)
                        block_of_cells<N>(l, neuron, panel.tile(tile), events, sample, cell_y, x,
                                          std::min(x + block, l.cells_x()), tile, scratch, output);
                });
        }
    });
}

template <class Output>
void input_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const Output& output) {
    const TransposedPanel panel(s.layer, s.weight, s.threads);
    if (s.layer.single_site())
        single_site(s, neuron, g, panel, output);
    else
        convolution(s, neuron, g, panel, output);
}

// Units outside the last whole pooling window reach nothing.
bool cropped(const Layer& l) { return l.height % l.pool != 0 || l.width % l.pool != 0; }

}  // namespace

void input_gradient_at(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const SupportView& input,
                       float* gradient) {
    const Layer& l = s.layer;
    if (cropped(l)) std::fill_n(gradient, input.offset[l.batch * l.height * l.width * Tiles{l.channels}.number()], 0.0f);
    input_gradient(s, neuron, g, AtSupport(l, input, gradient));
}

void input_gradient_dense(const Synapses& s, const Neuron& neuron, const OutputGradient& g, float* gradient) {
    const Layer& l = s.layer;
    if (cropped(l)) std::fill_n(gradient, l.steps * l.batch * l.units(), 0.0f);
    input_gradient(s, neuron, g, AtEveryStep(l, gradient));
}

}  // namespace firstspike
