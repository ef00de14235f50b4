// Weights packed for the product with their transpose: [tile of input channels][tap][output][lane of the tile], zeros in the
// padding, divided by the size of the pooling window.
#pragma once

#include "../runtime/parallel.h"
#include "../runtime/scratch.h"
#include "plan.h"
#include "tiles.h"

namespace firstspike {

class TransposedPanel {
 public:
    TransposedPanel(const Layer& l, const WeightView& w, int threads)
        : rows_(l.taps() * l.outputs), data_(Tiles{l.channels}.padded() * rows_) {
        constexpr int64_t kOutputs = 16;  // of a task: together they fill whole pages of a tap
        const int64_t tiles = Tiles{l.channels}.number(), blocks = (l.outputs + kOutputs - 1) / kOutputs;
        parallel_for(tiles * blocks, packing_threads(rows_ * l.channels, threads), [&](int64_t task) {
            const int64_t from = task % blocks * kOutputs;
            pack(l, w, task / blocks, from, from + kOutputs < l.outputs ? from + kOutputs : l.outputs);
        });
    }

    const float* tile(int64_t i) const { return data_.data() + i * kTile * rows_; }

 private:
    void pack(const Layer& l, WeightView w, int64_t tile, int64_t from, int64_t to) {
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

    int64_t rows_;
    Buffer<float> data_;
};

}  // namespace firstspike
