// dL/dW and dL/dbias of a convolution.
//
// A line of sites shares its D, of few steps as a dense table; for each weight row in turn its spikes along the line are summed
// in registers. The sums over all lines are made in parts, each over neighbouring lines in their order, and the parts added in
// theirs.
#include <algorithm>
#include <vector>

#include "../runtime/parallel.h"
#include "current_gradient.h"
#include "weight_gradient.h"

namespace firstspike {

namespace {

// The weight rows of some kernel rows and channels.
struct Slice {
    int64_t first_ky, end_ky, first_channel, end_channel;

    Slice(const Layer& l, const WeightGradientPlan& plan, int64_t number) {
        const int64_t blocks = (l.channels + plan.channels_per_block - 1) / plan.channels_per_block;
        first_ky = number / blocks * plan.kernel_rows;
        end_ky = std::min(first_ky + plan.kernel_rows, l.kernel_height);
        first_channel = number % blocks * plan.channels_per_block;
        end_channel = std::min(first_channel + plan.channels_per_block, l.channels);
    }
    int64_t channels() const { return end_channel - first_channel; }
};

// The rows of a slice of one tile, over the lines [from, to). sum is [rows, width].
void sum_lines(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const SiteLines& site_lines, int64_t tile,
               const Slice& slice, int64_t from, int64_t to, float* sum, double* bias_sum) {
    const Layer& l = s.layer;
    const int width = Tiles{l.outputs}.vectors(tile) * kLanes;
    CurrentGradient delta(l, neuron, site_lines);
    const bool together = delta.dense() && counts_together(l);
    const int64_t most = l.cells_x() * l.pool * l.pool + 1;
    std::vector<SpikesByChannel> cell_lines;  // those under the kernel, kept from line to line
    for (int64_t i = 0; i < l.kernel_height; ++i) cell_lines.emplace_back(l.steps, slice.channels(), most, together);
    std::vector<int64_t> held(static_cast<size_t>(l.kernel_height), -1);
    for (int64_t tap = slice.first_ky * l.kernel_width; tap < slice.end_ky * l.kernel_width; ++tap)
        std::fill_n(sum + (tap * l.channels + slice.first_channel) * width, slice.channels() * width, 0.0f);
    for (int64_t n = from; n < to; ++n) {
        const int64_t sample = n / l.out_height(), top = l.top(n % l.out_height());
        with_vectors(width / kLanes, [&](auto vectors) { delta.build<decltype(vectors)::value>(n, tile, g, bias_sum); });
        for (int64_t ky = slice.first_ky; ky < slice.end_ky; ++ky) {
            const int64_t cell_y = top + ky;
            if (cell_y < 0 || cell_y >= l.cells_y()) continue;
            const auto slot = static_cast<size_t>(cell_y % l.kernel_height);
            SpikesByChannel& spikes = cell_lines[slot];
            if (held[slot] != sample * l.cells_y() + cell_y) {
                held[slot] = sample * l.cells_y() + cell_y;
                spikes.clear(slice.channels());
                const uint8_t* const line = s.times + (sample * l.height + cell_y * l.pool) * l.width * l.channels;
                if (together)
                    for (int64_t x = 0; x < l.cells_x(); ++x)
                        spikes.add_cell(line + 2 * x * l.channels + slice.first_channel, l.channels, l.width * l.channels,
                                        slice.channels(), x);
                else
                    for (int64_t y = 0; y < l.pool; ++y)
                        for (int64_t x = 0; x < l.cells_x() * l.pool; ++x)
                            spikes.add(line + (y * l.width + x) * l.channels + slice.first_channel, slice.channels(), x / l.pool,
                                       [](int64_t c) { return c; });
            }
            with_vectors(width / kLanes, [&](auto vectors) {
                constexpr int N = decltype(vectors)::value;
                for (int64_t kx = 0, taps; kx < l.kernel_width; kx += taps) {
                    taps = std::min<int64_t>(taps_in_registers(N), l.kernel_width - kx);
                    with_number<taps_in_registers(N)>(static_cast<int>(taps), [&](auto number) {
                        float* const at = sum + ((ky * l.kernel_width + kx) * l.channels + slice.first_channel) * width;
                        const auto add = [&](auto dense, auto counted) {
                            for (int64_t c = 0; c < slice.channels(); ++c)
                                gather<N, decltype(number)::value, decltype(dense)::value, decltype(counted)::value>(
                                    at + c * width, l.channels * width, delta.values(kx), delta.table(kx), l.steps,
                                    spikes.begin(c), spikes.count(c), spikes.together(c));
                        };
                        if (together)
                            add(std::true_type{}, std::true_type{});
                        else if (delta.dense())
                            add(std::true_type{}, std::false_type{});
                        else
                            add(std::false_type{}, std::false_type{});
                    });
                }
            });
        }
    }
}

}  // namespace

void convolution_weight_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const WeightGradientPlan& plan,
                                 const WeightView& shape, float* weight_gradient, float* bias_gradient) {
    const Layer& l = s.layer;
    const Tiles tiles{l.outputs};
    const int64_t padded = tiles.padded(), lines = l.batch * l.out_height();
    const int64_t parts = plan.parts;
    const SiteLines site_lines(l, plan);
    Buffer<double> bias_sum(parts * padded);
    std::fill_n(bias_sum.data(), parts * padded, 0.0);
    Buffer<float> sums(l.rows() * padded * parts);
    const auto sum_of = [&](int64_t tile, int64_t part) { return sums.data() + (part * padded + tile * kTile) * l.rows(); };
    parallel_for(plan.tasks, s.threads, [&](int64_t task) {
        const int64_t tile = task % tiles.number(), part = task / tiles.number() % parts, slice = task / tiles.number() / parts;
        double found_again[kTile] = {};  // each slice finds the part's whole gradient of the bias
        double* const bias = slice == 0 ? bias_sum.data() + part * padded + tile * kTile : found_again;
        sum_lines(s, neuron, g, site_lines, tile, Slice(l, plan, slice), lines * part / parts, lines * (part + 1) / parts,
                  sum_of(tile, part), bias);
    });
    parallel_for(tiles.number(), s.threads, [&](int64_t tile) {
        float* total = sum_of(tile, 0);
        for (int64_t part = 1; part < parts; ++part) {
            const float* more = sum_of(tile, part);
            for (int64_t i = 0; i < l.rows() * tiles.vectors(tile) * kLanes; ++i) total[i] += more[i];
        }
        write_weight_gradient(l, shape, tile, 0, l.channels, total, l.channels, weight_gradient);
    });
    write_bias_gradient(l, bias_sum, parts, bias_gradient);
}

}  // namespace firstspike
