// Packed weights: one panel as the forward pass reads it, one for the product with the transposed weights.
#pragma once

#include <vector>

#include "../../core/layer.h"
#include "../runtime/scratch.h"
#include "tiles.h"

namespace firstspike {

// Weights packed for the forward product: [tile of outputs][row][lane of the tile], row = tap * channels + channel, zeros in the
// padding, divided by the size of the pool's patch.
class Panel {
 public:
    // One tile of a panel.
    struct Tile {
        Buffer<float> own;
        const float* weights;
    };

    // whole: all tiles are packed now. Else each is when it is asked for, so that a panel larger than the caches is never written
    // to memory.
    Panel(const Layer& layer, const WeightView& w, bool whole, int threads);

    Tile tile(int64_t i) const;

 private:
    // Parts of a tile can be packed side by side.
    int64_t parts() const;
    void pack(int64_t tile, int64_t part, float* out) const;

    Layer layer_;
    WeightView weight_;
    std::vector<uint32_t> row_of_;  // of each of an output's weights, where those lie one after another
    Buffer<float> data_;            // empty, or the whole
};

// Weights packed for the product with their transpose: [tile of input channels][tap][output][lane of the tile], zeros in the
// padding, divided by the size of the pool's patch.
class TransposedPanel {
 public:
    TransposedPanel(const Layer& l, const WeightView& w, int threads);

    const float* tile(int64_t i) const { return data_.data() + i * kTile * rows_; }

 private:
    void pack(const Layer& l, WeightView w, int64_t tile, int64_t from, int64_t to);

    int64_t rows_;
    Buffer<float> data_;
};

}  // namespace firstspike
