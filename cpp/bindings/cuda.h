// The CUDA kernels for Python: device pointers and the stream cross as integers.
#pragma once

#include <pybind11/pybind11.h>

namespace firstspike::bindings {

void bind_cuda(pybind11::module_& m);

}  // namespace firstspike::bindings
