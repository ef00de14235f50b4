// Arrays that come as DLPack capsules: torch makes one in a third of the time of a numpy array, and checked alike.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

namespace firstspike::bindings {

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
