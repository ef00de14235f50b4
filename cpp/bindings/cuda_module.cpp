// The module firstspike._cuda.
#include "cuda.h"

PYBIND11_MODULE(_cuda, m) {
    m.doc() = "firstspike's CUDA kernels";
    firstspike::bindings::bind_cuda(m);
}
