#include "tiles.h"

#include <algorithm>

#include "parallel.h"

namespace firstspike {

namespace {

// One tile: out[i][lane] = w[i * stride_inner + lane * stride_lane] * scale, zeros in the padding.
void pack_tile(float* out, const float* w, int used, int width, int64_t inner, int64_t stride_inner, int64_t stride_lane,
               float scale) {
    int64_t i = 0;
    if (stride_inner == 1) {  // rows of w are columns of the tile: squares are turned in registers
        for (; i + kLanes <= inner; i += kLanes)
            for (int first = 0; first < width; first += kLanes) {
                Vec square[kLanes] = {};
                for (int k = 0; k < kLanes && first + k < used; ++k) square[k] = load(w + (first + k) * stride_lane + i) * scale;
                transpose(square);
                for (int k = 0; k < kLanes; ++k) store(out + (i + k) * width + first, square[k]);
            }
    }
    for (; i < inner; ++i) {
        for (int lane = 0; lane < used; ++lane) out[i * width + lane] = w[i * stride_inner + lane * stride_lane] * scale;
        std::fill(out + i * width + used, out + (i + 1) * width, 0.0f);
    }
}

void pack(float* out, const Layer& layer, const WeightView& w, int64_t lanes, int64_t inner, int64_t stride_lane,
          int64_t stride_inner, int threads) {
    const Tiles tiles{lanes};
    const int64_t taps = layer.taps(), rows = taps * inner;
    const float scale = 1.0f / static_cast<float>(layer.pool * layer.pool);
    parallel_for(tiles.number() * taps, rows * lanes < 16384 ? 1 : threads, [&](int64_t task) {
        const int64_t tile = task / taps, tap = task % taps;
        const int width = tiles.vectors(tile) * kLanes;
        const float* from = w.data + tap / layer.kernel_width * w.stride_y + tap % layer.kernel_width * w.stride_x +
                            tile * kTile * stride_lane;
        pack_tile(out + tile * kTile * rows + tap * inner * width, from, tiles.used(tile), width, inner, stride_inner,
                  stride_lane, scale);
    });
}

}  // namespace

Panel Panel::by_output(const Layer& layer, const WeightView& w, int threads) {
    Panel panel(layer.outputs, layer.rows());
    pack(panel.data_.data(), layer, w, layer.outputs, layer.channels, w.stride_output, w.stride_channel, threads);
    return panel;
}

Panel Panel::by_channel(const Layer& layer, const WeightView& w, int threads) {
    Panel panel(layer.channels, layer.taps() * layer.outputs);
    pack(panel.data_.data(), layer, w, layer.channels, layer.outputs, w.stride_channel, w.stride_output, threads);
    return panel;
}

}  // namespace firstspike
