// bfloat16, the upper half of a float32, and a float32 as a sum of bfloat16s.
//
// Both have 8 bits of exponent; a bfloat16 has 8 bits of precision, a float32 has 24. So three terms hold a float32 exactly, as
// long as its last bit is a number that bfloat16 has: down to 2^-133, for magnitudes from 2^-110. Below that what is lost is less
// than 2^-133, and hardware that takes subnormal inputs for zero loses less than 2^-124.
#pragma once

#include <cstdint>
#include <cstring>

#include "macros.h"

namespace firstspike {

FIRSTSPIKE_HOST_DEVICE inline uint32_t float32_bits(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

FIRSTSPIKE_HOST_DEVICE inline float float32_from(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

FIRSTSPIKE_HOST_DEVICE inline float bfloat16_value(uint32_t bits) { return float32_from(bits << 16); }

// The nearest bfloat16, ties to even, as its 16 bits. The largest float32s are cut instead: what is finite stays finite.
FIRSTSPIKE_HOST_DEVICE inline uint32_t bfloat16_bits(float value) {
    constexpr uint32_t kExponent = 0x7f800000u, kQuiet = 0x40u;
    const uint32_t bits = float32_bits(value), cut = bits >> 16;
    if ((bits & kExponent) == kExponent) return (bits & 0x7fffffu) != 0 ? cut | kQuiet : cut;  // NaN stays one
    const uint32_t rounded = bits + 0x7fffu + (cut & 1u);
    return (rounded & kExponent) == kExponent ? cut : rounded >> 16;
}

// The next term of a sum of bfloat16s that `rest` is to become; `rest` keeps what is left, nothing where it is not finite.
FIRSTSPIKE_HOST_DEVICE inline uint32_t take_bfloat16(float& rest) {
    const uint32_t term = bfloat16_bits(rest);
    const float left = rest - bfloat16_value(term);
    rest = left == left ? left : 0.0f;  // inf - inf
    return term;
}

}  // namespace firstspike
