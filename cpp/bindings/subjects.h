// One function per subject; module.cpp calls them.
#pragma once

#include <pybind11/pybind11.h>

namespace firstspike::bindings {

void bind_layer(pybind11::module_& m);
void bind_neurons(pybind11::module_& m);
void bind_pool(pybind11::module_& m);
void bind_trains(pybind11::module_& m);
void bind_weights(pybind11::module_& m);
void bind_windowed(pybind11::module_& m);
void bind_windows(pybind11::module_& m);

}  // namespace firstspike::bindings
