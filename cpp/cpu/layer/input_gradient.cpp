// dL/ds of a layer's input.
//
// h[j, t] = sum_o W[o, j] direct[o, t] and dL/ds[j, t] = h[t] + decay dL/ds[t+1] (docs/model.md, section "Backward pass"); with a
// synaptic current one more such sum follows.
// `direct` lives only at the support entries of the layer, and dL/ds is wanted only at the entries of the layer that made the
// input. So for a block of cells h is summed in a scratch that fits in L2, one tap after another so that a tap's weights stay in
// L1; then each cell walks its h from the last step to the first with one running sum, which is read where the producer has
// entries. Nothing of size steps x neurons outlives its block.
#include <algorithm>
#include <vector>

#include "../runtime/parallel.h"
#include "entries.h"
#include "panels.h"
#include "plan.h"
#include "sums.h"
#include "synapses.h"

namespace firstspike {

namespace {

// The steps that h has: from the first at which there is an entry. Without a leak and a synaptic current dL/ds is the same at all
// steps before.
struct Steps {
    int64_t first, end;

    int64_t number() const { return end - first; }
};

// Adds to h what list i of the events sends through G neighbouring taps to as many cells, the first of them `cell`.
template <int G, int N>
void add_list(StepSums<N>& h, Steps steps, int64_t cell, const float* weights, int64_t tap_stride, const DirectByStep& events,
              int64_t i) {
    for (int64_t t = steps.first; t < steps.end; ++t) {
        const int64_t count = events.count(i, t);
        if (count == 0) continue;
        const uint32_t* rows = events.rows(i, t);
        const float* values = events.values(i, t);
        h.template add<G>(cell, t - steps.first, count, [&](Vec(&sum)[G * N], int64_t event) {
            const float* w = weights + static_cast<int64_t>(rows[event]) * StepSums<N>::kWidth;
            const Vec value = splat(values[event]);
            unrolled<G * N>(FIRSTSPIKE_BODY(n) { sum[n] += load(w + n / N * tap_stride + n % N * kLanes) * value; });
        });
    }
}

// From a cell's h to its dL/ds, [step][N vectors], in place.
template <int N>
const float* gradient(float* h, Steps steps, const Neuron& neuron) {
    Vec sum[N] = {};
    if (neuron.synaptic_decay != 0.0f) {
        Vec at_current[N] = {};
        for (int64_t t = steps.number() - 1; t >= 0; --t)
            unrolled<N>(FIRSTSPIKE_BODY(k) {
                float* at = h + (t * N + k) * kLanes;
                sum[k] = leak(sum[k], neuron) + load(at);
                at_current[k] = fade(at_current[k], neuron) + sum[k];
                store(at, at_current[k]);
            });
        return h;
    }
    for (int64_t t = steps.number() - 1; t >= 0; --t)
        unrolled<N>(FIRSTSPIKE_BODY(k) {
            float* at = h + (t * N + k) * kLanes;
            sum[k] = leak(sum[k], neuron) + load(at);
            store(at, sum[k]);
        });
    return h;
}

// Where a cell's gradient [step][N vectors] goes: each unit of the pool's patch gets the cell's, at its own support entries or
// at every step.
class InputTarget {
 public:
    // gradient: at the entries of `input`, or, without it, [steps, batch, height, width, channels].
    InputTarget(const Layer& l, const SupportView* input, float* gradient) : l_(l), input_(input), gradient_(gradient) {}

    template <int N>
    void write(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const float* cell, Steps steps) const {
        if (input_)
            write_at_support<N>(sample, cell_y, cell_x, tile, cell, steps);
        else
            write_at_every_step<N>(sample, cell_y, cell_x, tile, cell, steps);
    }

 private:
    template <int N>
    void write_at_support(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const float* cell, Steps steps) const {
        const int64_t tiles = Tiles{l_.channels}.number(), first_x = cell_x * l_.pool;
        const int64_t together = tiles == 1 ? l_.pool : 1;  // units whose entries lie one after another
        for (int64_t y = cell_y * l_.pool; y < (cell_y + 1) * l_.pool; ++y)
            for (int64_t x = first_x; x < first_x + l_.pool; x += together) {
                const int64_t group = ((sample * l_.height + y) * l_.width + x) * tiles + tile;
                const int64_t from = input_->offset[group], count = input_->offset[group + together] - from;
                pick<N * kLanes>(gradient_ + from, cell, input_->step + from, input_->lane + from, count,
                                 static_cast<int>(steps.first));
            }
    }

    template <int N>
    void write_at_every_step(int64_t sample, int64_t cell_y, int64_t cell_x, int64_t tile, const float* cell, Steps steps) const {
        const int used = Tiles{l_.channels}.used(tile);
        for (int64_t t = 0; t < l_.steps; ++t)
            for (int64_t y = cell_y * l_.pool; y < (cell_y + 1) * l_.pool; ++y)
                for (int64_t x = cell_x * l_.pool; x < (cell_x + 1) * l_.pool; ++x)
                    std::memcpy(gradient_ + ((t * l_.batch + sample) * l_.height * l_.width + y * l_.width + x) * l_.channels +
                                    tile * kTile,
                                cell + std::max<int64_t>(t - steps.first, 0) * (N * kLanes),
                                static_cast<size_t>(used) * sizeof(float));
    }

    Layer l_;
    const SupportView* input_;
    float* gradient_;
};

// Every tile of every cell of a layer with one site. A block of samples shares a cell's weights, one tile of the outputs
// after the other: they lie in L1 while the block's h, which is read and written once per list and step, lies in L2. With many
// steps a tile has hardly an entry per step, and its reading and writing would cost more than that saves: there the tiles' lists
// are joined.
void linear_input_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const LinearInputPlan& plan,
                           const TransposedPanel& panel, const InputTarget& output) {
    const Layer& l = s.layer;
    const Tiles tiles{l.channels};
    const int64_t sources = Tiles{l.outputs}.number(), joined = plan.join_tiles ? sources : 1, lists = sources / joined;
    const int64_t together = (l.batch + kEntryLists - 1) / kEntryLists;  // samples of a part
    std::vector<DirectByStep> parts(static_cast<size_t>(together == 0 ? 0 : (l.batch + together - 1) / together));
    parallel_for(static_cast<int64_t>(parts.size()), s.threads, [&](int64_t i) {
        DirectByStep& part = parts[static_cast<size_t>(i)];
        const int64_t first = i * together, end = std::min(first + together, l.batch);
        part.start(l, g, first * sources, end * sources);
        for (int64_t list = 0; list < (end - first) * lists; ++list) part.list(g, first * sources + list * joined, joined, list);
    });
    Steps steps{neuron.decay == 1.0f && neuron.synaptic_decay == 0.0f ? l.steps - 1 : 0, l.steps};
    for (int64_t list = 0; list < l.batch * lists && steps.first > 0; ++list) {
        const DirectByStep& part = parts[static_cast<size_t>(list / lists / together)];
        steps.first = std::min(steps.first, part.first_step(list % (together * lists)));
    }
    const int64_t block = plan.samples_at(steps.number());
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
                    add_list<1>(h, steps, n - first, weights + i * kTile * N * kLanes, 0,
                                parts[static_cast<size_t>(n / together)], n % together * lists + i);
            for (int64_t n = first; n < end; ++n)
                output.template write<N>(n, cell / l.cells_x(), cell % l.cells_x(), tile,
                                         gradient<N>(h.at(n - first), steps, neuron), steps);
        });
    });
}

// One tile of the cells [from, to) of a line. `events` belong to the sample's sites.
template <int N>
void block_of_cells(const Layer& l, const Neuron& neuron, const float* weights, const DirectByStep& events, int64_t sample,
                    int64_t cell_y, int64_t from, int64_t to, int64_t tile, int64_t together, Buffer<float>& scratch,
                    const InputTarget& output) {
    constexpr int64_t kMargin = StepSums<N>::kMargin;
    const Steps steps{0, l.steps};
    StepSums<N> h(to - from + 2 * kMargin, steps.number(), scratch);
    const int64_t tap_stride = l.outputs * N * kLanes;
    for (int64_t ky = 0; ky < l.kernel_height; ++ky) {
        const int64_t y = site_over(cell_y, ky, l.stride_y, l.pad_y, l.out_height());
        if (y < 0) continue;
        for (int64_t kx = 0, taps; kx < l.kernel_width; kx += taps) {
            taps = std::min(together, l.kernel_width - kx);
            const float* w = weights + (ky * l.kernel_width + kx) * tap_stride;
            const int64_t shift = l.pad_x - kx;  // site x sends to the cells from x stride_x - shift on
            const int64_t first = first_site_over(from, kx + taps - 1, l.stride_x, l.pad_x);
            with_number<taps_in_registers(N)>(static_cast<int>(taps), [&](auto number) {
                for (int64_t x = first; x < l.out_width() && x * l.stride_x - shift < to; ++x)
                    add_list<decltype(number)::value>(h, steps, x * l.stride_x - shift - from + kMargin, w, tap_stride, events,
                                                      y * l.out_width() + x);
            });
        }
    }
    for (int64_t cell_x = from; cell_x < to; ++cell_x)
        output.template write<N>(sample, cell_y, cell_x, tile, gradient<N>(h.at(cell_x - from + kMargin), steps, neuron), steps);
}

// Lines of cells of a convolution; the lists of the sites above them are kept from line to line.
void convolution_input_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g,
                                const ConvolutionInputPlan& plan, const TransposedPanel& panel, const InputTarget& output) {
    const Layer& l = s.layer;
    const Tiles tiles{l.channels};
    const int64_t lines = l.batch * l.cells_y(), sources = Tiles{l.outputs}.number();
    parallel_for(plan.tasks, s.threads, [&](int64_t task) {
        DirectByStep events;
        Buffer<float> scratch;
        int64_t listed_sample = -1, listed = 0;  // lines of sites of that sample up to here are listed, or not needed
        for (int64_t n = task * plan.lines_per_task; n < std::min((task + 1) * plan.lines_per_task, lines); ++n) {
            const int64_t sample = n / l.cells_y(), cell_y = n % l.cells_y();
            const int64_t lowest = first_site_over(cell_y, l.kernel_height - 1, l.stride_y, l.pad_y);
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
                    const int64_t block = plan.sums.positions_of(N);
                    for (int64_t x = 0; x < l.cells_x(); x += block)
                        block_of_cells<N>(l, neuron, panel.tile(tile), events, sample, cell_y, x,
                                          std::min(x + block, l.cells_x()), tile, plan.sums.taps_of(N), scratch, output);
                });
        }
    });
}

}  // namespace

void input_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const SupportView* input, float* gradient) {
    const Layer& l = s.layer;
    if (l.cropped())
        std::fill_n(
            gradient,
            input ? input->offset[l.batch * l.height * l.width * Tiles{l.channels}.number()] : l.steps * l.batch * l.units(),
            0.0f);
    const InputGradientPlan plan = plan_layer(l, s.threads).input_gradient;
    announce("input_gradient", plan);
    const TransposedPanel panel(l, s.weight, s.threads);
    const InputTarget target(l, input, gradient);
    if (const auto* linear = std::get_if<LinearInputPlan>(&plan))
        linear_input_gradient(s, neuron, g, *linear, panel, target);
    else
        convolution_input_gradient(s, neuron, g, std::get<ConvolutionInputPlan>(plan), panel, target);
}

}  // namespace firstspike
