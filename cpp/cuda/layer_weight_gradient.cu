// dL/dW and dL/dbias of a layer (docs/model.md, section "Backward pass"): dW[o, j] = sum over samples and sites of D[o, time of
// j].
//
// For some sites at a time a block makes the table D[t][o] of one tile of outputs in shared memory, with a row of zeros for
// silent inputs. Then each warp adds, for 16 weight rows that it keeps in registers, the table's rows at the times of their
// inputs: one read per unit, whatever the number of steps. The sites are cut into parts whose number depends on the layer only,
// and the parts' sums are added in order: no atomics, the same bits in every run.
#include "launch.h"
#include "record.h"
#include "shape.h"

namespace firstspike::cuda {

namespace {

constexpr int kWarps = 8;
constexpr int kResident = 3;  // blocks a processor is to hold: the compiler may use 85 registers, which spares it spilling
constexpr int kRows = 16;     // weight rows of a warp: neighbouring channels of one tap
constexpr int64_t kTables = 48 * 1024;  // bytes for a block's tables, which every device has

struct Sums {
    float* weight;  // [parts, tiles, rows, kTile]
    double* bias;   // [parts, tiles, kTile]
    int parts;
};

// Blocks: x over the chunks of weight rows, y over the tiles of outputs, z over the parts.
struct Params {
    Grid grid;
    Shape s;
    const uint8_t* times;
    OutputGradient g;
    float decay;
    Sums sums;
    int chunks_per_tap;
    int sites_at_once;  // at most kWarps
};

int64_t chunks_of(const Layer& l) { return l.taps() * ceil_div(l.channels, kRows); }

Sums sums_of(const Layer& l, Workspace& workspace) {
    constexpr int64_t kBlocks = 1024, kSitesAPart = 4 * kWarps;
    const int64_t tiles = tiles_of(l.outputs), sites = l.batch * l.sites();
    const int64_t blocks = ceil_div(chunks_of(l), kWarps) * tiles;
    const int64_t parts = std::clamp<int64_t>(ceil_div(kBlocks, blocks), 1, std::max<int64_t>(1, ceil_div(sites, kSitesAPart)));
    Sums sums{};
    sums.weight = workspace.take<float>(parts * tiles * l.rows() * kTile);
    sums.bias = workspace.take<double>(parts * tiles * kTile);
    sums.parts = static_cast<int>(parts);
    return sums;
}

// Writes D of one site and tile, [steps + 1][kTile], and returns the sum over the steps of the lane's own output.
__device__ inline float build_table(const Params& p, int64_t group, float* table) {
    const int steps = p.s.steps;
    for (int t = 0; t <= steps; ++t) table[t * kTile + lane()] = 0.0f;
    __syncwarp();
    const int64_t end = p.g.support.offset[group + 1];
    for (int64_t e = p.g.support.offset[group] + lane(); e < end; e += kWarp)
        table[p.g.support.step[e] * kTile + p.g.support.lane[e]] = p.g.gradient[e] * (p.g.slope != nullptr ? p.g.slope[e] : 1.0f);
    __syncwarp();
    float run = 0.0f, sum = 0.0f;
    for (int t = steps - 1; t >= 0; --t) {
        run = run * p.decay + table[t * kTile + lane()];
        table[t * kTile + lane()] = run;
        sum += run;
    }
    return sum;
}

// The times of kRows units from `at` on, of which `count` exist: the same in all lanes, four per word.
template <bool kAligned>
__device__ inline uint4 load_times(const uint8_t* at, int count) {
    if constexpr (kAligned) return *reinterpret_cast<const uint4*>(at);
    const unsigned mine = lane() < count ? at[lane()] : kSilent;
    uint4 words;
    unsigned* const word = &words.x;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        word[k] = 0;
#pragma unroll
        for (int b = 0; b < 4; ++b) word[k] |= __shfl_sync(kAllLanes, mine, 4 * k + b) << 8 * b;
    }
    return words;
}

// acc[r] += table[time of unit r], for the units of a chunk under one tap of one site.
template <bool kAligned>
__device__ inline void gather(const Params& p, const float* table, const Place& site, int tap, int channel, float (&acc)[kRows]) {
    const Shape& s = p.s;
    const Tap<int> at = tap_at(tap, s.kernel_width);
    const int cy = cell_under(site.y, at.y, s.stride_y, s.pad_y), cx = cell_under(site.x, at.x, s.stride_x, s.pad_x);
    if (cy < 0 || cy >= s.cells_y || cx < 0 || cx >= s.cells_x) return;
    const int count = min(kRows, s.channels - channel);
    const unsigned silent = static_cast<unsigned>(s.steps);
    for (int y = cy * s.pool; y < (cy + 1) * s.pool; ++y)
        for (int x = cx * s.pool; x < (cx + 1) * s.pool; ++x) {
            const int64_t pixel = (static_cast<int64_t>(site.sample) * s.height + y) * s.width + x;
            const uint4 words = load_times<kAligned>(p.times + pixel * s.channels + channel, count);
            const unsigned word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                const unsigned t = min(word[r / 4] >> 8 * (r % 4) & 255u, silent);
                acc[r] += table[t * kTile + static_cast<unsigned>(lane())];
            }
        }
}

template <bool kAligned>
__global__ void __launch_bounds__(kWarps* kWarp, kResident) weight_gradient_kernel(const Params p) {
    const Shape& s = p.s;
    const int table_size = (s.steps + 1) * kTile;
    float* const tables = reinterpret_cast<float*>(shared_memory());  // [sites_at_once][steps + 1][kTile]
    const Grid::Block block = p.grid.block();
    const int chunk = block.x * kWarps + warp(), tap = chunk / p.chunks_per_tap;
    const int channel = chunk % p.chunks_per_tap * kRows, tile = block.y, part = block.z;
    const int first = static_cast<int>(static_cast<int64_t>(s.all_sites()) * part / p.sums.parts);
    const int last = static_cast<int>(static_cast<int64_t>(s.all_sites()) * (part + 1) / p.sums.parts);
    float acc[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) acc[r] = 0.0f;
    double bias = 0.0;
    for (int site0 = first; site0 < last; site0 += p.sites_at_once) {
        const int here = min(p.sites_at_once, last - site0);
        if (warp() < here)
            bias += build_table(p, static_cast<int64_t>(site0 + warp()) * s.out_tiles + tile, tables + warp() * table_size);
        __syncthreads();
        for (int i = 0; tap < s.taps && i < here; ++i)
            gather<kAligned>(p, tables + i * table_size, place_of(site0 + i, s.out_height, s.out_width), tap, channel, acc);
        __syncthreads();
    }
    float* const out =
        p.sums.weight + ((static_cast<int64_t>(part) * s.out_tiles + tile) * s.rows + tap * s.channels + channel) * kTile;
#pragma unroll
    for (int r = 0; r < kRows; ++r)
        if (tap < s.taps && channel + r < s.channels) out[r * kTile + lane()] = acc[r];
    if (block.x != 0) return;
    double* const sums = reinterpret_cast<double*>(shared_memory());  // [kWarps][kTile]
    sums[threadIdx.x] = bias;
    __syncthreads();
    if (warp() == 0) {
        double total = 0.0;
        for (int w = 0; w < kWarps; ++w) total += sums[w * kTile + lane()];
        p.sums.bias[(static_cast<int64_t>(part) * s.out_tiles + tile) * kTile + lane()] = total;
    }
}

struct JoinParams {
    Shape s;
    Sums sums;
    float* weight;
    WeightView to;
    float* bias;
    float scale;
};

// Adds the parts' sums in order: a thread per weight, and behind the weights a thread per bias.
__global__ void __launch_bounds__(kWarps* kWarp) join_kernel(const JoinParams p) {
    const Shape& s = p.s;
    const int64_t width = static_cast<int64_t>(s.out_tiles) * kTile, weights = width * s.rows;
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < weights) {
        const int l = static_cast<int>(i % kTile), row = static_cast<int>(i / kTile % s.rows),
                  tile = static_cast<int>(i / kTile / s.rows);
        const int output = tile * kTile + l, tap = row / s.channels;
        float sum = 0.0f;
        for (int part = 0; part < p.sums.parts; ++part) sum += p.sums.weight[part * weights + i];
        if (output < s.outputs)
            p.weight[output * p.to.stride_output + row % s.channels * p.to.stride_channel + tap / s.kernel_width * p.to.stride_y +
                     tap % s.kernel_width * p.to.stride_x] = sum * p.scale;
    } else if (i - weights < s.outputs && p.bias != nullptr) {
        double sum = 0.0;
        for (int part = 0; part < p.sums.parts; ++part) sum += p.sums.bias[part * width + (i - weights)];
        p.bias[i - weights] = static_cast<float>(sum);
    }
}

}  // namespace

int64_t weight_gradient_workspace(const Layer& layer) {
    Workspace workspace(nullptr);
    sums_of(layer, workspace);
    return workspace.used();
}

void weight_gradient(const Synapses& synapses, const Neuron& neuron, const OutputGradient& g, const WeightView& shape,
                     float* weight_gradient, float* bias_gradient, void* stream) {
    const Layer& l = synapses.layer;
    Workspace workspace(synapses.workspace);
    const int64_t table = (l.steps + 1) * kTile * static_cast<int64_t>(sizeof(float));
    const int64_t at_once = std::min<int64_t>(kWarps, kTables / table);
    const Shape shape32 = shape_of(l);
    const Sums sums = sums_of(l, workspace);
    const Grid grid = grid_of(ceil_div(chunks_of(l), kWarps), shape32.out_tiles, sums.parts);
    const Params p{grid,
                   shape32,
                   synapses.times,
                   g,
                   neuron.decay,
                   sums,
                   static_cast<int>(ceil_div(l.channels, kRows)),
                   static_cast<int>(at_once)};
    const int64_t bias_sums = kWarps * kTile * static_cast<int64_t>(sizeof(double));
    const Launch sum{"weight_gradient", grid.flat(), kWarps * kWarp, std::max(at_once * table, bias_sums), stream};
    const bool aligned = l.channels % kRows == 0 && reinterpret_cast<uintptr_t>(synapses.times) % 16 == 0;
    if (aligned)
        launch(sum, weight_gradient_kernel<true>, p);
    else
        launch(sum, weight_gradient_kernel<false>, p);
    const JoinParams j{p.s, p.sums, weight_gradient, shape, bias_gradient, l.unit_share()};
    const int64_t threads = (l.rows() + 1) * tiles_of(l.outputs) * kTile;
    launch({"join_weight_gradient", dim3(all_blocks(threads, kWarps * kWarp)), kWarps * kWarp, 0, stream}, join_kernel, j);
}

}  // namespace firstspike::cuda
