// Arguments from Python, checked: whatever comes in, no kernel sees a size that its arrays do not have.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>

#include "../cpu/kernels.h"
#include "geometry.h"

namespace firstspike::bindings {

namespace py = pybind11;

int threads_from(int threads);

// The data of a C-contiguous array of exactly this type and number of elements; ValueError naming it otherwise.
template <class T>
const T* input(const py::array& array, const char* name, int64_t size) {
    if (!py::isinstance<py::array_t<T>>(array)) fail(std::string(name) + " has the wrong type");
    if (array.size() != size)
        fail(std::string(name) + " must have " + std::to_string(size) + " elements, got " + std::to_string(array.size()));
    if (size > 0 && !(array.flags() & py::array::c_style)) fail(std::string(name) + " must be contiguous");
    return static_cast<const T*>(array.data());
}

template <class T>
const T* input(const std::optional<py::array>& array, const char* name, int64_t size) {
    return array ? input<T>(*array, name, size) : nullptr;
}

template <class T>
T* output(py::array& array, const char* name, int64_t size) {
    input<T>(array, name, size);
    return static_cast<T*>(array.mutable_data());
}

// The data of an array of floats of shape [outputs, channels, kernel height, kernel width] in any layout.
WeightView weight_from(const py::array& array, const Layer& layer);

// (offset, place [2, entries]) of groups of `channels` neurons at `sites` sites, all within bounds.
using SupportArrays = std::tuple<py::array, py::array>;
SupportView support_from(const SupportArrays& arrays, int64_t sites, int64_t channels, int64_t steps);
int64_t entries_of(const SupportArrays& arrays);

// (offset, slope, place) as arrays that own the kernel's memory.
py::tuple to_python(Support&& support);

// An uninitialised array of floats from the kernels' store of blocks, which takes it back.
py::array scratch_array(int64_t size);

}  // namespace firstspike::bindings
