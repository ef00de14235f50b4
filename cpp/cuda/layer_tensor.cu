// Forward pass of a layer on tensor cores. A warp takes eight sites of a tile of outputs. For four steps at once it multiplies
// the weights, a sum of one to three bfloat16s, by the input's spikes, zeros and ones that are made in registers from the times:
// they never lie in memory. Then the neurons of each site take the four currents one after another, as in layer_forward.cu. Cost:
// a dense product for each step and term, whatever fires; products of inputs silent in all four steps are left out.
#include "layer_tensor.h"

#include "launch.h"
#include "record.h"
#include "tensor_product.h"

namespace firstspike::cuda {

namespace {

constexpr int kWarps = 8;
constexpr int kResident = 2;  // blocks a processor is to hold: the compiler may use 128 registers, which 3 recorded terms exceed
constexpr int kLargestPool = 15;  // the units of a cell are counted in a byte, and bfloat16 holds integers up to 256
// A warp's currents in shared memory, [step][site][output]: there they change from the elements of D to one lane per output. With
// this many floats from one site to the next, the stores of an element meet 32 banks, as do the loads.
constexpr int kPitch = kTile + 4;
constexpr int kExchanged = kStepsAtOnce * kSites * kPitch;

// Blocks: x over pieces of some sites, y over the tiles of outputs.
struct TensorParams : ProductInput {
    Grid grid;
    const uint4* weights;  // pack_fragments
    const float* bias;
    Neuron neuron;
    Surrogate surrogate;
    Slots slots;
    uint8_t* times_out;
    Placement to;  // the pass that places: `to.offset` is not null. The same kernel walks both times: the same bits.
    int64_t staged_bytes;
};

// Calls at_step(v, t) with the membranes of the sites from first_site on, one lane per output, after each step's current, until
// it returns false. `exchanged` is the warp's own kExchanged floats of shared memory.
template <int kTerms, bool kPooled, class AtStep>
__device__ inline void walk(const TensorParams& p, const uint4* weights, float* exchanged, int first_site, int tile,
                            AtStep&& at_step) {
    const Shape& s = p.s;
    const int output = tile * kTile + lane();
    const float bias = output < s.outputs && p.bias != nullptr ? p.bias[output] : 0.0f;
    const Column column = column_of(p, first_site + mma_group());
    float v[kSites];
#pragma unroll
    for (int i = 0; i < kSites; ++i) v[i] = output < s.outputs && first_site + i < s.all_sites() ? 0.0f : kSpent;
    for (int t = 0; t < s.steps; t += kStepsAtOnce) {
        Currents x = {};
        add_products<kTerms, kPooled>(p, weights, column, t, x);
        __syncwarp();  // the steps before have been read
#pragma unroll
        for (int k = 0; k < kStepsAtOnce; ++k)
#pragma unroll
            for (int half = 0; half < kHalves; ++half)
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    exchanged[(k * kSites + column_of_d(i)) * kPitch + half * kMmaRows + row_of_d(i)] = x[k][half][i];
        __syncwarp();
#pragma unroll 1
        for (int k = 0; k < kStepsAtOnce && t + k < s.steps; ++k) {
#pragma unroll
            for (int i = 0; i < kSites; ++i) v[i] = leak(v[i], p.neuron) + exchanged[(k * kSites + i) * kPitch + lane()] + bias;
            if (!at_step(v, t + k)) return;
        }
    }
}

// What a warp does with a tile of outputs at kSites sites.
template <bool kRecord>
struct Tile {
    const TensorParams& p;
    int first_site, tile;

    __device__ int sites() const { return min(kSites, p.s.all_sites() - first_site); }
    __device__ int64_t group(int site) const { return static_cast<int64_t>(first_site + site) * p.s.out_tiles + tile; }
    __device__ bool overflowed(int site) const { return p.slots.count[group(site)] > p.slots.slot; }

    // The pass that places: only groups whose slot was too small write again.
    __device__ Room room(int site) const {
        if (p.to.offset == nullptr) return room_in_slot(p.slots, group(site));
        return overflowed(site) ? room_in_place(p.to, group(site)) : Room{};
    }

    // Moves the groups that their slots hold; false where one was too small.
    __device__ bool copy() const {
        bool all = true;
        for (int i = 0; i < sites(); ++i) all = copy_from_slot(p.slots, p.to, group(i)) && all;
        return all;
    }

    template <int kTerms, bool kPooled>
    __device__ void fire(const uint4* weights, float* exchanged) const {
        const bool places = kRecord && p.to.offset != nullptr;
        const Entries entries = places ? p.to.entries : p.slots.entries;
        const float poison = places ? poison_of(p.to) : 0.0f;
        const int output = tile * kTile + lane();
        const bool writes = !places && output < p.s.outputs;
        uint8_t* const times_out = p.times_out + static_cast<int64_t>(first_site) * p.s.outputs + output;
        int entries_of_mine = 0;  // lane i counts the entries of site i
        for (int i = 0; writes && i < sites(); ++i) times_out[i * p.s.outputs] = kSilent;
        walk<kTerms, kPooled>(p, weights, exchanged, first_site, tile, [&](float(&v)[kSites], int t) {
            bool alive = false;
#pragma unroll
            for (int i = 0; i < kSites; ++i) {
                Firing<1, kRecord> firing(p.neuron, p.surrogate, entries, poison);
                if constexpr (kRecord) {
                    if (i < sites()) firing.room[0] = room(i);
                    firing.room[0].count = __shfl_sync(kAllLanes, entries_of_mine, i);
                }
                float one[1] = {v[i]};
                alive = firing(one, t) || alive;
                v[i] = one[0];
                if (writes && firing.time[0] != kSilent) times_out[i * p.s.outputs] = static_cast<uint8_t>(firing.time[0]);
                if (kRecord && lane() == i) entries_of_mine = firing.room[0].count;
            }
            return alive;
        });
        if (kRecord && !places && lane() < sites()) p.slots.count[group(lane())] = entries_of_mine;
    }
};

// A block takes one tile of outputs.
template <int kTerms, bool kPooled, bool kStaged, bool kRecord>
__global__ void __launch_bounds__(kWarps* kWarp, kTerms == 3 && kRecord ? 1 : kResident) tensor_kernel(const TensorParams p) {
    const Shape& s = p.s;
    const Grid::Block block = p.grid.block();
    const int tile = block.y, stride = p.grid.x * kWarps * kSites;
    const int first = (block.x * kWarps + warp()) * kSites;
    float* const exchanged = reinterpret_cast<float*>(shared_memory() + p.staged_bytes);
    const bool places = kRecord && p.to.offset != nullptr;
    if (places) {  // most often there is nothing to walk, nor to stage
        int* const again = reinterpret_cast<int*>(exchanged);
        if (threadIdx.x == 0) *again = 0;
        __syncthreads();
        for (int site = first; site < s.all_sites(); site += stride)
            if (!Tile<kRecord>{p, site, tile}.copy() && lane() == 0) *again = 1;
        __syncthreads();
        if (*again == 0) return;
        __syncthreads();  // all have read it before it is overwritten
    }
    const int size = s.taps * p.chunks * kTerms * kHalves * kWarp;
    const uint4* weights = p.weights + static_cast<int64_t>(tile) * size;
    if constexpr (kStaged) {
        uint4* const to = reinterpret_cast<uint4*>(shared_memory());
#pragma unroll 4
        for (int i = static_cast<int>(threadIdx.x); i < size; i += kWarps * kWarp) to[i] = weights[i];
        __syncthreads();
        weights = to;
    }
    for (int site = first; site < s.all_sites(); site += stride) {
        const Tile<kRecord> work{p, site, tile};
        if (places) {
            bool again = false;
            for (int i = 0; i < work.sites(); ++i) again = again || work.overflowed(i);
            if (!again) continue;
        }
        work.template fire<kTerms, kPooled>(weights, exchanged + warp() * kExchanged);
    }
}

int terms_of(Variant variant) { return variant.terms != 0 ? variant.terms : 3; }

// The workspace's arrays.
struct Arrays {
    float* panel;
    uint4* weights;
    uint8_t* padded;
};

Arrays take(const Layer& l, int terms, Workspace& workspace) {
    return {workspace.take<float>(panel_by_output(l)), workspace.take<uint4>(tiles_of(l.outputs) * fragments_per_tile(l, terms)),
            workspace.take<uint8_t>(padded_times(l))};
}

// Whether the kernel can read the times as they are: whole words, whole products.
bool readable(const Synapses& synapses) {
    return synapses.layer.channels % kMmaInner == 0 && reinterpret_cast<uintptr_t>(synapses.times) % 4 == 0;
}

struct Plan {
    bool staged;
    Grid grid;
    Launch launch;
};

Plan plan_of(const char* name, const Synapses& synapses, const Shape& s, Variant variant, void* stream) {
    const Device device = current_device();
    const int64_t exchanged = kWarps * kExchanged * static_cast<int64_t>(sizeof(float));
    const int64_t bytes = fragments_per_tile(synapses.layer, terms_of(variant)) * static_cast<int64_t>(sizeof(uint4));
    const int64_t pieces = ceil_div(s.all_sites(), kSites);
    const bool many = pieces >= 4 * kWarps;  // staging pays where a block's warps have several pieces each
    const bool staged = variant.staging != 1 && (many || variant.staging == 2) && bytes + exchanged <= device.shared_limit;
    const int64_t shared = exchanged + (staged ? bytes : 0);
    const int64_t resident = std::clamp<int64_t>(device.shared_limit / (shared + 1024), 1, kResident);
    const int64_t most = staged ? ceil_div(device.processors * resident, s.out_tiles) : int64_t{1} << 16;
    const Grid grid = grid_of(blocks_for(pieces, kWarps, most), s.out_tiles);
    return {staged, grid, {name, grid.flat(), kWarps * kWarp, shared, stream}};
}

// Calls f with the variant's terms, and whether the input is pooled and the weights are staged, as compile-time constants.
template <class F>
void with_constants(int terms, bool pooled, bool staged, F&& f) {
    const auto with_bools = [&](auto t) {
        if (pooled && staged)
            f(t, std::true_type{}, std::true_type{});
        else if (pooled)
            f(t, std::true_type{}, std::false_type{});
        else if (staged)
            f(t, std::false_type{}, std::true_type{});
        else
            f(t, std::false_type{}, std::false_type{});
    };
    switch (terms) {
        case 1: with_bools(std::integral_constant<int, 1>{}); break;
        case 2: with_bools(std::integral_constant<int, 2>{}); break;
        case 3: with_bools(std::integral_constant<int, 3>{}); break;
        default: throw std::invalid_argument("terms must be 1, 2 or 3");
    }
}

// `to` is empty in the pass that fires.
void run(const char* name, const Synapses& synapses, const Neuron& neuron, const Surrogate& surrogate, const Slots& slots,
         uint8_t* times_out, const Placement& to, Variant variant, void* stream) {
    const Layer& l = synapses.layer;
    const Shape s = shape_of(l);
    if (s.all_sites() == 0) return;
    if (l.pool > kLargestPool)
        throw std::invalid_argument("product 2 takes an avg_pool of at most 15, got " + std::to_string(l.pool));
    const int terms = terms_of(variant);
    Workspace workspace(synapses.workspace);
    const Arrays arrays = take(l, terms, workspace);
    const bool pads = !readable(synapses);
    if (to.offset == nullptr) {
        pack_by_output(l, synapses.weight, arrays.panel, stream);
        pack_fragments(l, arrays.panel, terms, arrays.weights, stream);
        if (pads) pad_times(l, synapses.times, arrays.padded, stream);
    }
    const Plan plan = plan_of(name, synapses, s, variant, stream);
    const int chunks = static_cast<int>(chunks_of(l));
    const TensorParams p{{s, pads ? arrays.padded : synapses.times, chunks, chunks * kMmaInner},
                         plan.grid,
                         arrays.weights,
                         synapses.bias,
                         neuron,
                         surrogate,
                         slots,
                         times_out,
                         to,
                         plan.staged ? fragments_per_tile(l, terms) * static_cast<int64_t>(sizeof(uint4)) : 0};
    with_constants(terms, s.pool > 1, plan.staged, [&](auto t, auto pooled, auto staged) {
        constexpr int kTerms = decltype(t)::value;
        constexpr bool kPooled = decltype(pooled)::value, kStaged = decltype(staged)::value;
        if (slots.count != nullptr)
            launch(plan.launch, tensor_kernel<kTerms, kPooled, kStaged, true>, p);
        else
            launch(plan.launch, tensor_kernel<kTerms, kPooled, kStaged, false>, p);
    });
}

}  // namespace

int64_t tensor_workspace(const Layer& layer, Variant variant) {
    Workspace workspace(nullptr);
    take(layer, terms_of(variant), workspace);
    return workspace.used();
}

void fire_layer_tensor(const Synapses& synapses, const Neuron& neuron, const Surrogate& surrogate, const Slots& slots,
                       uint8_t* times_out, Variant variant, void* stream) {
    run("fire_layer_tensor", synapses, neuron, surrogate, slots, times_out, {}, variant, stream);
}

void place_layer_tensor(const Synapses& synapses, const Neuron& neuron, const Surrogate& surrogate, const Slots& slots,
                        const Placement& to, Variant variant, void* stream) {
    run("place_layer_tensor", synapses, neuron, surrogate, slots, nullptr, to, variant, stream);
}

}  // namespace firstspike::cuda
