// dL/dW and dL/dbias of a layer.
//
// dW[o, j] = sum over samples and sites of D[o, time of j], where D[o, t] is the gradient that a current of step t receives: it
// changes only at the steps of the support entries. So a site's D is a few rows of a tile's width and a table step -> row, and a
// weight row's gradient is the sum of the rows that its input spikes point at: one add a spike, whatever the number of steps.
//
// A line of sites shares its D rows (L1); for each weight row in turn its spikes along the line are summed in registers.
#include <algorithm>
#include <utility>

#include "bytes_below.h"
#include "delta_rows.h"
#include "few_rows.h"
#include "parallel.h"
#include "step_sums.h"

namespace firstspike {

namespace {

// The spikes of each channel of a row of cells, as cell * steps + step; for a layer with one site, those of each weight row, as
// sample * steps + step.
class ChannelSpikes {
   public:
    ChannelSpikes(const Synapses& s, int64_t lists, int64_t most) : s_(s), most_(most), codes_(lists * most), count_(lists) {}

    void clear(int64_t lists) { std::fill_n(count_.data(), lists, 0u); }

    // Adds the units of one pixel, whose channels go to the lists from `first` on.
    void add(const uint8_t* times, int64_t first, int64_t position) {
        const auto steps = static_cast<uint32_t>(s_.layer.steps);
        const uint32_t code = static_cast<uint32_t>(position) * steps;
        each_below(times, s_.layer.channels, static_cast<int>(steps), [&](int64_t c) {
            const int64_t list = first + c;
            codes_[list * most_ + count_[list]++] = code + times[c];
        });
    }

    // The lists that are not empty, the shortest first; of equal ones the first in order.
    std::vector<uint32_t> by_length(int64_t lists) const {
        std::vector<uint32_t> place(static_cast<size_t>(most_) + 1), order;
        for (int64_t i = 0; i < lists; ++i) ++place[count_[i]];
        uint32_t before = 0;
        for (size_t length = 1; length < place.size(); ++length) before += std::exchange(place[length], before);
        order.resize(before);
        for (int64_t i = 0; i < lists; ++i)
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
    add_rows<G * N>(v, count, [&](Vec (&to)[G * N], int64_t i) {
        for (int g = 0; g < G; ++g) {
            const float* row = rows + table[static_cast<int64_t>(spike[i]) - g * steps];
            for (int k = 0; k < N; ++k) to[g * N + k] += load(row + k * kLanes);
        }
    });
    for (int n = 0; n < G * N; ++n) store(sum + n / N * tap_stride + n % N * kLanes, v[n]);
}

// The spikes of a line of a layer with one site, a list for each weight row: made once for all tiles.
struct RowSpikes {
    ChannelSpikes spikes;
    // Weight rows by the length of their list: a loop whose length seldom changes is foreseen by the processor.
    std::vector<uint32_t> order;
};

std::vector<RowSpikes> list_lines(const Synapses& s) {
    const Layer& l = s.layer;
    const int64_t most = EventLines::sites(l, 0) * l.pool * l.pool;
    std::vector<RowSpikes> lines;
    for (int64_t n = 0; n < EventLines::lines(l); ++n) lines.push_back({ChannelSpikes(s, l.rows(), most + 1), {}});
    parallel_for(EventLines::lines(l), s.threads, [&](int64_t n) {
        auto& [spikes, order] = lines[static_cast<size_t>(n)];
        spikes.clear(l.rows());
        for (int64_t i = 0; i < EventLines::sites(l, n); ++i) {
            const uint8_t* sample = s.times + (EventLines::first_site(l, n) + i) * l.units();
            for (int64_t y = 0; y < l.cells_y() * l.pool; ++y)
                for (int64_t x = 0; x < l.cells_x() * l.pool; ++x)
                    spikes.add(sample + (y * l.width + x) * l.channels, (y / l.pool * l.cells_x() + x / l.pool) * l.channels, i);
        }
        order = spikes.by_length(l.rows());
    });
    return lines;
}

// A layer with one site: weight rows [from, to) of one tile, over the whole batch. sum is [to - from, width].
void sum_single_site(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const std::vector<RowSpikes>& lines,
                     int64_t tile, int64_t from, int64_t to, float* sum, double* bias_sum) {
    const Layer& l = s.layer;
    const int width = Tiles{l.outputs}.vectors(tile) * kLanes;
    DeltaRows delta(l, neuron);
    for (size_t n = 0; n < lines.size(); ++n) {
        const ChannelSpikes& spikes = lines[n].spikes;
        with_vectors(width / kLanes, [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            delta.build<N>(static_cast<int64_t>(n), tile, g, bias_sum);
            for (const int64_t r : lines[n].order)
                if (r >= from && r < to)
                    gather<N, 1>(sum + (r - from) * width, 0, delta.rows(), delta.table(0), l.steps, spikes.begin(r), spikes.count(r));
        });
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
                        spikes.add(s.times + ((sample * l.height + y) * l.width + x) * l.channels, 0, x / l.pool);
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

// Writes the sums of weight rows [from, to) of a tile into the weight's gradient.
void unpack(const Layer& l, const WeightView& shape, int64_t tile, int64_t from, int64_t to, const float* sum, float* gradient) {
    const Tiles tiles{l.outputs};
    const int width = tiles.vectors(tile) * kLanes;
    const float scale = 1.0f / static_cast<float>(l.pool * l.pool);
    gradient += tile * kTile * shape.stride_output;
    const auto one_by_one = [&](int64_t r, int64_t end) {
        for (; r < end; ++r) {
            const int64_t tap = r / l.channels;
            float* out = gradient + r % l.channels * shape.stride_channel + tap / l.kernel_width * shape.stride_y +
                         tap % l.kernel_width * shape.stride_x;
            for (int lane = 0; lane < tiles.used(tile); ++lane)
                out[lane * shape.stride_output] = sum[(r - from) * width + lane] * scale;
        }
    };
    // Turns squares in registers: `row`, and those after it by `stride`, to values in a row from `out` on.
    const auto turn = [&](int64_t row, int64_t stride, float* out) {
        for (int first = 0; first < width; first += kLanes) {
            Vec square[kLanes];
            for (int k = 0; k < kLanes; ++k) square[k] = load(sum + (row + k * stride - from) * width + first) * scale;
            transpose(square);
            for (int k = 0; k < kLanes && first + k < tiles.used(tile); ++k)
                store(out + (first + k) * shape.stride_output, square[k]);
        }
    };
    const int64_t first_tap = (from + l.channels - 1) / l.channels, end_tap = to / l.channels;  // the taps that are here whole
    if (l.taps() == 1 && shape.stride_channel == 1) {
        int64_t r = from;
        for (; r + kLanes <= to; r += kLanes) turn(r, 1, gradient + r);
        one_by_one(r, to);
    } else if (shape.stride_x == 1 && shape.stride_y == l.kernel_width && end_tap - first_tap >= kLanes) {
        one_by_one(from, first_tap * l.channels);
        for (int64_t c = 0; c < l.channels; ++c)
            for (int64_t t = first_tap; t < end_tap; t += kLanes) {
                const int64_t tap = std::min(t, end_tap - kLanes);  // the last square may cover some taps again
                turn(tap * l.channels + c, l.channels, gradient + c * shape.stride_channel + tap);
            }
        one_by_one(end_tap * l.channels, to);
    } else {
        one_by_one(from, to);
    }
}

}  // namespace

void weight_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const WeightView& shape,
                     float* weight_gradient, float* bias_gradient) {
    const Layer& l = s.layer;
    if (has_few_rows(l)) return few_rows_gradient(s, neuron, g, shape, weight_gradient, bias_gradient);
    const Tiles tiles{l.outputs};
    // Parts are of the weight rows where there is one site: no sum depends on how many, and each part finds the whole bias
    // gradient. Else they are of the lines.
    const int64_t tasks = l.single_site() ? 2 * s.threads : kSummedParts;
    const int64_t parts = std::clamp<int64_t>((tasks + tiles.number() - 1) / tiles.number(), 1,
                                              std::max<int64_t>(1, l.single_site() ? l.rows() : EventLines::lines(l)));
    const int64_t padded = tiles.padded();
    Buffer<double> bias_sum(parts * padded);
    std::fill_n(bias_sum.data(), parts * padded, 0.0);
    Buffer<float> sums(l.rows() * padded * (l.single_site() ? 1 : parts));
    const std::vector<RowSpikes> lines = l.single_site() ? list_lines(s) : std::vector<RowSpikes>{};
    const auto part_of = [&](int64_t total, int64_t part) { return total * part / parts; };
    parallel_for(tiles.number() * parts, s.threads, [&](int64_t task) {
        const int64_t tile = task / parts, part = task % parts;
        const int64_t width = tiles.vectors(tile) * kLanes;
        double* bias = bias_sum.data() + part * padded + tile * kTile;
        if (l.single_site()) {
            const int64_t from = part_of(l.rows(), part), to = part_of(l.rows(), part + 1);
            float* sum = sums.data() + tile * kTile * l.rows() + from * width;
            std::fill_n(sum, (to - from) * width, 0.0f);
            sum_single_site(s, neuron, g, lines, tile, from, to, sum, bias);
            unpack(l, shape, tile, from, to, sum, weight_gradient);
        } else {
            float* sum = sums.data() + (part * padded + tile * kTile) * l.rows();
            std::fill_n(sum, l.rows() * width, 0.0f);
            sum_lines(s, neuron, g, tile, part_of(EventLines::lines(l), part), part_of(EventLines::lines(l), part + 1), sum, bias);
        }
    });
    if (!l.single_site()) {
        parallel_for(tiles.number(), s.threads, [&](int64_t tile) {
            const int64_t size = l.rows() * tiles.vectors(tile) * kLanes;
            float* total = sums.data() + tile * kTile * l.rows();
            for (int64_t part = 1; part < parts; ++part) {
                const float* more = sums.data() + (part * padded + tile * kTile) * l.rows();
                for (int64_t i = 0; i < size; ++i) total[i] += more[i];
            }
            unpack(l, shape, tile, 0, l.rows(), total, weight_gradient);
        });
    }
    if (bias_gradient) {
        for (int64_t o = 0; o < l.outputs; ++o) {
            double sum = 0.0;
            for (int64_t part = 0; part < (l.single_site() ? 1 : parts); ++part) sum += bias_sum[part * padded + o];
            bias_gradient[o] = static_cast<float>(sum);
        }
    }
}

}  // namespace firstspike
