// dL/ds of a layer's input: h[j, t] = sum_o W[o, j] direct[o, t], dL/ds[j, t] = h[t] + decay dL/ds[t + 1] (docs/model.md, section
// "Backward pass").
//
// A warp takes a cell of the pooled input and a tile of its channels. It goes through the support entries of the sites above the
// cell and adds value * weight row, in registers while the step stays the same, then into its own table [steps][kTile] in shared
// memory; the table's suffix sums are dL/ds, read where the layer that made the input has entries. No entry need be sorted.
#include "launch.h"
#include "prepare.h"
#include "record.h"

namespace firstspike::cuda {

namespace {

constexpr int kMostWarps = 8;
constexpr int kResident = 4;  // blocks a processor is to hold: the compiler may use 64 registers

// An entry as the warp reads it: 16 bytes, the same address in all lanes.
struct alignas(16) Event {
    float value;
    uint32_t row;
    int32_t step;
};

// Blocks: x over the cells, y over the tiles of channels, z over the taps, and so the cells, of a layer with one site.
struct Params {
    Grid grid;
    Shape s;
    OutputGradient g;
    float decay;
    const float* panel;  // by channel
    SupportView input;   // offset null: dense
    float* gradient;
};

// The site whose tap `tap` reads the cell, -1 where there is none.
__device__ inline int site_above(const Shape& s, const Place& cell, int tap) {
    if (s.single_site) return cell.sample;
    const Tap<int> at = tap_at(tap, s.kernel_width);
    const int y = site_over(cell.y, at.y, s.stride_y, s.pad_y, s.out_height);
    const int x = site_over(cell.x, at.x, s.stride_x, s.pad_x, s.out_width);
    return y < 0 || x < 0 ? -1 : (cell.sample * s.out_height + y) * s.out_width + x;
}

// The unit's group of the layer that made the input.
__device__ inline int64_t group_of(const Shape& s, const Place& cell, int window, int tile) {
    const int y = cell.y * s.pool + window / s.pool, x = cell.x * s.pool + window % s.pool;
    return ((static_cast<int64_t>(cell.sample) * s.height + y) * s.width + x) * s.in_tiles + tile;
}

__device__ inline bool wanted(const Params& p, const Place& cell, int tile) {
    if (p.input.offset == nullptr) return true;
    bool some = false;
    for (int w = lane(); w < p.s.pool * p.s.pool; w += kWarp) {
        const int64_t group = group_of(p.s, cell, w, tile);
        some = some || p.input.offset[group] < p.input.offset[group + 1];
    }
    return __any_sync(kAllLanes, some) != 0;
}

// table[step] += value * weight row, for n entries of one group.
__device__ inline void add_entries(const Params& p, int64_t from, int n, uint32_t first_row, const float* panel, Event* events,
                                   float* table) {
    float h = 0.0f;
    int step = -1;
    for (int e0 = 0; e0 < n; e0 += kWarp) {
        const int here = min(n - e0, kWarp);
        if (lane() < here) {
            const int64_t e = from + e0 + lane();
            const float slope = p.g.slope != nullptr ? p.g.slope[e] : 1.0f;
            events[lane()] = {p.g.gradient[e] * slope, first_row + p.g.support.lane[e], p.g.support.step[e]};
        }
        __syncwarp();
#pragma unroll 4
        for (int k = 0; k < here; ++k) {
            const Event event = events[k];
            if (event.step != step) {  // the same in all lanes
                if (step >= 0) table[step * kTile + lane()] += h;
                step = event.step;
                h = 0.0f;
            }
            h += event.value * panel[static_cast<int64_t>(event.row) * kTile + lane()];
        }
        __syncwarp();
    }
    if (step >= 0) table[step * kTile + lane()] += h;
}

// Fills the table with dL/ds of the cell's tile at every step. `panel` begins at tap `first_tap`.
__device__ inline void fill_table(const Params& p, const Place& cell, int first_tap, int last_tap, const float* panel,
                                  Event* events, float* table) {
    const Shape& s = p.s;
    for (int t = 0; t < s.steps; ++t) table[t * kTile + lane()] = 0.0f;
    const int segments = (last_tap - first_tap) * s.out_tiles;
    for (int segment0 = 0; segment0 < segments; segment0 += kWarp) {  // each lane looks up one group
        const int segment = segment0 + lane();
        int64_t from = 0;
        int n = 0;
        if (segment < segments) {
            const int site = site_above(s, cell, first_tap + segment / s.out_tiles);
            const int64_t group = static_cast<int64_t>(site) * s.out_tiles + segment % s.out_tiles;
            if (site >= 0) {
                from = p.g.support.offset[group];
                n = static_cast<int>(p.g.support.offset[group + 1] - from);
            }
        }
        for (unsigned left = __ballot_sync(kAllLanes, n > 0); left != 0; left &= left - 1) {
            const int k = __ffs(static_cast<int>(left)) - 1, of = segment0 + k;
            const int64_t begin = __shfl_sync(kAllLanes, from, k);
            const int count = __shfl_sync(kAllLanes, n, k);
            const int row = of / s.out_tiles * s.outputs + of % s.out_tiles * kTile;
            add_entries(p, begin, count, static_cast<uint32_t>(row), panel, events, table);
        }
    }
    float run = 0.0f;
    for (int t = s.steps - 1; t >= 0; --t) {
        run = run * p.decay + table[t * kTile + lane()];
        table[t * kTile + lane()] = run;
    }
    __syncwarp();
}

// Every unit of the cell's window has the cell's gradient.
__device__ inline void write(const Params& p, const Place& cell, int tile, const float* table) {
    const Shape& s = p.s;
    for (int w = 0; w < s.pool * s.pool; ++w) {
        const int64_t group = group_of(s, cell, w, tile);
        if (p.input.offset != nullptr) {
            const int64_t end = p.input.offset[group + 1];
            for (int64_t e = p.input.offset[group] + lane(); e < end; e += kWarp)
                p.gradient[e] = table[p.input.step[e] * kTile + p.input.lane[e]];
        } else if (tile * kTile + lane() < s.channels) {
            const int64_t pixel = group / s.in_tiles, pixels = static_cast<int64_t>(s.batch) * s.height * s.width;
            for (int t = 0; t < s.steps; ++t)
                p.gradient[(t * pixels + pixel) * s.channels + tile * kTile + lane()] = table[t * kTile + lane()];
        }
    }
    __syncwarp();
}

template <bool kStaged>
__global__ void __launch_bounds__(kMostWarps* kWarp, kResident) input_gradient_kernel(const Params p) {
    const Shape& s = p.s;
    const Grid::Block block = p.grid.block();
    const int tile = block.y, slice = block.z;
    const int first_tap = s.single_site ? slice : 0, last_tap = s.single_site ? slice + 1 : s.taps;
    const float* panel = p.panel + (static_cast<int64_t>(tile) * s.taps + first_tap) * s.outputs * kTile;
    Event* const events = reinterpret_cast<Event*>(shared_memory()) + warp() * kWarp;  // [warps][kWarp]
    float* const shared = reinterpret_cast<float*>(shared_memory() + warps() * kWarp * static_cast<int>(sizeof(Event)));
    float* const table = shared + warp() * s.steps * kTile;  // [warps][steps][kTile]
    if constexpr (kStaged) panel = staged(panel, (last_tap - first_tap) * s.outputs, shared + warps() * s.steps * kTile);
    const int items = s.single_site ? s.batch : s.batch * s.cells_y * s.cells_x;
    for (int item = block.x * warps() + warp(); item < items; item += p.grid.x * warps()) {
        const Place place = place_of(item, s.cells_y, s.cells_x);
        const Place cell = s.single_site ? Place{item, slice / s.cells_x, slice % s.cells_x} : place;
        if (!wanted(p, cell, tile)) continue;
        fill_table(p, cell, first_tap, last_tap, panel, events, table);
        write(p, cell, tile, table);
    }
}

struct Plan {
    bool staged;
    Grid grid;
    Launch launch;
};

Plan plan_of(const Shape& s, void* stream) {
    const Device device = current_device();
    const int64_t per_warp = kWarp * static_cast<int64_t>(sizeof(Event)) + s.steps * kTile * static_cast<int64_t>(sizeof(float));
    const int64_t panel =
        static_cast<int64_t>(s.single_site ? 1 : s.taps) * s.outputs * kTile * static_cast<int64_t>(sizeof(float));
    const int64_t items = s.single_site ? s.batch : static_cast<int64_t>(s.batch) * s.cells_y * s.cells_x;
    const int64_t slices = s.single_site ? s.taps : 1, across = s.in_tiles * slices;
    int warps = kMostWarps;
    const bool staged = items >= 4 * kMostWarps && panel + warps * per_warp <= device.shared_limit;
    while (warps > 1 && warps * per_warp > device.shared_limit) warps /= 2;
    const int64_t shared = warps * per_warp + (staged ? panel : 0);
    const int64_t resident = std::clamp<int64_t>(device.shared_limit / (shared + 1024), 1, 8);
    const int64_t most = staged ? ceil_div(device.processors * resident, across) : int64_t{1} << 16;
    const Grid grid = grid_of(blocks_for(items, warps, most), s.in_tiles, slices);
    return {staged, grid, {"input_gradient", grid.flat(), warps * kWarp, shared, stream}};
}

}  // namespace

int64_t input_gradient_workspace(const Layer& layer) {
    Workspace workspace(nullptr);
    workspace.take<float>(panel_by_channel(layer));
    return workspace.used();
}

void input_gradient(const Synapses& synapses, const Neuron& neuron, const OutputGradient& g, const SupportView& input,
                    float* gradient, void* stream) {
    const Layer& l = synapses.layer;
    Workspace workspace(synapses.workspace);
    float* const panel = workspace.take<float>(panel_by_channel(l));
    if (l.batch == 0) return;
    pack_by_channel(l, synapses.weight, panel, stream);
    const Shape s = shape_of(l);
    const Plan plan = plan_of(s, stream);
    const Params p{plan.grid, s, g, neuron.decay, panel, input, gradient};
    if (plan.staged)
        launch(plan.launch, input_gradient_kernel<true>, p);
    else
        launch(plan.launch, input_gradient_kernel<false>, p);
}

}  // namespace firstspike::cuda
