// The module firstspike._cuda.
#include "subjects.h"

#include "errors.h"

PYBIND11_MODULE(_cuda, m) {
    m.doc() = "firstspike's CUDA kernels";
    firstspike::bindings::translate_errors();
    firstspike::bindings::bind_cuda(m);
}
