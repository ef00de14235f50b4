// How the neurons of a site are cut into tiles, and weights packed so that a tile reads them in a row.
#pragma once

#include <vector>

#include "../../core/layer.h"
#include "../runtime/scratch.h"
#include "../simd/vector.h"

namespace firstspike {

// Neurons 0..count-1 in tiles of kTile; the last one is as many vectors wide as it needs.
struct Tiles {
    int64_t count;

    int64_t number() const { return (count + kTile - 1) / kTile; }
    // Vectors of tile i.
    int vectors(int64_t i) const {
        const int64_t left = (count - i * kTile + kLanes - 1) / kLanes;
        return static_cast<int>(left < kTileVecs ? left : kTileVecs);
    }
    // Neurons of tile i, without the padding.
    int used(int64_t i) const {
        const int64_t left = count - i * kTile;
        return static_cast<int>(left < kTile ? left : kTile);
    }
    // All lanes, padding included.
    int64_t padded() const { return (count + kLanes - 1) / kLanes * kLanes; }
};

// Calls f with the number of vectors as a compile-time constant.
template <class F>
inline void with_vectors(int vectors, F&& f) {
    switch (vectors) {
        case 1: f(std::integral_constant<int, 1>{}); break;
        case 2: f(std::integral_constant<int, 2>{}); break;
        case 3: f(std::integral_constant<int, 3>{}); break;
        default: f(std::integral_constant<int, 4>{}); break;
    }
}

// Weights packed for the forward product: [tile of outputs][row][lane of the tile], row = tap * channels + channel, zeros in the
// padding, divided by the size of the pooling window.
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
    std::vector<uint32_t> row_of_;  // of each of an output's weights, where those lie in a row
    Buffer<float> data_;            // empty, or the whole
};

}  // namespace firstspike
