#include "tiles.h"

#include <algorithm>

#include "parallel.h"

namespace firstspike {

namespace {

// Copies one tile, blocked so that either side is read and written in whole cache lines.
void pack_tile(float* out, const float* w, int used, int width, int64_t inner, int64_t stride_inner, int64_t stride_lane,
               float scale) {
    constexpr int64_t kBlock = 16;
    for (int64_t i0 = 0; i0 < inner; i0 += kBlock) {
        const int64_t i1 = std::min(i0 + kBlock, inner);
        if (stride_inner < stride_lane) {
            for (int lane = 0; lane < used; ++lane)
                for (int64_t i = i0; i < i1; ++i) out[i * width + lane] = w[i * stride_inner + lane * stride_lane] * scale;
        } else {
            for (int64_t i = i0; i < i1; ++i)
                for (int lane = 0; lane < used; ++lane) out[i * width + lane] = w[i * stride_inner + lane * stride_lane] * scale;
        }
        for (int64_t i = i0; i < i1; ++i) std::fill(out + i * width + used, out + (i + 1) * width, 0.0f);
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
