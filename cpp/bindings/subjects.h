// One function per subject; module.cpp calls them, and the module of CUDA kernels the last one.
#pragma once

#include <pybind11/pybind11.h>

namespace firstspike::bindings {

void bind_integers(pybind11::module_& m);
void bind_layer(pybind11::module_& m);
void bind_neurons(pybind11::module_& m);
void bind_pooling(pybind11::module_& m);
void bind_weights(pybind11::module_& m);
void bind_windowed(pybind11::module_& m);

void bind_cuda(pybind11::module_& m);

}  // namespace firstspike::bindings
