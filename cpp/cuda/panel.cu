#include "panel.h"

#include "launch.h"

namespace firstspike::cuda {

namespace {

struct PackParams {
    Grid grid;  // x: tiles along `inner`, y: taps, z: tiles of lanes
    const float* weight;
    float* panel;
    int64_t stride_lane, stride_inner, stride_y, stride_x;
    int lanes, inner;  // outputs and channels, or the reverse
    int kernel_width, taps;
    float scale;
};

constexpr int kRowsAtOnce = 8;

// A block transposes a square of one tile and one tap.
__global__ void __launch_bounds__(kTile* kRowsAtOnce) pack_kernel(const PackParams p) {
    float* const square = reinterpret_cast<float*>(shared_memory());  // [kTile][kTile + 1]
    const int column = static_cast<int>(threadIdx.x) % kTile, first = static_cast<int>(threadIdx.x) / kTile;
    const Grid::Block block = p.grid.block();
    const int inner0 = block.x * kTile, lane0 = block.z * kTile, tap = block.y;
    const float* const from = p.weight + tap / p.kernel_width * p.stride_y + tap % p.kernel_width * p.stride_x;
    const bool along_inner = p.stride_inner < p.stride_lane;
    for (int row = first; row < kTile; row += kRowsAtOnce) {
        const int in_lane = along_inner ? row : column, in_inner = along_inner ? column : row;
        const int l = lane0 + in_lane, i = inner0 + in_inner;
        const bool inside = l < p.lanes && i < p.inner;
        square[in_lane * (kTile + 1) + in_inner] = inside ? from[l * p.stride_lane + i * p.stride_inner] * p.scale : 0.0f;
    }
    __syncthreads();
    const int64_t rows = static_cast<int64_t>(p.taps) * p.inner;
    float* const to = p.panel + (block.z * rows + static_cast<int64_t>(tap) * p.inner) * kTile;
    for (int row = first; row < kTile && inner0 + row < p.inner; row += kRowsAtOnce)
        to[static_cast<int64_t>(inner0 + row) * kTile + column] = square[column * (kTile + 1) + row];
}

void pack(const char* name, const Layer& l, const WeightView& w, bool by_output, float* panel, void* stream) {
    const int64_t lanes = by_output ? l.outputs : l.channels, inner = by_output ? l.channels : l.outputs;
    const Grid grid = grid_of(ceil_div(inner, kTile), l.taps(), panel_tiles(lanes));
    const PackParams p{grid,
                       w.data,
                       panel,
                       by_output ? w.stride_output : w.stride_channel,
                       by_output ? w.stride_channel : w.stride_output,
                       w.stride_y,
                       w.stride_x,
                       static_cast<int>(lanes),
                       static_cast<int>(inner),
                       static_cast<int>(l.kernel_width),
                       static_cast<int>(l.taps()),
                       l.unit_share()};
    launch({name, grid.flat(), kTile * kRowsAtOnce, kTile * (kTile + 1) * sizeof(float), stream}, pack_kernel, p);
}

}  // namespace

void pack_by_output(const Layer& l, const WeightView& w, float* panel, void* stream) {
    pack("pack_by_output", l, w, true, panel, stream);
}

void pack_by_channel(const Layer& l, const WeightView& w, float* panel, void* stream) {
    pack("pack_by_channel", l, w, false, panel, stream);
}

}  // namespace firstspike::cuda
