#include "prepare.h"

#include "launch.h"

namespace firstspike::cuda {

namespace {

struct SortParams {
    Shape s;
    const uint8_t* times;
    Lists lists;
    int region_height, region_width;  // units of a list
    int warps_per_list;
};

constexpr int kWarps = 8;
constexpr int kUnitsPerWarp = 256;

// Unit i of a list, in the order y, x, channel.
struct Unit {
    int64_t address;
    uint32_t label;
};

__device__ inline Unit unit_of(const SortParams& p, const Place& region, int i) {
    const int channel = i % p.s.channels, pixel = i / p.s.channels;
    const int dy = pixel / p.region_width, dx = pixel % p.region_width;
    const int y = region.y * p.region_height + dy, x = region.x * p.region_width + dx;
    const int tap = dy / p.s.pool * p.s.kernel_width + dx / p.s.pool;
    return {((static_cast<int64_t>(region.sample) * p.s.height + y) * p.s.width + x) * p.s.channels + channel,
            static_cast<uint32_t>(tap * p.s.channels + channel)};
}

// Where each part of each step begins, from how many units of each step each part has; and the list's table of steps.
__device__ inline void scan(uint32_t* counts, int parts, int steps, uint32_t* begin, bool write) {
    uint32_t before = 0;
    for (int t0 = 0; t0 < steps; t0 += kWarp) {
        const int t = t0 + lane();
        uint32_t total = 0;
        for (int part = 0; t < steps && part < parts; ++part) total += counts[part * steps + t];
        uint32_t sum = total;
        for (int d = 1; d < kWarp; d *= 2) {
            const uint32_t other = __shfl_up_sync(kAllLanes, sum, d);
            if (lane() >= d) sum += other;
        }
        uint32_t at = before + sum - total;
        if (t < steps && write) begin[t] = at;
        for (int part = 0; t < steps && part < parts; ++part) {
            const uint32_t n = counts[part * steps + t];
            counts[part * steps + t] = at;
            at += n;
        }
        before += __shfl_sync(kAllLanes, sum, kWarp - 1);
    }
    if (lane() == 0 && write) begin[steps] = before;
}

// A stable counting sort; several warps share a list, each a stretch of its units.
__global__ void __launch_bounds__(kWarps* kWarp) sort_kernel(const SortParams p) {
    const int steps = p.s.steps, part = warp() % p.warps_per_list;
    const int list = static_cast<int>(blockIdx.x) * (kWarps / p.warps_per_list) + warp() / p.warps_per_list;
    const bool inside = list < p.lists.number;
    uint32_t* const counts = reinterpret_cast<uint32_t*>(shared_memory());  // [warps][steps]
    uint32_t* const mine = counts + warp() * steps;
    for (int t = lane(); t < steps; t += kWarp) mine[t] = 0;
    __syncwarp();

    const int stretch = (p.lists.length + p.warps_per_list * kWarp - 1) / (p.warps_per_list * kWarp) * kWarp;
    const int from = part * stretch, to = inside ? min(from + stretch, p.lists.length) : from;
    const int down = p.s.single_site ? 1 : p.s.cells_y, across = p.s.single_site ? 1 : p.s.cells_x;
    const Place region = place_of(inside ? list : 0, down, across);
    for (int i0 = from; i0 < to; i0 += kWarp) {
        const int i = i0 + lane();
        const int t = i < to ? p.times[unit_of(p, region, i).address] : kSilent;
        const unsigned peers = __match_any_sync(kAllLanes, t);
        if (t < steps && rank_in(peers) == 0) mine[t] += static_cast<uint32_t>(__popc(peers));
        __syncwarp();
    }
    __syncthreads();
    uint32_t* const begin = p.lists.begin + static_cast<int64_t>(inside ? list : 0) * (steps + 1);
    if (part == 0) scan(mine, p.warps_per_list, steps, begin, inside);
    __syncthreads();

    uint32_t* const row = p.lists.row + static_cast<int64_t>(inside ? list : 0) * p.lists.length;
    for (int i0 = from; i0 < to; i0 += kWarp) {
        const int i = i0 + lane();
        const Unit unit = unit_of(p, region, min(i, to - 1));
        const int t = i < to ? p.times[unit.address] : kSilent;
        const unsigned peers = __match_any_sync(kAllLanes, t);
        if (t < steps) row[mine[t] + static_cast<uint32_t>(rank_in(peers))] = unit.label;
        __syncwarp();
        if (t < steps && rank_in(peers) == 0) mine[t] += static_cast<uint32_t>(__popc(peers));
        __syncwarp();
    }
}

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

Lists lists_of(const Layer& l, Workspace& workspace) {
    const int64_t cells = l.cells_y() * l.cells_x(), window = l.pool * l.pool * l.channels;
    const int64_t number = l.single_site() ? l.batch : l.batch * cells;
    const int64_t length = l.single_site() ? window * cells : window;
    Lists lists{};
    lists.row = workspace.take<uint32_t>(number * length);
    lists.begin = workspace.take<uint32_t>(number * (l.steps + 1));
    lists.length = static_cast<int>(length);
    lists.number = static_cast<int>(number);
    return lists;
}

void sort_events(const Layer& l, const uint8_t* times, const Lists& lists, void* stream) {
    SortParams p{shape_of(l), times, lists, static_cast<int>(l.pool), static_cast<int>(l.pool), 1};
    if (p.s.single_site) {
        p.region_height *= p.s.cells_y;
        p.region_width *= p.s.cells_x;
    }
    while (p.warps_per_list < kWarps && p.warps_per_list * kUnitsPerWarp < lists.length) p.warps_per_list *= 2;
    const dim3 grid(static_cast<unsigned>(ceil_div(lists.number, kWarps / p.warps_per_list)));
    launch({"sort_events", grid, kWarps * kWarp, kWarps * l.steps * static_cast<int64_t>(sizeof(uint32_t)), stream}, sort_kernel,
           p);
}

void pack_by_output(const Layer& l, const WeightView& w, float* panel, void* stream) {
    pack("pack_by_output", l, w, true, panel, stream);
}

void pack_by_channel(const Layer& l, const WeightView& w, float* panel, void* stream) {
    pack("pack_by_channel", l, w, false, panel, stream);
}

}  // namespace firstspike::cuda
