// Simple kernels: a thread for each neuron, or a warp for each group of neurons.
#pragma once

#include "kernels.h"
#include "launch.h"

namespace firstspike::cuda::each {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

// The thread's neuron.
__device__ inline int64_t neuron() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }
// The warp's groups: from first_group on, group_stride apart.
__device__ inline int64_t first_group() { return static_cast<int64_t>(blockIdx.x) * kWarps + warp(); }
__device__ inline int64_t group_stride() { return static_cast<int64_t>(gridDim.x) * kWarps; }

inline Launch over_neurons(const char* name, int64_t neurons, void* stream) {
    return {name, dim3(all_blocks(neurons, kThreads)), kThreads, 0, stream};
}

inline Launch over_groups(const char* name, int64_t groups, int64_t shared, void* stream) {
    return {name, dim3(blocks_for(groups, kWarps, 1 << 20)), kThreads, shared, stream};
}

}  // namespace firstspike::cuda::each
