// The currents of a layer on tensor cores: for four steps at once the weights, a sum of one to three bfloat16s, times the input's
// spikes, zeros and ones that a warp makes in registers from the times.
#pragma once

#include "../core/bfloat16.h"
#include "fragments.h"

namespace firstspike::cuda {

constexpr int kSites = kMmaColumns;  // of a warp
constexpr int kStepsAtOnce = 4;      // a site's times are read and a weight is loaded once for all of them

struct ProductInput {
    Shape s;
    const uint8_t* times;  // `unit_bytes` for each unit
    int chunks, unit_bytes;
};

// One of a warp's sites, seen by a lane that makes a part of its spikes: its times at this lane's channels, and its first cell.
struct Column {
    const uint8_t* times;
    int y, x;
    bool used;
};

__device__ inline Column column_of(const ProductInput& p, int site) {
    const Shape& s = p.s;
    if (site >= s.all_sites()) return {p.times, 0, 0, false};
    const Place place = place_of(site, s.out_height, s.out_width);
    const int64_t units = static_cast<int64_t>(place.sample) * s.height * s.width;
    return {p.times + units * p.unit_bytes + mma_member() * kInnerPerLane, place.y * s.stride_y - s.pad_y,
            place.x * s.stride_x - s.pad_x, true};
}

// A one in each byte of `times` that is `step`.
__device__ inline uint32_t equal_bytes(uint32_t times, int step) {
    constexpr uint32_t kLow = 0x7f7f7f7fu;
    const uint32_t differs = times ^ static_cast<uint32_t>(step) * 0x01010101u;
    return ~(((differs & kLow) + kLow) | differs | kLow) >> 7;
}

// Four small integers, a byte each, as bfloat16s.
template <bool kPooled>
__device__ inline void spikes_of(uint32_t counts, uint32_t (&b)[2]) {
    if constexpr (kPooled) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const float lower = static_cast<float>(counts >> (16 * r) & 0xffu),
                        upper = static_cast<float>(counts >> (16 * r + 8) & 0xffu);
            b[r] = float32_bits(lower) >> 16 | (float32_bits(upper) & 0xffff0000u);
        }
    } else {
        constexpr uint32_t kOne = 0x3f80u;
        b[0] = ((counts & 1u) | (counts << 8 & 0x10000u)) * kOne;
        b[1] = ((counts >> 16 & 1u) | (counts >> 8 & 0x10000u)) * kOne;
    }
}

// Currents of kStepsAtOnce steps, in the elements of D.
using Currents = float[kStepsAtOnce][kHalves][4];

template <int kTerms, bool kPooled>
__device__ inline void add_products(const ProductInput& p, const uint4* weights, const Column& column, int first_step,
                                    Currents& x) {
    const Shape& s = p.s;
    const int pool = kPooled ? s.pool : 1;
    for (int tap = 0; tap < s.taps; ++tap) {
        const int y = column.y + tap / s.kernel_width, cell_x = column.x + tap % s.kernel_width;
        const bool inside = column.used && y >= 0 && y < s.cells_y && cell_x >= 0 && cell_x < s.cells_x;
        const uint8_t* const cell = column.times + (static_cast<int64_t>(y) * pool * s.width + cell_x * pool) * p.unit_bytes;
        for (int chunk = 0; chunk < p.chunks; ++chunk, weights += kTerms * kHalves * kWarp) {
            uint32_t counts[kStepsAtOnce] = {};
            if (inside) {
                for (int unit = 0; unit < pool * pool; ++unit) {
                    const int at = (unit / pool * s.width + unit % pool) * p.unit_bytes + chunk * kMmaInner;
                    const uint32_t times = *reinterpret_cast<const uint32_t*>(cell + at);
#pragma unroll
                    for (int k = 0; k < kStepsAtOnce; ++k) counts[k] += equal_bytes(times, first_step + k);
                }
            }
            uint32_t any = 0, b[kStepsAtOnce][2];
#pragma unroll
            for (int k = 0; k < kStepsAtOnce; ++k) {
                any |= counts[k];
                spikes_of<kPooled>(counts[k], b[k]);
            }
            if (__any_sync(kAllLanes, any != 0) == 0) continue;
#pragma unroll
            for (int term = 0; term < kTerms; ++term)
#pragma unroll
                for (int half = 0; half < kHalves; ++half) {
                    const uint4 a = weights[(term * kHalves + half) * kWarp + lane()];
#pragma unroll
                    for (int k = 0; k < kStepsAtOnce; ++k) multiply_add(x[k][half], a, b[k]);
                }
        }
    }
}

}  // namespace firstspike::cuda
