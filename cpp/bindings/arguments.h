// Arguments from Python, checked: whatever comes in, no kernel sees a size that its arrays do not have.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <type_traits>

#include "../cpu/kernels.h"
#include "../cpu/layer/synapses.h"
#include "../third_party/dlpack/dlpack.h"
#include "geometry.h"

namespace firstspike::bindings {

// Arrays come as DLPack capsules: torch makes one in a third of the time of a numpy array.
// Strides are in elements; none: C order.
struct Array : DLTensor {
    void* memory() const { return static_cast<char*>(data) + byte_offset; }

    // -1 where the shape, of overlapping elements, counts more than 63 bits hold.
    int64_t size() const {
        int64_t n = 1;
        for (int32_t i = 0; i < ndim; ++i)
            if (__builtin_mul_overflow(n, shape[i], &n)) return -1;
        return n;
    }

    template <class T>
    bool aligned() const {
        return reinterpret_cast<uintptr_t>(memory()) % alignof(T) == 0;
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
    bool holds() const {
        constexpr DLDataTypeCode kCode = std::is_same_v<T, Bfloat16>   ? kDLBfloat
                                         : std::is_floating_point_v<T> ? kDLFloat
                                         : std::is_unsigned_v<T>       ? kDLUInt
                                                                       : kDLInt;
        return dtype.code == kCode && dtype.bits == 8 * sizeof(T) && dtype.lanes == 1;
    }
};

// Threads of a kernel, at least one.
struct Threads {
    int number;

    operator int() const { return number; }
};
inline Threads threads_from(int threads) { return {std::clamp(threads, 1, 1024)}; }

}  // namespace firstspike::bindings

namespace pybind11::detail {

template <>
struct type_caster<fb::Array> {
    PYBIND11_TYPE_CASTER(fb::Array, const_name("DLPack capsule"));

    bool load(handle source, bool) {
        if (!PyCapsule_IsValid(source.ptr(), "dltensor")) return false;
        value = {static_cast<const DLManagedTensor*>(PyCapsule_GetPointer(source.ptr(), "dltensor"))->dl_tensor};
        return value.device.device_type == kDLCPU;
    }
};

template <>
struct type_caster<fb::Threads> : fb::CheckedCaster<fb::Threads, int, fb::threads_from> {};

}  // namespace pybind11::detail

namespace firstspike::bindings {

// The data of a C-contiguous array of exactly this type and number of elements; ValueError naming it otherwise.
template <class T>
const T* input(const Array& array, const char* name, int64_t size) {
    if (!array.holds<T>()) fail(std::string(name) + " has the wrong type");
    if (array.size() != size)
        fail(std::string(name) + " must have " + std::to_string(size) + " elements, got " + std::to_string(array.size()));
    if (size > 0 && !array.contiguous()) fail(std::string(name) + " must be contiguous");
    if (size > 0 && !array.aligned<T>()) fail(std::string(name) + " must be aligned to its elements");
    return static_cast<const T*>(array.memory());
}

template <class T>
const T* input(const std::optional<Array>& array, const char* name, int64_t size) {
    return array ? input<T>(*array, name, size) : nullptr;
}

// As `input`, for an array that the kernel writes; nullptr where there is none.
template <class T, class Given>
T* output(const Given& array, const char* name, int64_t size) {
    return const_cast<T*>(input<T>(array, name, size));
}

using MapSizes = std::tuple<int64_t, int64_t, int64_t, int64_t>;  // samples, height, width, channels

// Patches of pool x pool units on maps of these sizes, whose products do not overflow.
Patches patches_from(const MapSizes& sizes, int64_t pool, int64_t widest = int64_t{1} << 31);

// Calls a kernel, whose arguments are checked by then, without Python's lock.
template <class Kernel, class... Arguments>
auto run(Kernel&& kernel, const Arguments&... arguments) {
    const py::gil_scoped_release released;
    return kernel(arguments...);
}

// The data of an array of floats of shape [outputs, channels, kernel height, kernel width] in any layout, or
// [outputs, channels * kernel height * kernel width].
WeightView weight_from(const Array& array, const Layer& layer);

// (offset, place [2, entries]) of groups of `channels` neurons at `sites` sites, all within bounds.
using SupportArrays = std::tuple<Array, Array>;
SupportView support_from(const SupportArrays& arrays, int64_t sites, int64_t channels, int64_t steps);
int64_t entries_of(const SupportArrays& arrays);

// Where the gradient of spikes lies: at the entries of a support, that of the layer that made them, or, without one, at every
// step [steps, sites, channels].
class Anchor {
 public:
    Anchor(const std::optional<SupportArrays>& support, int64_t sites, int64_t channels, Steps steps)
        : size_(elements({steps, neurons_from(sites, channels)})) {
        if (!support) return;
        view_ = support_from(*support, sites, channels, steps);
        size_ = entries_of(*support);
    }
    const SupportView* support() const { return view_ ? &*view_ : nullptr; }
    int64_t size() const { return size_; }

 private:
    std::optional<SupportView> view_;
    int64_t size_;
};

// (offset, slope, place) as arrays that own the kernel's memory; None of a support that is not recorded.
py::object to_python(Support&& support);
// (offset, place, source) in the same way.
py::object to_python(EarliestSupport&& support);

// An uninitialised array of floats from the kernels' store of blocks, which takes it back.
py::array scratch_array(int64_t size);

}  // namespace firstspike::bindings
