#include "tiles.h"

#include <algorithm>
#include <vector>

#include "parallel.h"

namespace firstspike {

namespace {

// A part of one tile: out[row_of(i)][lane] = w[i * stride_inner + lane * stride_lane] * scale for i from `from` to `to`, zeros in
// the padding.
template <class RowOf>
void pack_tile(float* out, const float* w, int used, int width, int64_t from, int64_t to, int64_t stride_inner,
               int64_t stride_lane, float scale, RowOf row_of) {
    int64_t i = from;
    if (stride_inner == 1) {  // rows of w are columns of the tile: squares are turned in registers
        for (; i + kLanes <= to; i += kLanes)
            for (int first = 0; first < width; first += kLanes) {
                Vec square[kLanes] = {};
                for (int k = 0; k < kLanes && first + k < used; ++k) square[k] = load(w + (first + k) * stride_lane + i) * scale;
                transpose(square);
                for (int k = 0; k < kLanes; ++k) store(out + row_of(i + k) * width + first, square[k]);
            }
    }
    for (; i < to; ++i) {
        float* row = out + row_of(i) * width;
        for (int lane = 0; lane < used; ++lane) row[lane] = w[i * stride_inner + lane * stride_lane] * scale;
        std::fill(row + used, row + width, 0.0f);
    }
}

// Calls part(tile, n) for n in [0, parts) of every tile.
template <class Part>
void each_part(const Layer& layer, int64_t parts, int threads, Part&& part) {
    parallel_for(Tiles{layer.outputs}.number() * parts, layer.rows() * layer.outputs < 16384 ? 1 : threads,
                 [&](int64_t task) { part(task / parts, task % parts); });
}

float scale_of(const Layer& layer) { return 1.0f / static_cast<float>(layer.pool * layer.pool); }

// Tap by tap, whatever the strides.
void pack_taps(float* out, const Layer& layer, const WeightView& w, int threads) {
    const Tiles tiles{layer.outputs};
    const int64_t rows = layer.rows();
    each_part(layer, layer.taps(), threads, [&](int64_t tile, int64_t tap) {
        const int width = tiles.vectors(tile) * kLanes;
        const float* from = w.data + tap / layer.kernel_width * w.stride_y + tap % layer.kernel_width * w.stride_x +
                            tile * kTile * w.stride_output;
        pack_tile(out + tile * kTile * rows + tap * layer.channels * width, from, tiles.used(tile), width, 0, layer.channels,
                  w.stride_channel, w.stride_output, scale_of(layer), [](int64_t i) { return i; });
    });
}

// An output's weights lie in a row, taps innermost, as torch makes them: whole squares, whose lines go to their rows.
void pack_outputs(float* out, const Layer& layer, const WeightView& w, int threads) {
    constexpr int64_t kPart = 16 * kLanes;
    const Tiles tiles{layer.outputs};
    const int64_t rows = layer.rows();
    std::vector<uint32_t> row_of(static_cast<size_t>(rows));
    auto* next = row_of.data();
    for (int64_t c = 0; c < layer.channels; ++c)
        for (int64_t tap = 0; tap < layer.taps(); ++tap) *next++ = static_cast<uint32_t>(tap * layer.channels + c);
    each_part(layer, (rows + kPart - 1) / kPart, threads, [&](int64_t tile, int64_t part) {
        pack_tile(out + tile * kTile * rows, w.data + tile * kTile * w.stride_output, tiles.used(tile),
                  tiles.vectors(tile) * kLanes, part * kPart, std::min((part + 1) * kPart, rows), 1, w.stride_output,
                  scale_of(layer), [&](int64_t i) { return static_cast<int64_t>(row_of[static_cast<size_t>(i)]); });
    });
}

}  // namespace

Panel::Panel(const Layer& layer, const WeightView& w, int threads)
    : rows_(layer.rows()), data_(Tiles{layer.outputs}.padded() * rows_) {
    const bool taps_in_a_row = w.stride_x == 1 && w.stride_y == layer.kernel_width && w.stride_channel == layer.taps();
    if (taps_in_a_row && layer.taps() > 1) pack_outputs(data_.data(), layer, w, threads);
    else pack_taps(data_.data(), layer, w, threads);
}

}  // namespace firstspike
