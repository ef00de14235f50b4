// Arguments from Python, checked: whatever comes in, no kernel sees a size that its arrays do not have.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>

#include "../cpu/earliest.h"
#include "../cpu/layer/synapses.h"
#include "array.h"
#include "geometry.h"

namespace firstspike::bindings {

namespace py = pybind11;

int threads_from(int threads);

// The data of a C-contiguous array of exactly this type and number of elements; ValueError naming it otherwise.
template <class T>
const T* input(const Array& array, const char* name, int64_t size) {
    if (!array.holds<T>()) fail(std::string(name) + " has the wrong type");
    if (array.size() != size)
        fail(std::string(name) + " must have " + std::to_string(size) + " elements, got " + std::to_string(array.size()));
    if (size > 0 && !array.contiguous()) fail(std::string(name) + " must be contiguous");
    if (size > 0 && !array.aligned<T>()) fail(std::string(name) + " must be aligned to its elements");
    return static_cast<const T*>(array.data());
}

template <class T>
const T* input(const std::optional<Array>& array, const char* name, int64_t size) {
    return array ? input<T>(*array, name, size) : nullptr;
}

template <class T>
T* output(const Array& array, const char* name, int64_t size) {
    return const_cast<T*>(input<T>(array, name, size));
}

// The data of an array of floats of shape [outputs, channels, kernel height, kernel width] in any layout, or
// [outputs, channels * kernel height * kernel width].
WeightView weight_from(const Array& array, const Layer& layer);

// (offset, place [2, entries]) of groups of `channels` neurons at `sites` sites, all within bounds.
using SupportArrays = std::tuple<Array, Array>;
SupportView support_from(const SupportArrays& arrays, int64_t sites, int64_t channels, int64_t steps);
int64_t entries_of(const SupportArrays& arrays);

// (offset, slope, place) as arrays that own the kernel's memory.
py::tuple to_python(Support&& support);
// (offset, place, source) in the same way.
py::tuple to_python(EarliestSupport&& support);

// An uninitialised array of floats from the kernels' store of blocks, which takes it back.
py::array scratch_array(int64_t size);

}  // namespace firstspike::bindings
