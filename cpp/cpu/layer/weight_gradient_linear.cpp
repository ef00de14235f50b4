// dL/dW and dL/dbias of a layer with one site.
#include <algorithm>
#include <vector>

#include "../runtime/parallel.h"
#include "current_gradient.h"
#include "weight_gradient.h"

namespace firstspike {

namespace {

// A layer with one site: its weight rows in blocks of a few channels with all their taps, so that the sums of a block and a tile
// stay in L2. Rows of a block are numbered tap by tap; the last block may have rows of channels that there are not.
struct RowBlocks {
    int64_t taps, all, channels;  // of a block

    RowBlocks(const Layer& l, const WeightGradientPlan& plan)
        : taps(l.taps()), all(l.channels), channels(plan.channels_per_block) {}
    int64_t number() const { return (all + channels - 1) / channels; }
    int64_t rows() const { return channels * taps; }
    int64_t first_channel(int64_t block) const { return block * channels; }
    int64_t end_channel(int64_t block) const { return std::min((block + 1) * channels, all); }
};

// The spikes of a line of a layer with one site, a list for each row of each block: made once for all tiles.
struct RowSpikes {
    SpikesByChannel spikes;
    // Each block's rows by the length of their list: a loop whose length seldom changes is well predicted.
    std::vector<std::vector<uint32_t>> order;
};

std::vector<RowSpikes> list_lines(const Synapses& s, const SiteLines& samples, const RowBlocks& blocks) {
    const Layer& l = s.layer;
    const int64_t most = samples.count(0) * l.pool * l.pool, lists = blocks.number() * blocks.rows();
    std::vector<uint32_t> first_list;  // of each channel: the list of its first tap
    for (int64_t c = 0; c < l.channels; ++c)
        first_list.push_back(static_cast<uint32_t>(c / blocks.channels * blocks.rows() + c % blocks.channels));
    std::vector<RowSpikes> lines;
    for (int64_t n = 0; n < samples.number(); ++n) lines.push_back({SpikesByChannel(l.steps, lists, most + 1), {}});
    parallel_for(samples.number(), s.threads, [&](int64_t n) {
        auto& [spikes, order] = lines[static_cast<size_t>(n)];
        spikes.clear(lists);
        for (int64_t i = 0; i < samples.count(n); ++i) {
            const uint8_t* sample = s.times + (samples.first(n) + i) * l.units();
            for (int64_t y = 0; y < l.cells_y() * l.pool; ++y)
                for (int64_t x = 0; x < l.cells_x() * l.pool; ++x) {
                    const uint32_t* list = first_list.data();
                    const int64_t tap = y / l.pool * l.cells_x() + x / l.pool, shift = tap * blocks.channels;
                    spikes.add(sample + (y * l.width + x) * l.channels, l.channels, i,
                               [=](int64_t c) { return list[c] + shift; });
                }
        }
        for (int64_t block = 0; block < blocks.number(); ++block)
            order.push_back(spikes.by_length(block * blocks.rows(), (block + 1) * blocks.rows()));
    });
    return lines;
}

// A layer with one site: a block of weight rows of one tile, over the whole batch. sum is [rows of a block, N vectors].
template <int N>
void sum_block(const Layer& l, const RowBlocks& blocks, int64_t block, const std::vector<RowSpikes>& lines,
               const std::vector<CurrentGradient>& delta, float* sum) {
    std::fill_n(sum, blocks.rows() * N * kLanes, 0.0f);
    for (size_t n = 0; n < lines.size(); ++n) {
        const auto& [spikes, order] = lines[n];
        for (const int64_t list : order[static_cast<size_t>(block)])
            gather<N, 1>(sum + (list - block * blocks.rows()) * N * kLanes, 0, delta[n].values(), delta[n].table(0), l.steps,
                         spikes.begin(list), spikes.count(list));
    }
}

}  // namespace

void linear_weight_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const WeightGradientPlan& plan,
                            const WeightView& shape, float* weight_gradient, float* bias_gradient) {
    const Layer& l = s.layer;
    const Tiles tiles{l.outputs};
    const RowBlocks blocks(l, plan);
    const SiteLines samples(l, plan);
    const std::vector<RowSpikes> lines = list_lines(s, samples, blocks);
    // Parts of a tile's blocks: no sum depends on how many they are, and each finds the tile's whole bias gradient.
    const int64_t parts = plan.parts;
    Buffer<double> bias_sum(parts * tiles.padded());
    std::fill_n(bias_sum.data(), parts * tiles.padded(), 0.0);
    parallel_for(plan.tasks, s.threads, [&](int64_t task) {
        const int64_t tile = task / parts, part = task % parts;
        double* bias = bias_sum.data() + part * tiles.padded() + tile * kTile;
        with_vectors(tiles.vectors(tile), [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            std::vector<CurrentGradient> delta;
            for (size_t n = 0; n < lines.size(); ++n)
                delta.emplace_back(l, neuron, samples).template build<N>(static_cast<int64_t>(n), tile, g, bias);
            Buffer<float> sum(blocks.rows() * N * kLanes);
            for (int64_t block = blocks.number() * part / parts; block < blocks.number() * (part + 1) / parts; ++block) {
                sum_block<N>(l, blocks, block, lines, delta, sum.data());
                write_weight_gradient(l, shape, tile, blocks.first_channel(block), blocks.end_channel(block), sum.data(),
                                      blocks.channels, weight_gradient);
            }
        });
    });
    write_bias_gradient(l, bias_sum, 1, bias_gradient);
}

}  // namespace firstspike
