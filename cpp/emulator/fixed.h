// Fixed-point primitives: every saturation, wrap, shift and rounding of the emulator is one of these.
#pragma once

#include <cstdint>
#include <type_traits>

#include "isa.h"

namespace firstspike::emulator {
namespace FIRSTSPIKE_EMULATOR_ISA {

// The nearer end of [low, high] where x lies outside it.
template <class S>
constexpr S saturate(S x, S low, S high) {
    return x < low ? low : (x > high ? high : x);
}

// x modulo 2^bits, in [low, low + 2^bits): two's complement for low = -2^(bits-1), unsigned for low = 0. bits < width
// of S.
template <class S>
constexpr S wrap(S x, S low, int bits) {
    using U = std::make_unsigned_t<S>;
    const U mask = (U{1} << bits) - 1;
    return static_cast<S>(((static_cast<U>(x) - static_cast<U>(low)) & mask) + static_cast<U>(low));
}

// x * 2^shift. The caller has proved that the product fits.
template <class S>
constexpr S shift_left(S x, int shift) {
    using U = std::make_unsigned_t<S>;
    return static_cast<S>(static_cast<U>(x) << shift);
}

// x * keep / 2^bits, rounded toward zero. The caller has proved that |x| * keep fits.
template <class S>
constexpr S leak_toward_zero(S x, S keep, int bits) {
    const S magnitude = (x < 0 ? -x : x) * keep >> bits;
    return x < 0 ? -magnitude : magnitude;
}

// x less x / 2^shift, rounded down; less at least one, toward zero.
template <class S>
constexpr S leak_by_shift(S x, int shift) {
    const S share = x >> shift;
    return x - (share != 0 ? share : static_cast<S>((x > 0) - (x < 0)));
}

// V > theta is V >= theta + 1: the core tests >= only.
constexpr int64_t threshold_as_ge(int64_t theta, bool strict) { return strict ? theta + 1 : theta; }

}  // namespace FIRSTSPIKE_EMULATOR_ISA
}  // namespace firstspike::emulator
