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
#include "geometry.h"

namespace firstspike::bindings {

// Arrays come as DLPack capsules: torch makes one in a third of the time of a numpy array.
//
// The part of the DLPack ABI that we read (github.com/dmlc/dlpack, struct DLTensor, at the start of what a capsule holds).
struct Array {
    void* memory;
    int32_t device_type, device_id;
    int32_t ndim;
    uint8_t type_code, bits;
    uint16_t lanes;
    const int64_t* shape;
    const int64_t* strides;  // in elements; null: C order
    uint64_t byte_offset;

    void* data() const { return static_cast<char*>(memory) + byte_offset; }

    // -1 where the shape, of overlapping elements, counts more than 63 bits hold.
    int64_t size() const {
        int64_t n = 1;
        for (int32_t i = 0; i < ndim; ++i)
            if (__builtin_mul_overflow(n, shape[i], &n)) return -1;
        return n;
    }

    template <class T>
    bool aligned() const {
        return reinterpret_cast<uintptr_t>(data()) % alignof(T) == 0;
    }

    bool contiguous() const {
        if (strides == nullptr) return true;
        int64_t expected = 1;
        for (int32_t i = ndim - 1; i >= 0; --i) {
            if (shape[i] != 1 && strides[i] != expected) return false;
            expected *= shape[i];
        }
        return true;
    }

    template <class T>
    bool holds() const;
};

enum : uint8_t { kSignedInteger = 0, kUnsignedInteger = 1, kFloatingPoint = 2 };

template <>
inline bool Array::holds<float>() const {
    return type_code == kFloatingPoint && bits == 32 && lanes == 1;
}
template <>
inline bool Array::holds<double>() const {
    return type_code == kFloatingPoint && bits == 64 && lanes == 1;
}
template <>
inline bool Array::holds<uint8_t>() const {
    return type_code == kUnsignedInteger && bits == 8 && lanes == 1;
}
template <>
inline bool Array::holds<int64_t>() const {
    return type_code == kSignedInteger && bits == 64 && lanes == 1;
}

}  // namespace firstspike::bindings

namespace pybind11::detail {

template <>
struct type_caster<firstspike::bindings::Array> {
    PYBIND11_TYPE_CASTER(firstspike::bindings::Array, const_name("DLPack capsule"));

    bool load(handle source, bool) {
        constexpr int32_t kCpu = 1;
        if (!PyCapsule_IsValid(source.ptr(), "dltensor")) return false;
        value = *static_cast<const firstspike::bindings::Array*>(PyCapsule_GetPointer(source.ptr(), "dltensor"));
        return value.device_type == kCpu;
    }
};

}  // namespace pybind11::detail

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
