// dL/ds of a convolution.
#include <algorithm>
#include <vector>

#include "../runtime/parallel.h"
#include "input_gradient.h"

namespace firstspike {

namespace {

// One tile of the cells [from, to) of a line. `events` are those of the sample's sites.
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

}  // namespace

// Lines of cells of a convolution; the lists of the sites above them are kept from line to line.
void convolution_input_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const InputGradientPlan& plan,
                                const TransposedPanel& panel, const InputTarget& output) {
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
                    const int64_t block = plan.sums.places_of(N);
                    for (int64_t x = 0; x < l.cells_x(); x += block)
                        block_of_cells<N>(l, neuron, panel.tile(tile), events, sample, cell_y, x,
                                          std::min(x + block, l.cells_x()), tile, plan.sums.taps_of(N), scratch, output);
                });
        }
    });
}

}  // namespace firstspike
