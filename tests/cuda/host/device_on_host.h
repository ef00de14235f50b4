// A stand-in for a CUDA device, for tests: compiles the sources of cpp/cuda with a C++ compiler and runs every thread of the
// grid, each on a separate stack, one after another. Warp functions and barriers switch between them.
//
// It is stricter than a device: shared memory starts as garbage (all bits set, NaN as a float), its end is guarded, a warp
// function needs all 32 lanes, a barrier all threads of the block, and the order in which threads run can be changed, so that a
// missing barrier shows as a different result. It says nothing about speed.
#pragma once

#include <ucontext.h>
#include <csetjmp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace firstspike::cuda::on_host {

enum class Wait { nothing, warp, block, ended };
enum class Op { sync, ballot, any, match, shuffle, shuffle_up, multiply };

struct Thread {
    std::unique_ptr<unsigned char[]> stack;
    ucontext_t context;
    jmp_buf resume;
    Wait wait;
    Op op;
    uint64_t value;  // what the thread brings to a warp function
    bool started;
};

struct Warp {
    uint64_t values[32];  // what its lanes brought to the last warp function
};

struct Noted {
    std::string name;
    dim3 grid;
    int threads;
};

// The grid that runs, and how: set_device and set_order change it.
struct State {
    int processors = 3, shared_limit = 64 * 1024;
    unsigned order = 0;  // 0 forwards, 1 backwards, else a seed
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::vector<unsigned char> shared;
    jmp_buf scheduler;
    ucontext_t entry;
    size_t current = 0;
    const std::function<void()>* kernel = nullptr;
    bool runs = true;  // else launches are noted only
    std::vector<Noted> launches;
};

inline State state;
constexpr size_t kStack = 96 * 1024;
constexpr int kGuard = 64;
constexpr unsigned char kGarbage = 0xff, kGuardByte = 0x5a;

inline int processors() { return state.processors; }
inline int shared_limit() { return state.shared_limit; }

inline void enter() {
    (*state.kernel)();
    state.threads[state.current].wait = Wait::ended;
    _longjmp(state.scheduler, 1);
}

// Leaves the thread until it is let go on.
inline void pause(Wait wait, Op op, uint64_t value) {
    Thread& thread = state.threads[state.current];
    thread.wait = wait;
    thread.op = op;
    thread.value = value;
    if (_setjmp(thread.resume) == 0) _longjmp(state.scheduler, 1);
}

inline void go_on(size_t number) {
    Thread& thread = state.threads[number];
    state.current = number;
    threadIdx = dim3(static_cast<unsigned>(number));
    thread.wait = Wait::nothing;
    if (_setjmp(state.scheduler) != 0) return;
    if (thread.started) _longjmp(thread.resume, 1);
    thread.started = true;
    setcontext(&thread.context);
}

inline std::vector<size_t> ordered(size_t count) {
    std::vector<size_t> order(count);
    std::iota(order.begin(), order.end(), size_t{0});
    if (state.order == 1) std::reverse(order.begin(), order.end());
    if (state.order > 1) std::shuffle(order.begin(), order.end(), std::mt19937(state.order));
    return order;
}

// Runs a warp until its lanes wait at the block's barrier or have ended.
inline void run_warp(size_t w) {
    const auto lanes = ordered(32);
    for (;;) {
        for (const size_t lane : lanes)
            if (state.threads[w * 32 + lane].wait == Wait::nothing) go_on(w * 32 + lane);
        const Thread* const first = &state.threads[w * 32];
        const bool at_warp = std::any_of(first, first + 32, [](const Thread& t) { return t.wait == Wait::warp; });
        if (!at_warp) return;
        for (size_t lane = 0; lane < 32; ++lane) {
            if (first[lane].wait != Wait::warp || first[lane].op != first[0].op)
                throw std::runtime_error("lane " + std::to_string(lane) + " misses a function of its warp");
            state.warps[w].values[lane] = first[lane].value;
        }
        for (size_t lane = 0; lane < 32; ++lane) state.threads[w * 32 + lane].wait = Wait::nothing;
    }
}

inline void run_block() {
    std::fill(state.shared.begin(), state.shared.end() - kGuard, kGarbage);
    std::fill(state.shared.end() - kGuard, state.shared.end(), kGuardByte);
    for (Thread& thread : state.threads) {
        thread.wait = Wait::nothing;
        thread.started = false;
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack.get();
        thread.context.uc_stack.ss_size = kStack;
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, enter, 0);
    }
    for (bool ended = false; !ended;) {
        for (const size_t w : ordered(state.warps.size())) run_warp(w);
        const auto ends =
            std::count_if(state.threads.begin(), state.threads.end(), [](const Thread& t) { return t.wait == Wait::ended; });
        ended = ends == static_cast<std::ptrdiff_t>(state.threads.size());
        if (ends != 0 && !ended) throw std::runtime_error("a thread ends while others wait at the block's barrier");
        for (Thread& thread : state.threads)
            if (!ended) thread.wait = Wait::nothing;
    }
    if (std::any_of(state.shared.end() - kGuard, state.shared.end(), [](unsigned char b) { return b != kGuardByte; }))
        throw std::runtime_error("a kernel wrote behind its shared memory");
}

inline void run(dim3 grid, int threads, int64_t shared, const std::function<void()>& kernel, const char* name = "") {
    if (threads < 32 || threads > 1024 || threads % 32 != 0) throw std::runtime_error("a block must have 32 to 1024 threads");
    if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) throw std::runtime_error("the grid is too large");
    if (!state.runs) {
        state.launches.push_back({name, grid, threads});
        return;
    }
    state.kernel = &kernel;
    while (state.threads.size() < static_cast<size_t>(threads)) {
        state.threads.emplace_back();
        state.threads.back().stack = std::make_unique<unsigned char[]>(kStack);
    }
    state.threads.resize(static_cast<size_t>(threads));
    state.warps.resize(static_cast<size_t>(threads) / 32);
    state.shared.assign(static_cast<size_t>(shared) + kGuard, 0);
    gridDim = grid;
    blockDim = dim3(static_cast<unsigned>(threads));
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                blockIdx = dim3(x, y, z);
                run_block();
            }
}

// All lanes bring a value; afterwards each can read the others' values.
inline const uint64_t* exchange(unsigned mask, Op op, uint64_t value) {
    if (mask != 0xffffffffu) throw std::runtime_error("the stand-in knows whole warps only");
    const size_t warp = state.current / 32;
    pause(Wait::warp, op, value);
    return state.warps[warp].values;
}

template <class T>
uint64_t bits_of(T value) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    return bits;
}
template <class T>
T from_bits(uint64_t bits) {
    T value;
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}

}  // namespace firstspike::cuda::on_host

namespace firstspike::cuda {
inline unsigned char* shared_memory() { return on_host::state.shared.data(); }
}  // namespace firstspike::cuda

inline void __syncthreads() {
    using namespace firstspike::cuda::on_host;
    pause(Wait::block, Op::sync, 0);
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
    using namespace firstspike::cuda::on_host;
    exchange(mask, Op::sync, 0);
}
inline unsigned __ballot_sync(unsigned mask, bool predicate) {
    using namespace firstspike::cuda::on_host;
    const uint64_t* values = exchange(mask, Op::ballot, predicate);
    unsigned result = 0;
    for (unsigned i = 0; i < 32; ++i) result |= static_cast<unsigned>(values[i] != 0) << i;
    return result;
}
inline int __any_sync(unsigned mask, bool predicate) {
    using namespace firstspike::cuda::on_host;
    const uint64_t* values = exchange(mask, Op::any, predicate);
    return std::any_of(values, values + 32, [](uint64_t v) { return v != 0; });
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value) {
    using namespace firstspike::cuda::on_host;
    const uint64_t own = bits_of(value), *values = exchange(mask, Op::match, own);
    unsigned result = 0;
    for (unsigned i = 0; i < 32; ++i) result |= static_cast<unsigned>(values[i] == own) << i;
    return result;
}
template <class T>
T __shfl_sync(unsigned mask, T value, int from) {
    using namespace firstspike::cuda::on_host;
    return from_bits<T>(exchange(mask, Op::shuffle, bits_of(value))[from & 31]);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int delta) {
    using namespace firstspike::cuda::on_host;
    const int lane = static_cast<int>(state.current % 32);
    return from_bits<T>(exchange(mask, Op::shuffle_up, bits_of(value))[lane >= delta ? lane - delta : lane]);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
template <class T>
T min(T a, T b) {
    return b < a ? b : a;
}
