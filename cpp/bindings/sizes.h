// Sizes from Python, checked: what is computed from them does not overflow.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <string>

#include "../core/layer.h"

namespace firstspike::bindings {

// Elements of one array, at most: no computer has as many, and their bytes, doubled, still fit into 63 bits.
constexpr int64_t kMostElements = int64_t{1} << 56;

[[noreturn]] inline void fail(const std::string& message) { throw pybind11::value_error(message); }

// The product of sizes, none of them negative. In floating point first, which cannot overflow and needs no division.
inline int64_t elements(std::initializer_list<int64_t> sizes) {
    double about = 1.0;
    for (const int64_t size : sizes) {
        if (size < 0) fail("sizes must not be negative, got " + std::to_string(size));
        about *= static_cast<double>(size);
    }
    if (about > static_cast<double>(kMostElements)) fail("the sizes are too large: their product must be at most 2^56");
    if (about == 0.0) return 0;
    int64_t product = 1;
    for (const int64_t size : sizes) product *= size;
    return product;
}

// A size that must be from `least` to `most`.
inline int64_t checked(const char* name, int64_t size, int64_t least, int64_t most) {
    if (size < least || size > most)
        fail(std::string(name) + " must be from " + std::to_string(least) + " to " + std::to_string(most) + ", got " +
             std::to_string(size));
    return size;
}

inline int64_t steps_from(int64_t steps) { return checked("steps", steps, 1, kMaxSteps); }

// Neurons of `channels` channels at `sites` sites of all samples.
inline int64_t neurons_from(int64_t sites, int64_t channels) {
    checked("sites", sites, 0, kMostElements);
    checked("channels", channels, 1, int64_t{1} << 31);
    return elements({sites, channels});
}

}  // namespace firstspike::bindings
