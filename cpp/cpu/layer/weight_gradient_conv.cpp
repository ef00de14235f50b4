// dL/dW and dL/dbias of a layer.
//
// dW[o, j] = sum over samples and sites of D[o, time of j], where D[o, t] is the gradient that a current of step t receives: it
// changes only at the steps of the support entries. So a site's D is a few rows of a tile's width and a table step -> row, and a
// weight row's gradient is the sum of the rows that its input spikes point at: one add a spike, whatever the number of steps.
//
// A line of sites shares its D rows; for each weight row in turn its spikes along the line are summed in registers.
#include <algorithm>
#include <utility>

#include "../runtime/parallel.h"
#include "../simd/bytes.h"
#include "current_gradient.h"
#include "step_sums.h"
#include "weight_gradient.h"

namespace firstspike {

namespace {

// The spikes of each channel of a row of cells, as cell * steps + step; for a layer with one site, those of each weight row, as
// sample * steps + step.
class ChannelSpikes {
 public:
    ChannelSpikes(const Synapses& s, int64_t lists, int64_t most) : s_(s), most_(most), codes_(lists * most), count_(lists) {}

    void clear(int64_t lists) { std::fill_n(count_.data(), lists, 0u); }

    // Adds the units of one pixel: channel c goes to the list list_of(c).
    template <class ListOf>
    void add(const uint8_t* times, int64_t position, ListOf&& list_of) {
        const auto steps = static_cast<uint32_t>(s_.layer.steps);
        const uint32_t code = static_cast<uint32_t>(position) * steps;
        each_below(times, s_.layer.channels, static_cast<int>(steps), [&](int64_t c) {
            const int64_t list = list_of(c);
            codes_[list * most_ + count_[list]++] = code + times[c];
        });
    }

    // Of the lists [from, to) those that are not empty, the shortest first; of equal ones the first in order.
    std::vector<uint32_t> by_length(int64_t from, int64_t to) const {
        std::vector<uint32_t> place(static_cast<size_t>(most_) + 1), order;
        for (int64_t i = from; i < to; ++i) ++place[count_[i]];
        uint32_t before = 0;
        for (size_t length = 1; length < place.size(); ++length) before += std::exchange(place[length], before);
        order.resize(before);
        for (int64_t i = from; i < to; ++i)
            if (count_[i] > 0) order[place[count_[i]]++] = static_cast<uint32_t>(i);
        return order;
    }

    const uint32_t* begin(int64_t list) const { return codes_.data() + list * most_; }
    int64_t count(int64_t list) const { return count_[list]; }

 private:
    const Synapses& s_;
    int64_t most_;
    Buffer<uint32_t> codes_, count_;
};

// Adds the D rows that the spikes point at, for G neighbouring taps at once: the sums of tap g lie at sum + g * tap_stride, and
// its table is the one before tap g - 1's by a position.
template <int N, int G>
inline void gather(float* sum, int64_t tap_stride, const float* rows, const uint32_t* table, int64_t steps, const uint32_t* spike,
                   int64_t count) {
    if (count == 0) return;
    Vec v[G * N];
    for (int n = 0; n < G * N; ++n) v[n] = load(sum + n / N * tap_stride + n % N * kLanes);
    add_rows<G * N>(v, count, [&](Vec(&to)[G * N], int64_t i) {
        for (int g = 0; g < G; ++g) {
            const float* row = rows + table[static_cast<int64_t>(spike[i]) - g * steps];
            for (int k = 0; k < N; ++k) to[g * N + k] += load(row + k * kLanes);
        }
    });
    for (int n = 0; n < G * N; ++n) store(sum + n / N * tap_stride + n % N * kLanes, v[n]);
}

// A layer with one site: its weight rows in blocks of a few channels with all their taps, so that the sums of a block and a tile
// stay in L2. Rows of a block are numbered tap by tap; the last block may have rows of channels that there are not.
struct RowBlocks {
    static constexpr int64_t kRows = 128;  // about so many a block

    int64_t taps, all, channels;  // of a block

    explicit RowBlocks(const Layer& l)  // at least a vector of channels, however many taps there are
        : taps(l.taps()), all(l.channels), channels(std::min(all, (kRows / taps + kLanes) / kLanes * kLanes)) {}
    int64_t number() const { return (all + channels - 1) / channels; }
    int64_t rows() const { return channels * taps; }
    int64_t first_channel(int64_t block) const { return block * channels; }
    int64_t end_channel(int64_t block) const { return std::min((block + 1) * channels, all); }
};

// The spikes of a line of a layer with one site, a list for each row of each block: made once for all tiles.
struct RowSpikes {
    ChannelSpikes spikes;
    // Each block's rows by the length of their list: a loop whose length seldom changes is foreseen by the processor.
    std::vector<std::vector<uint32_t>> order;
};

std::vector<RowSpikes> list_lines(const Synapses& s, const RowBlocks& blocks) {
    const Layer& l = s.layer;
    const int64_t most = EventLines::sites(l, 0) * l.pool * l.pool, lists = blocks.number() * blocks.rows();
    std::vector<uint32_t> first_list;  // of each channel: that of its first tap
    for (int64_t c = 0; c < l.channels; ++c)
        first_list.push_back(static_cast<uint32_t>(c / blocks.channels * blocks.rows() + c % blocks.channels));
    std::vector<RowSpikes> lines;
    for (int64_t n = 0; n < EventLines::lines(l); ++n) lines.push_back({ChannelSpikes(s, lists, most + 1), {}});
    parallel_for(EventLines::lines(l), s.threads, [&](int64_t n) {
        auto& [spikes, order] = lines[static_cast<size_t>(n)];
        spikes.clear(lists);
        for (int64_t i = 0; i < EventLines::sites(l, n); ++i) {
            const uint8_t* sample = s.times + (EventLines::first_site(l, n) + i) * l.units();
            for (int64_t y = 0; y < l.cells_y() * l.pool; ++y)
                for (int64_t x = 0; x < l.cells_x() * l.pool; ++x) {
                    const uint32_t* list = first_list.data();
                    const int64_t tap = y / l.pool * l.cells_x() + x / l.pool, shift = tap * blocks.channels;
                    spikes.add(sample + (y * l.width + x) * l.channels, i, [=](int64_t c) { return list[c] + shift; });
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
               const std::vector<DeltaRows>& delta, float* sum) {
    std::fill_n(sum, blocks.rows() * N * kLanes, 0.0f);
    for (size_t n = 0; n < lines.size(); ++n) {
        const auto& [spikes, order] = lines[n];
        for (const int64_t list : order[static_cast<size_t>(block)])
            gather<N, 1>(sum + (list - block * blocks.rows()) * N * kLanes, 0, delta[n].rows(), delta[n].table(0), l.steps,
                         spikes.begin(list), spikes.count(list));
    }
}

// A convolution: all rows of one tile, over the lines [from, to). sum is [rows, width].
void sum_lines(const Synapses& s, const Neuron& neuron, const OutputGradient& g, int64_t tile, int64_t from, int64_t to,
               float* sum, double* bias_sum) {
    const Layer& l = s.layer;
    const int width = Tiles{l.outputs}.vectors(tile) * kLanes;
    DeltaRows delta(l, neuron);
    const int64_t most = l.cells_x() * l.pool * l.pool + 1;
    std::vector<ChannelSpikes> cell_rows;  // those under the kernel, kept from line to line
    for (int64_t i = 0; i < l.kernel_height; ++i) cell_rows.emplace_back(s, l.channels, most);
    std::vector<int64_t> held(static_cast<size_t>(l.kernel_height), -1);
    for (int64_t n = from; n < to; ++n) {
        const int64_t sample = n / l.out_height(), top = n % l.out_height() * l.stride_y - l.pad_y;
        with_vectors(width / kLanes, [&](auto vectors) { delta.build<decltype(vectors)::value>(n, tile, g, bias_sum); });
        for (int64_t ky = 0; ky < l.kernel_height; ++ky) {
            const int64_t cell_y = top + ky;
            if (cell_y < 0 || cell_y >= l.cells_y()) continue;
            const auto slot = static_cast<size_t>(cell_y % l.kernel_height);
            ChannelSpikes& spikes = cell_rows[slot];
            if (held[slot] != sample * l.cells_y() + cell_y) {
                held[slot] = sample * l.cells_y() + cell_y;
                spikes.clear(l.channels);
                for (int64_t y = cell_y * l.pool; y < (cell_y + 1) * l.pool; ++y)
                    for (int64_t x = 0; x < l.cells_x() * l.pool; ++x)
                        spikes.add(s.times + ((sample * l.height + y) * l.width + x) * l.channels, x / l.pool,
                                   [](int64_t c) { return c; });
            }
            with_vectors(width / kLanes, [&](auto vectors) {
                constexpr int N = decltype(vectors)::value;
                for (int64_t kx = 0, taps; kx < l.kernel_width; kx += taps) {
                    taps = std::min<int64_t>(kMostTaps, l.kernel_width - kx);
                    with_taps(taps, [&](auto number) {
                        for (int64_t c = 0; c < l.channels; ++c)
                            gather<N, decltype(number)::value>(sum + ((ky * l.kernel_width + kx) * l.channels + c) * width,
                                                               l.channels * width, delta.rows(), delta.table(kx), l.steps,
                                                               spikes.begin(c), spikes.count(c));
                    });
                }
            });
        }
    }
}

constexpr int64_t kAhead = 64;  // values of an output's gradient that are fetched before they are written

// Writes the sums of the channels [first, end) of a tile, of which `sum` has so many a tap, into the weight's gradient.
void unpack(const Layer& l, const WeightView& shape, int64_t tile, int64_t first, int64_t end, const float* sum, int64_t channels,
            float* gradient) {
    const Tiles tiles{l.outputs};
    const int width = tiles.vectors(tile) * kLanes;
    const float scale = l.unit_share();
    gradient += tile * kTile * shape.stride_output + first * shape.stride_channel;
    // Turns squares in registers: `row`, and those after it by `stride`, to values in a row from `out` on.
    const auto turn = [&](int64_t row, int64_t stride, float* out) {
        for (int lane = 0; lane < width; lane += kLanes) {
            Vec square[kLanes];
            for (int k = 0; k < kLanes; ++k) square[k] = load(sum + (row + k * stride) * width + lane) * scale;
            transpose(square);
            for (int k = 0; k < kLanes && lane + k < tiles.used(tile); ++k) {
                float* row = out + (lane + k) * shape.stride_output;
                __builtin_prefetch(row + kAhead, 1, 2);
                store(row, square[k]);
            }
        }
    };
    const int64_t taps = l.taps();
    int64_t turned = 0;  // channels that are written already
    if (taps == 1 && shape.stride_channel == 1) {
        for (; turned + kLanes <= end - first; turned += kLanes) turn(turned, 1, gradient + turned);
    } else if (shape.stride_x == 1 && shape.stride_y == l.kernel_width && taps >= kLanes) {
        for (; turned < end - first; ++turned)
            for (int64_t t = 0; t < taps; t += kLanes) {
                const int64_t tap = std::min(t, taps - kLanes);  // the last square may cover some taps again
                turn(tap * channels + turned, channels, gradient + turned * shape.stride_channel + tap);
            }
    }
    for (int64_t tap = 0; tap < taps; ++tap)
        for (int64_t c = turned; c < end - first; ++c) {
            float* out = gradient + c * shape.stride_channel + tap / l.kernel_width * shape.stride_y +
                         tap % l.kernel_width * shape.stride_x;
            for (int lane = 0; lane < tiles.used(tile); ++lane)
                out[lane * shape.stride_output] = sum[(tap * channels + c) * width + lane] * scale;
        }
}

// Adds up the parts of dL/dbias, [parts, padded].
void write_bias(const Layer& l, const Buffer<double>& sums, int64_t parts, float* gradient) {
    if (!gradient) return;
    for (int64_t o = 0; o < l.outputs; ++o) {
        double sum = 0.0;
        for (int64_t part = 0; part < parts; ++part) sum += sums.data()[part * Tiles{l.outputs}.padded() + o];
        gradient[o] = static_cast<float>(sum);
    }
}

void single_site(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const WeightView& shape,
                 float* weight_gradient, float* bias_gradient) {
    const Layer& l = s.layer;
    const Tiles tiles{l.outputs};
    const RowBlocks blocks(l);
    const std::vector<RowSpikes> lines = list_lines(s, blocks);
    // Parts of a tile's blocks: no sum depends on how many they are, and each finds the tile's whole bias gradient.
    const int64_t parts = std::clamp<int64_t>((2 * s.threads + tiles.number() - 1) / tiles.number(), 1, blocks.number());
    Buffer<double> bias_sum(parts * tiles.padded());
    std::fill_n(bias_sum.data(), parts * tiles.padded(), 0.0);
    parallel_for(tiles.number() * parts, s.threads, [&](int64_t task) {
        const int64_t tile = task / parts, part = task % parts;
        double* bias = bias_sum.data() + part * tiles.padded() + tile * kTile;
        with_vectors(tiles.vectors(tile), [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            std::vector<DeltaRows> delta;
            for (size_t n = 0; n < lines.size(); ++n)
                delta.emplace_back(l, neuron).template build<N>(static_cast<int64_t>(n), tile, g, bias);
            Buffer<float> sum(blocks.rows() * N * kLanes);
            for (int64_t block = blocks.number() * part / parts; block < blocks.number() * (part + 1) / parts; ++block) {
                sum_block<N>(l, blocks, block, lines, delta, sum.data());
                unpack(l, shape, tile, blocks.first_channel(block), blocks.end_channel(block), sum.data(), blocks.channels,
                       weight_gradient);
            }
        });
    });
    write_bias(l, bias_sum, 1, bias_gradient);
}

void convolution(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const WeightView& shape,
                 float* weight_gradient, float* bias_gradient) {
    const Layer& l = s.layer;
    const Tiles tiles{l.outputs};
    const int64_t padded = tiles.padded(), lines = EventLines::lines(l);
    const int64_t parts =
        std::clamp<int64_t>((kSummedParts + tiles.number() - 1) / tiles.number(), 1, std::max<int64_t>(1, lines));
    Buffer<double> bias_sum(parts * padded);
    std::fill_n(bias_sum.data(), parts * padded, 0.0);
    Buffer<float> sums(l.rows() * padded * parts);
    const auto sum_of = [&](int64_t tile, int64_t part) { return sums.data() + (part * padded + tile * kTile) * l.rows(); };
    parallel_for(tiles.number() * parts, s.threads, [&](int64_t task) {
        const int64_t tile = task % tiles.number(), part = task / tiles.number();
        std::fill_n(sum_of(tile, part), l.rows() * tiles.vectors(tile) * kLanes, 0.0f);
        sum_lines(s, neuron, g, tile, lines * part / parts, lines * (part + 1) / parts, sum_of(tile, part),
                  bias_sum.data() + part * padded + tile * kTile);
    });
    parallel_for(tiles.number(), s.threads, [&](int64_t tile) {
        float* total = sum_of(tile, 0);
        for (int64_t part = 1; part < parts; ++part) {
            const float* more = sum_of(tile, part);
            for (int64_t i = 0; i < l.rows() * tiles.vectors(tile) * kLanes; ++i) total[i] += more[i];
        }
        unpack(l, shape, tile, 0, l.channels, total, l.channels, weight_gradient);
    });
    write_bias(l, bias_sum, parts, bias_gradient);
}

}  // namespace

void weight_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const WeightView& shape,
                     float* weight_gradient, float* bias_gradient) {
    if (has_few_rows(s.layer))
        few_rows_gradient(s, neuron, g, shape, weight_gradient, bias_gradient);
    else if (s.layer.single_site())
        single_site(s, neuron, g, shape, weight_gradient, bias_gradient);
    else
        convolution(s, neuron, g, shape, weight_gradient, bias_gradient);
}

}  // namespace firstspike
