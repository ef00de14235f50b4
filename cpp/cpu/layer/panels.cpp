#include "panels.h"

#include <algorithm>
#include <utility>

#include "../runtime/parallel.h"
#include "plan.h"

namespace firstspike {

namespace {

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
                    __builtin_prefetch(weights + kFetchedToPack, 0, 2);
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

int64_t Panel::parts() const { return row_of_.empty() ? layer_.taps() : (layer_.rows() + kPackedTogether - 1) / kPackedTogether; }

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
        pack_tile(out, from, used, width, part * kPackedTogether, std::min((part + 1) * kPackedTogether, l.rows()), 1,
                  w.stride_output, scale, [&](int64_t i) { return static_cast<int64_t>(row_of_[static_cast<size_t>(i)]); });
    }
}

TransposedPanel::TransposedPanel(const Layer& l, const WeightView& w, int threads)
    : rows_(l.taps() * l.outputs), data_(Tiles{l.channels}.padded() * rows_) {
    const int64_t tiles = Tiles{l.channels}.number(), blocks = (l.outputs + kOutputsPerPacking - 1) / kOutputsPerPacking;
    parallel_for(tiles * blocks, packing_threads(rows_ * l.channels, threads), [&](int64_t task) {
        const int64_t from = task % blocks * kOutputsPerPacking;
        pack(l, w, task / blocks, from, from + kOutputsPerPacking < l.outputs ? from + kOutputsPerPacking : l.outputs);
    });
}

void TransposedPanel::pack(const Layer& l, WeightView w, int64_t tile, int64_t from, int64_t to) {
    const Tiles tiles{l.channels};
    const int64_t width = tiles.vectors(tile) * kLanes, used = tiles.used(tile), taps = l.taps();
    const float scale = l.unit_share();
    float* out = data_.data() + tile * kTile * rows_;
    w.data += tile * kTile * w.stride_channel;
    if (taps > 1 && w.stride_x == 1 && w.stride_y == l.kernel_width) {  // squares are turned in registers
        for (int64_t first = 0; first < width; first += kLanes)
            for (int64_t tap = 0; tap < taps; tap += kLanes)
                for (int64_t o = from; o < to; ++o) {
                    const float* weights = w.data + o * w.stride_output + first * w.stride_channel + tap;
                    Vec square[kLanes] = {};
                    for (int64_t c = 0; c < kLanes && first + c < used; ++c)
                        square[c] = load_some(weights + c * w.stride_channel, taps - tap) * scale;
                    transpose(square);
                    for (int64_t k = 0; k < kLanes && tap + k < taps; ++k)
                        store(out + ((tap + k) * l.outputs + o) * width + first, square[k]);
                }
        return;
    }
    for (int64_t tap = 0; tap < taps; ++tap)
        for (int64_t o = from; o < to; ++o) {
            const float* weights = w.data + o * w.stride_output + w.tap(tap, l.kernel_width);
            float* row = out + (tap * l.outputs + o) * width;
            if (w.stride_channel == 1) {
                for (int64_t c = 0; c < used; ++c) row[c] = weights[c] * scale;
            } else {
                for (int64_t c = 0; c < used; ++c) row[c] = weights[c * w.stride_channel] * scale;
            }
            for (int64_t c = used; c < width; ++c) row[c] = 0.0f;
        }
}

}  // namespace firstspike
