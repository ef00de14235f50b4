// The module firstspike_cuda_on_host: the bindings of cpp/bindings/cuda.cpp over kernels that run on the stand-in.
#include "../../../cpp/bindings/cuda.h"
#include "device_on_host.h"

PYBIND11_MODULE(firstspike_cuda_on_host, m) {
    using firstspike::cuda::on_host::state;
    m.doc() = "firstspike's CUDA kernels, run on the processor";
    firstspike::bindings::bind_cuda(m);
    m.def("set_device", [](int processors, int shared_limit, unsigned order) {
        state.processors = processors;
        state.shared_limit = shared_limit;
        state.order = order;
    });
}
