// Launching a kernel, and asking the device for what the launch arithmetic needs.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>

#include "platform.h"

namespace firstspike::cuda {

struct Device {
    int processors;    // streaming multiprocessors
    int shared_limit;  // bytes of shared memory that one block may take
};

// A grid of three dimensions in one: y and z of the device's own end at 65,535, x at 2^31 - 1.
struct Grid {
    int x, y, z;

    struct Block {
        int x, y, z;
    };

    __device__ Block block() const {
        const int number = static_cast<int>(blockIdx.x), row = number / x;
        return {number % x, row % y, row / y};
    }
    dim3 flat() const { return dim3(static_cast<unsigned>(static_cast<int64_t>(x) * y * z)); }
};

struct Launch {
    const char* name;
    dim3 grid;
    int threads;
    int64_t shared;  // bytes of dynamic shared memory
    void* stream;
};

inline std::string sizes_of(const Launch& l) {
    return std::string(l.name) + " (grid " + std::to_string(l.grid.x) + " x " + std::to_string(l.grid.y) + " x " +
           std::to_string(l.grid.z) + ", " + std::to_string(l.threads) + " threads, " + std::to_string(l.shared) +
           " bytes of shared memory)";
}

#if defined(__CUDACC__)

inline void check(cudaError_t error, const std::string& what) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // not for the next caller
    throw std::runtime_error("firstspike CUDA: " + what + ": " + cudaGetErrorString(error));
}

inline Device current_device() {
    int number = 0;
    Device device{};
    check(cudaGetDevice(&number), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&device.processors, cudaDevAttrMultiProcessorCount, number), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&device.shared_limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, number),
          "cudaDeviceGetAttribute");
    return device;
}

template <class... Parameters, class... Arguments>
void launch(const Launch& l, void (*kernel)(Parameters...), const Arguments&... arguments) {
    if (l.grid.x == 0 || l.grid.y == 0 || l.grid.z == 0) return;
    constexpr int64_t kWithoutAsking = 48 * 1024;
    if (l.shared > kWithoutAsking)
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(l.shared)), sizes_of(l));
    cudaLaunchConfig_t config{};
    config.gridDim = l.grid;
    config.blockDim = dim3(static_cast<unsigned>(l.threads));
    config.dynamicSmemBytes = static_cast<size_t>(l.shared);
    config.stream = static_cast<cudaStream_t>(l.stream);
    check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), sizes_of(l));
}

#else

inline Device current_device() { return {on_host::processors(), on_host::shared_limit()}; }

template <class... Parameters, class... Arguments>
void launch(const Launch& l, void (*kernel)(Parameters...), const Arguments&... arguments) {
    if (l.shared > current_device().shared_limit) throw std::runtime_error("too much shared memory: " + sizes_of(l));
    on_host::run(l.grid, l.threads, l.shared, [&] { kernel(static_cast<Parameters>(arguments)...); }, l.name);
}

#endif

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Blocks for `items` pieces of work, `per_block` of them per block.
inline unsigned all_blocks(int64_t items, int64_t per_block) {
    const int64_t blocks = ceil_div(items, per_block);
    if (blocks >= int64_t{1} << 31) throw std::invalid_argument("too many elements for one launch: " + std::to_string(items));
    return static_cast<unsigned>(blocks);
}

inline Grid grid_of(int64_t x, int64_t y, int64_t z = 1) {
    // Each is below 2^31, so the first product does not overflow.
    if (x * y >= int64_t{1} << 31 || x * y * z >= int64_t{1} << 31)
        throw std::invalid_argument("too many blocks for one launch: " + std::to_string(x) + " x " + std::to_string(y) + " x " +
                                    std::to_string(z));
    return {static_cast<int>(x), static_cast<int>(y), static_cast<int>(z)};
}

// Blocks as of `all_blocks`, but at most `most`: kernels stride over what is left.
inline unsigned blocks_for(int64_t items, int64_t per_block, int64_t most) {
    return static_cast<unsigned>(std::min(ceil_div(items, per_block), std::max<int64_t>(most, 1)));
}

}  // namespace firstspike::cuda
