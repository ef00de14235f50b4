#include "packed_weights.h"

#include <algorithm>
#include <utility>

#include "../runtime/parallel.h"
#include "plan.h"

namespace firstspike {

namespace {

constexpr int64_t kPart = 16 * kLanes;  // weights of an output that are packed at a time
constexpr int64_t kAhead = 128;  // weights of an output that are fetched ahead: they are too few for the processor to see it

// A part of one tile: out[row_of(i)][lane] = w[i * stride_inner + lane * stride_lane] * scale for i from `from` to `to`, zeros in
// the padding.
template <class RowOf>
void pack_tile(float* out, const float* w, int used, int width, int64_t from, int64_t to, int64_t stride_inner,
               int64_t stride_lane, float scale, RowOf row_of) {
    int64_t i = from;
    if (stride_inner == 1) {  // an output's weights are a lane of the tile: squares are turned in registers
        for (; i + kLanes <= to; i += kLanes)
            for (int first = 0; first < width; first += kLanes) {
                Vec square[kLanes] = {};
                for (int k = 0; k < kLanes && first + k < used; ++k) {
                    const float* weights = w + (first + k) * stride_lane + i;
                    __builtin_prefetch(weights + kAhead, 0, 2);
                    square[k] = load(weights) * scale;
                }
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

}  // namespace

Panel::Panel(const Layer& layer, const WeightView& w, bool whole, int threads) : layer_(layer), weight_(w) {
    const int64_t rows = layer.rows();
    if (layer.taps() > 1 && w.stride_x == 1 && w.stride_y == layer.kernel_width && w.stride_channel == layer.taps()) {
        row_of_.reserve(static_cast<size_t>(rows));  // taps innermost, as torch makes them
        for (int64_t c = 0; c < layer.channels; ++c)
            for (int64_t tap = 0; tap < layer.taps(); ++tap) row_of_.push_back(static_cast<uint32_t>(tap * layer.channels + c));
    }
    if (!whole) return;
    const Tiles tiles{layer.outputs};
    data_.reserve(tiles.padded() * rows);
    parallel_for(tiles.number() * parts(), packing_threads(rows * layer.outputs, threads), [&](int64_t task) {
        const int64_t tile = task / parts();
        pack(tile, task % parts(), data_.data() + tile * kTile * rows);
    });
}

Panel::Tile Panel::tile(int64_t i) const {
    if (data_.data()) return {{}, data_.data() + i * kTile * layer_.rows()};
    Buffer<float> own(Tiles{layer_.outputs}.vectors(i) * kLanes * layer_.rows());
    for (int64_t part = 0; part < parts(); ++part) pack(i, part, own.data());
    const float* weights = own.data();
    return {std::move(own), weights};
}

int64_t Panel::parts() const { return row_of_.empty() ? layer_.taps() : (layer_.rows() + kPart - 1) / kPart; }

void Panel::pack(int64_t tile, int64_t part, float* out) const {
    const Layer& l = layer_;
    const WeightView& w = weight_;
    const Tiles tiles{l.outputs};
    const int width = tiles.vectors(tile) * kLanes, used = tiles.used(tile);
    const float scale = l.unit_share();
    const float* from = w.data + tile * kTile * w.stride_output;
    if (row_of_.empty()) {  // tap by tap, whatever the strides
        const int64_t tap = part;
        pack_tile(out + tap * l.channels * width, from + w.tap(tap, l.kernel_width), used, width, 0, l.channels, w.stride_channel,
                  w.stride_output, scale, [](int64_t i) { return i; });
    } else {  // an output's weights lie one after another: whole squares, whose vectors go to their rows
        pack_tile(out, from, used, width, part * kPart, std::min((part + 1) * kPart, l.rows()), 1, w.stride_output, scale,
                  [&](int64_t i) { return static_cast<int64_t>(row_of_[static_cast<size_t>(i)]); });
    }
}

}  // namespace firstspike
