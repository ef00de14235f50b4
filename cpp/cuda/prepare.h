// What a layer's passes read: input spikes sorted by time, and weights in the order in which a warp reads them.
#pragma once

#include "shape.h"

namespace firstspike::cuda {

// Input spikes: for each cell of the pooled input, or for each sample of a layer with one site, which weight rows its spikes add
// at which step. List i has the spikes of step t at row[i * length + begin[i * (steps + 1) + t]] and so on. Labels are channels,
// or weight rows where a list holds a whole sample.
struct Lists {
    uint32_t* row;
    uint32_t* begin;
    int length;  // units of a list
    int number;
};

// The two arrays, taken from a workspace.
Lists lists_of(const Layer&, Workspace&);
void sort_events(const Layer&, const uint8_t* times, const Lists&, void* stream);

// Packed weights: [tile][row][lane], zeros in the padding, divided by the patch's size.
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
