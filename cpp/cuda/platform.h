// What kernels need from the device: CUDA itself, or a stand-in that lets a C++ compiler build the same sources and a test run
// every thread of the grid on the processor (tests/cuda/host/device_on_host.h).
#pragma once

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "device_on_host.h"
#endif

#include <cstdint>

namespace firstspike::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ inline int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ inline int warp() { return static_cast<int>(threadIdx.x) / kWarp; }
__device__ inline int warps() { return static_cast<int>(blockDim.x) / kWarp; }

// How many of the lanes in `mask` come before this one.
__device__ inline int rank_in(unsigned mask) { return __popc(mask & ((1u << lane()) - 1u)); }

#if defined(__CUDACC__)
// The block's dynamic shared memory, aligned to 16 bytes.
__device__ inline unsigned char* shared_memory() {
    extern __shared__ __align__(16) unsigned char firstspike_shared[];
    return firstspike_shared;
}
#endif

}  // namespace firstspike::cuda
