// Weights in the order in which a warp reads them: [tile][row][lane], zeros in the padding, divided by the pooling window's size.
#pragma once

#include "shape.h"

namespace firstspike::cuda {

constexpr int kMostTilesPerWarp = 4;

// Tiles of a panel, padded to whole groups of tiles.
inline int64_t panel_tiles(int64_t lanes) {
    return (tiles_of(lanes) + kMostTilesPerWarp - 1) / kMostTilesPerWarp * kMostTilesPerWarp;
}

// Elements of the two panels.
inline int64_t panel_by_output(const Layer& l) { return panel_tiles(l.outputs) * l.rows() * kTile; }
inline int64_t panel_by_channel(const Layer& l) { return panel_tiles(l.channels) * l.taps() * l.outputs * kTile; }

// Copies so many rows of a panel into shared memory from `to` on, and returns it there; all threads of the block together.
__device__ inline const float* staged(const float* panel, int rows, float* to) {
#pragma unroll 4
    for (int i = static_cast<int>(threadIdx.x); i < rows * kTile / 4; i += static_cast<int>(blockDim.x))
        reinterpret_cast<float4*>(to)[i] = reinterpret_cast<const float4*>(panel)[i];
    __syncthreads();
    return to;
}

// Lanes are outputs, row = tap * channels + channel: the forward product.
void pack_by_output(const Layer&, const WeightView&, float* panel, void* stream);
// Lanes are channels, row = tap * outputs + output: the product with the transposed weights.
void pack_by_channel(const Layer&, const WeightView&, float* panel, void* stream);

}  // namespace firstspike::cuda
