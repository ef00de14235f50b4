#include "fragments.h"

#include "../core/bfloat16.h"
#include "launch.h"

namespace firstspike::cuda {

namespace {

constexpr int kThreads = 256;

struct FragmentParams {
    const float* panel;
    uint4* fragments;
    int channels, chunks, taps, terms;
    int64_t threads;
};

__device__ inline int64_t thread_number() { return static_cast<int64_t>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x); }

// A thread per lane of each product.
__global__ void __launch_bounds__(kThreads) fragment_kernel(const FragmentParams p) {
    const int64_t number = thread_number();
    if (number >= p.threads) return;
    const int64_t product = number / kWarp;  // [tile][tap][chunk][half]
    const int half = static_cast<int>(product % kHalves), chunk = static_cast<int>(product / kHalves % p.chunks);
    const int64_t tap = product / kHalves / p.chunks;  // of all tiles: rows of a tile's panel follow those of the tile before
    float rest[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int channel = chunk * kMmaInner + inner_of_a(i);
        rest[i] = channel < p.channels ? p.panel[(tap * p.channels + channel) * kTile + half * kMmaRows + row_of_a(i)] : 0.0f;
    }
    uint4* const to = p.fragments + ((tap * p.chunks + chunk) * p.terms * kHalves + half) * kWarp + lane();
    for (int term = 0; term < p.terms; ++term) {
        uint32_t pair[4];
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            pair[r] = take_bfloat16(rest[2 * r]);
            pair[r] |= take_bfloat16(rest[2 * r + 1]) << 16;
        }
        to[term * kHalves * kWarp] = {pair[0], pair[1], pair[2], pair[3]};
    }
}

struct PadParams {
    const uint8_t* times;
    uint32_t* padded;
    int channels, words;  // of a unit
    int64_t threads;
};

// A thread per word of four channels.
__global__ void __launch_bounds__(kThreads) pad_kernel(const PadParams p) {
    const int64_t number = thread_number();
    if (number >= p.threads) return;
    const int64_t unit = number / p.words;
    const int channel = static_cast<int>(number % p.words) * 4;
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const uint32_t time =
            channel + i < p.channels ? p.times[unit * p.channels + channel + i] : static_cast<uint32_t>(kSilent);
        word |= time << (8 * i);
    }
    p.padded[number] = word;
}

}  // namespace

void pack_fragments(const Layer& l, const float* panel, int terms, uint4* fragments, void* stream) {
    const int64_t threads = tiles_of(l.outputs) * l.taps() * chunks_of(l) * kHalves * kWarp;
    const FragmentParams p{
        panel, fragments, static_cast<int>(l.channels), static_cast<int>(chunks_of(l)), static_cast<int>(l.taps()),
        terms, threads};
    launch({"pack_fragments", dim3(all_blocks(threads, kThreads)), kThreads, 0, stream}, fragment_kernel, p);
}

void pad_times(const Layer& l, const uint8_t* times, uint8_t* padded, void* stream) {
    const int64_t threads = padded_times(l) / 4;
    const PadParams p{times, reinterpret_cast<uint32_t*>(padded), static_cast<int>(l.channels),
                      static_cast<int>(chunks_of(l) * kMmaInner / 4), threads};
    launch({"pad_times", dim3(all_blocks(threads, kThreads)), kThreads, 0, stream}, pad_kernel, p);
}

}  // namespace firstspike::cuda
