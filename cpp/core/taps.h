// Which cell, site and tap of a convolution belong together, along one axis of the map or for a whole kernel.
//
// Templates over the integer: 64 bits on the CPU, 32 bits on a device.
#pragma once

#include "macros.h"

namespace firstspike {

// The place of a tap in its kernel.
template <class Int>
struct Tap {
    Int y, x;
};

template <class Int>
FIRSTSPIKE_HOST_DEVICE inline Tap<Int> tap_at(Int number, Int kernel_width) {
    return {number / kernel_width, number % kernel_width};
}

// The cell under a tap of a site, along one axis; outside the map where it is negative or too large.
template <class Int>
FIRSTSPIKE_HOST_DEVICE inline Int cell_under(Int site, Int tap, Int stride, Int pad) {
    return site * stride - pad + tap;
}

// The site whose tap lies on a cell, along one axis with so many sites; -1 where there is none.
template <class Int>
FIRSTSPIKE_HOST_DEVICE inline Int site_over(Int cell, Int tap, Int stride, Int pad, Int sites) {
    const Int from_first = cell + pad - tap;
    if (from_first < 0 || from_first % stride != 0 || from_first / stride >= sites) return -1;
    return from_first / stride;
}

// The first site whose tap lies on the cell `from` or after it, along one axis; may be past the last site.
template <class Int>
FIRSTSPIKE_HOST_DEVICE inline Int first_site_over(Int from, Int tap, Int stride, Int pad) {
    const Int from_first = from + pad - tap;
    return from_first <= 0 ? 0 : (from_first + stride - 1) / stride;
}

}  // namespace firstspike
