// The module firstspike_cuda_on_host: the bindings of cpp/bindings/cuda.cpp over kernels that run on the stand-in.
#include <pybind11/stl.h>

#include <array>
#include <string>
#include <tuple>
#include <vector>

#include "../../../cpp/bindings/subjects.h"

#include "device_on_host.h"

namespace {

using namespace firstspike::cuda;

// Kernels that are wrong on purpose: what the stand-in must notice.

// Each thread writes its number and reads its neighbour's.
std::vector<int> neighbours(bool barrier) {
    std::vector<int> out(64);
    on_host::run(dim3(1), 64, 64 * sizeof(int), [&] {
        int* const shared = reinterpret_cast<int*>(shared_memory());
        shared[threadIdx.x] = static_cast<int>(threadIdx.x);
        if (barrier) __syncthreads();
        out[threadIdx.x] = shared[(threadIdx.x + 1) % 64];
    });
    return out;
}

void half_a_warp() {
    on_host::run(dim3(1), 32, 0, [] {
        if (threadIdx.x < 16) __syncwarp();
    });
}

void half_a_block() {
    on_host::run(dim3(1), 64, 0, [] {
        if (threadIdx.x < 32) __syncthreads();
    });
}

void overrun() {
    on_host::run(dim3(1), 32, 16, [] { shared_memory()[threadIdx.x] = 1; });
}

}  // namespace

PYBIND11_MODULE(firstspike_cuda_on_host, m) {
    using on_host::state;
    m.doc() = "firstspike's CUDA kernels, run on the processor";
    firstspike::bindings::bind_cuda(m);
    m.def("neighbours", &neighbours);
    m.def("half_a_warp", &half_a_warp);
    m.def("half_a_block", &half_a_block);
    m.def("overrun", &overrun);
    m.def("only_note_launches", [](bool only) {
        state.runs = !only;
        state.launches.clear();
    });
    m.def("launches", [] {
        std::vector<std::tuple<std::string, std::array<unsigned, 3>, int>> noted;
        for (const on_host::Noted& l : state.launches) noted.push_back({l.name, {l.grid.x, l.grid.y, l.grid.z}, l.threads});
        return noted;
    });
    m.def("set_device", [](int processors, int shared_limit, unsigned order) {
        state.processors = processors;
        state.shared_limit = shared_limit;
        state.order = order;
    });
}
