// Forward pass of a layer: a warp walks the spikes of a site in the order of time, the membranes of its neurons in registers.
// Cost: one read of a weight row for each spike, whatever the number of steps. Where they fit, the weights of the block's neurons
// lie in shared memory.
#include "launch.h"
#include "prepare.h"
#include "record.h"

namespace firstspike::cuda {

namespace {

constexpr int kWarps = 16;
constexpr int kFewestWarps = 4;
constexpr int kResident = 2;  // blocks a processor is to hold: the compiler may use 64 registers, which 4 recorded tiles exceed

struct WalkParams {
    Shape s;
    Lists lists;
    const float* panel;
    const float* bias;
    Neuron neuron;
};

// The list that holds the spikes of a site's tap, -1 where the tap lies outside the input.
__device__ inline int list_of(const Shape& s, const Place& site, int tap) {
    if (s.single_site) return site.sample;
    const Tap<int> at = tap_at(tap, s.kernel_width);
    const int y = cell_under(site.y, at.y, s.stride_y, s.pad_y), x = cell_under(site.x, at.x, s.stride_x, s.pad_x);
    if (y < 0 || y >= s.cells_y || x < 0 || x >= s.cells_x) return -1;
    return (site.sample * s.cells_y + y) * s.cells_x + x;
}

// v += the weight rows first_row + row[0..n).
template <int V>
__device__ inline void add_rows(float (&v)[V], const float* panel, int64_t tile_stride, const uint32_t* row, int n,
                                uint32_t first_row) {
    for (int from = 0; from < n; from += kWarp) {
        const int here = min(n - from, kWarp);
        const uint32_t mine = lane() < here ? first_row + row[from + lane()] : 0;
#pragma unroll 4
        for (int k = 0; k < here; ++k) {
            const float* const w = panel + static_cast<int64_t>(__shfl_sync(kAllLanes, mine, k)) * kTile + lane();
#pragma unroll
            for (int i = 0; i < V; ++i) v[i] += w[i * tile_stride];
        }
    }
}

// Calls at_step(v, t) with the membranes of V tiles after each step's current, until it returns false. `panel` belongs to the
// first tile.
template <int V, class AtStep>
__device__ inline void walk(const WalkParams& p, const float* panel, int number, int first_tile, AtStep&& at_step) {
    const Shape& s = p.s;
    const Place site = place_of(number, s.out_height, s.out_width);
    const int segments = s.single_site ? 1 : s.taps;
    const int64_t tile_stride = static_cast<int64_t>(s.rows) * kTile;
    float v[V], bias[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
        const int output = (first_tile + i) * kTile + lane();
        v[i] = output < s.outputs ? 0.0f : kSpent;
        bias[i] = output < s.outputs && p.bias != nullptr ? p.bias[output] : 0.0f;
    }
    const int first_list = lane() < segments ? list_of(s, site, lane()) : -1;
    for (int t = 0; t < s.steps; ++t) {
#pragma unroll
        for (int i = 0; i < V; ++i) v[i] = leak(v[i], p.neuron);
        for (int tap0 = 0; tap0 < segments; tap0 += kWarp) {  // each lane looks up one tap, then all walk those with spikes
            const int tap = tap0 + lane();
            const int list = tap0 == 0 ? first_list : tap < segments ? list_of(s, site, tap) : -1;
            int begin = 0, count = 0;
            if (list >= 0) {
                const uint32_t* const at = p.lists.begin + static_cast<int64_t>(list) * (s.steps + 1) + t;
                begin = list * p.lists.length + static_cast<int>(at[0]);
                count = static_cast<int>(at[1] - at[0]);
            }
            for (unsigned left = __ballot_sync(kAllLanes, count > 0); left != 0; left &= left - 1) {
                const int k = __ffs(static_cast<int>(left)) - 1;
                const int from = __shfl_sync(kAllLanes, begin, k), n = __shfl_sync(kAllLanes, count, k);
                add_rows<V>(v, panel, tile_stride, p.lists.row + from, n, static_cast<uint32_t>((tap0 + k) * s.channels));
            }
        }
#pragma unroll
        for (int i = 0; i < V; ++i) v[i] += bias[i];
        if (!at_step(v, t)) return;
    }
}

// Copies the weights of V tiles into shared memory if they are to lie there.
template <int V, bool kStaged>
__device__ inline const float* staged_panel(const WalkParams& p, int first_tile) {
    const float* const from = p.panel + static_cast<int64_t>(first_tile) * p.s.rows * kTile;
    if constexpr (!kStaged) return from;
    return staged(from, V * p.s.rows, reinterpret_cast<float*>(shared_memory()));
}

// Blocks: x over the sites, y over the tiles of outputs.
struct FireParams {
    Grid grid;
    WalkParams walk;
    Surrogate surrogate;
    Slots slots;
    uint8_t* times_out;
};

template <int V, bool kStaged, bool kRecord>
__global__ void __launch_bounds__(kWarps* kWarp, V == 4 ? 1 : kResident) fire_kernel(const FireParams p) {
    const Shape& s = p.walk.s;
    const Grid::Block block = p.grid.block();
    const int first_tile = block.y * V;
    const float* const panel = staged_panel<V, kStaged>(p.walk, first_tile);
    for (int site = block.x * warps() + warp(); site < s.all_sites(); site += p.grid.x * warps()) {
        const int64_t group = static_cast<int64_t>(site) * s.out_tiles + first_tile;
        Firing<V, kRecord> firing(p.walk.neuron, p.surrogate, p.slots.entries);
        if constexpr (kRecord) {
#pragma unroll
            for (int i = 0; i < V; ++i)
                if (first_tile + i < s.out_tiles) firing.room[i] = room_in_slot(p.slots, group + i);
        }
        walk<V>(p.walk, panel, site, first_tile, firing);
#pragma unroll
        for (int i = 0; i < V; ++i) {
            const int output = (first_tile + i) * kTile + lane();
            if (output < s.outputs)
                p.times_out[static_cast<int64_t>(site) * s.outputs + output] = static_cast<uint8_t>(firing.time[i]);
            if (kRecord && lane() == 0 && first_tile + i < s.out_tiles) p.slots.count[group + i] = firing.room[i].count;
        }
    }
}

struct PlaceParams {
    WalkParams walk;
    Surrogate surrogate;
    Slots slots;
    Placement to;
};

// One warp per group.
__global__ void __launch_bounds__(kWarps* kWarp, kResident) place_kernel(const PlaceParams p) {
    const Shape& s = p.walk.s;
    const int groups = s.all_sites() * s.out_tiles;
    for (int group = static_cast<int>(blockIdx.x) * kWarps + warp(); group < groups;
         group += static_cast<int>(gridDim.x) * kWarps) {
        if (copy_from_slot(p.slots, p.to, group)) continue;
        const int tile = group % s.out_tiles;
        Firing<1, true> firing(p.walk.neuron, p.surrogate, p.to.entries);
        firing.room[0] = room_in_place(p.to, group);
        walk<1>(p.walk, p.walk.panel + static_cast<int64_t>(tile) * s.rows * kTile, group / s.out_tiles, tile, firing);
    }
}

struct IntegrateParams {
    Grid grid;
    WalkParams walk;
    float* membrane;  // [steps, batch, sites, outputs]
};

template <int V, bool kStaged>
__global__ void __launch_bounds__(kWarps* kWarp, kResident) integrate_kernel(const IntegrateParams p) {
    const Shape& s = p.walk.s;
    const Grid::Block block = p.grid.block();
    const int first_tile = block.y * V;
    const float* const panel = staged_panel<V, kStaged>(p.walk, first_tile);
    for (int site = block.x * warps() + warp(); site < s.all_sites(); site += p.grid.x * warps()) {
        walk<V>(p.walk, panel, site, first_tile, [&](const float(&v)[V], int t) {
#pragma unroll
            for (int i = 0; i < V; ++i) {
                const int output = (first_tile + i) * kTile + lane();
                if (output < s.outputs) p.membrane[(static_cast<int64_t>(t) * s.all_sites() + site) * s.outputs + output] = v[i];
            }
            return true;
        });
    }
}

// The workspace's arrays.
WalkParams arrays_of(const Synapses& synapses, const Neuron& neuron) {
    Workspace workspace(synapses.workspace);
    WalkParams p{shape_of(synapses.layer), {}, nullptr, synapses.bias, neuron};
    p.lists = lists_of(synapses.layer, workspace);
    p.panel = workspace.take<float>(panel_by_output(synapses.layer));
    return p;
}

void prepare(const Synapses& synapses, const WalkParams& p, void* stream) {
    sort_events(synapses.layer, synapses.times, p.lists, stream);
    pack_by_output(synapses.layer, synapses.weight, const_cast<float*>(p.panel), stream);
}

// How many tiles a warp takes, whether the weights are staged, and the grid.
struct Plan {
    int tiles;
    bool staged;
    Grid grid;
    Launch launch;
};

Plan plan_of(const char* name, const Shape& s, void* stream) {
    const Device device = current_device();
    const auto bytes = [&](int64_t tiles) { return tiles * s.rows * kTile * static_cast<int64_t>(sizeof(float)); };
    Plan plan{s.out_tiles > 2 ? 4 : s.out_tiles, false, {}, {}};
    // Staging pays where a block's warps have several sites each; then the widest tiles that fit.
    int tiles = plan.tiles;
    while (tiles > 1 && bytes(tiles) > device.shared_limit) tiles /= 2;
    plan.staged = s.all_sites() >= 4 * kWarps && bytes(tiles) <= device.shared_limit;
    if (plan.staged) plan.tiles = tiles;
    // Every processor has a block before a warp takes several tiles, or a block as many warps as it may have.
    int warps = kWarps;
    const auto blocks = [&] { return ceil_div(s.all_sites(), warps) * ceil_div(s.out_tiles, plan.tiles); };
    while (plan.tiles > 1 && blocks() < device.processors) plan.tiles /= 2;
    while (warps > kFewestWarps && blocks() < device.processors) warps /= 2;
    const int64_t shared = plan.staged ? bytes(plan.tiles) : 0;
    const int64_t resident = std::clamp<int64_t>(device.shared_limit / (shared + 1024), 1, 4);  // blocks a processor holds
    const int64_t across = ceil_div(s.out_tiles, plan.tiles);
    const int64_t most = plan.staged ? ceil_div(device.processors * resident, across) : int64_t{1} << 16;
    plan.grid = grid_of(blocks_for(s.all_sites(), warps, most), across);
    plan.launch = {name, plan.grid.flat(), warps * kWarp, shared, stream};
    return plan;
}

// Calls f with the plan's tiles and staging as compile-time constants.
template <class F>
void with_plan(const Plan& plan, F&& f) {
    const auto staged = [&](auto tiles) { plan.staged ? f(tiles, std::true_type{}) : f(tiles, std::false_type{}); };
    if (plan.tiles == 1)
        staged(std::integral_constant<int, 1>{});
    else if (plan.tiles == 2)
        staged(std::integral_constant<int, 2>{});
    else
        staged(std::integral_constant<int, 4>{});
}

}  // namespace

int64_t layer_workspace(const Layer& layer) {
    Workspace workspace(nullptr);
    lists_of(layer, workspace);
    workspace.take<float>(panel_by_output(layer));
    return workspace.used();
}

void fire_layer(const Synapses& synapses, const Neuron& neuron, const Surrogate& surrogate, const Slots& slots,
                uint8_t* times_out, void* stream) {
    FireParams p{{}, arrays_of(synapses, neuron), surrogate, slots, times_out};
    if (p.walk.s.all_sites() == 0) return;
    prepare(synapses, p.walk, stream);
    const Plan plan = plan_of("fire_layer", p.walk.s, stream);
    p.grid = plan.grid;
    with_plan(plan, [&](auto tiles, auto staged) {
        constexpr int V = decltype(tiles)::value;
        constexpr bool kStaged = decltype(staged)::value;
        if (slots.count != nullptr)
            launch(plan.launch, fire_kernel<V, kStaged, true>, p);
        else
            launch(plan.launch, fire_kernel<V, kStaged, false>, p);
    });
}

void place_layer(const Synapses& synapses, const Neuron& neuron, const Surrogate& surrogate, const Slots& slots,
                 const Placement& to, void* stream) {
    const PlaceParams p{arrays_of(synapses, neuron), surrogate, slots, to};
    const int64_t groups = static_cast<int64_t>(p.walk.s.all_sites()) * p.walk.s.out_tiles;
    launch({"place_layer", dim3(blocks_for(groups, kWarps, 1 << 20)), kWarps * kWarp, 0, stream}, place_kernel, p);
}

void integrate_layer(const Synapses& synapses, const Neuron& neuron, float* membrane, void* stream) {
    IntegrateParams p{{}, arrays_of(synapses, neuron), membrane};
    if (p.walk.s.all_sites() == 0) return;
    prepare(synapses, p.walk, stream);
    const Plan plan = plan_of("integrate_layer", p.walk.s, stream);
    p.grid = plan.grid;
    with_plan(plan, [&](auto tiles, auto staged) {
        launch(plan.launch, integrate_kernel<decltype(tiles)::value, decltype(staged)::value>, p);
    });
}

}  // namespace firstspike::cuda
