// The geometry of one layer of synapses: which input unit reaches which output neuron through which weight.
//
// An input map has height x width x channels units, channels innermost. Pooling by k turns k x k units of a channel into one
// cell; the k^-2 goes into the weights, so each unit's spike enters on its own. A kernel of kernel_height x kernel_width cells
// then makes out_height x out_width sites of `outputs` neurons each. A linear layer is the case of one site.
#pragma once

#include <cstdint>

#include "macros.h"

namespace firstspike {

constexpr int kSilent = 255;
constexpr int kMaxSteps = 254;

// Which cell, site and tap belong together; templates over the integer: 64 bits on the CPU, 32 bits on a device.

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

struct Layer {
    int64_t batch;
    int64_t height, width, channels;  // units of the input, before pooling
    int64_t pool;
    int64_t kernel_height, kernel_width;
    int64_t stride_y, stride_x;
    int64_t pad_y, pad_x;  // in cells
    int64_t outputs;
    int64_t steps;

    FIRSTSPIKE_HOST_DEVICE int64_t cells_y() const { return height / pool; }
    FIRSTSPIKE_HOST_DEVICE int64_t cells_x() const { return width / pool; }
    FIRSTSPIKE_HOST_DEVICE int64_t out_height() const { return (cells_y() + 2 * pad_y - kernel_height) / stride_y + 1; }
    FIRSTSPIKE_HOST_DEVICE int64_t out_width() const { return (cells_x() + 2 * pad_x - kernel_width) / stride_x + 1; }
    FIRSTSPIKE_HOST_DEVICE int64_t sites() const { return out_height() * out_width(); }
    FIRSTSPIKE_HOST_DEVICE int64_t units() const { return height * width * channels; }
    FIRSTSPIKE_HOST_DEVICE int64_t taps() const { return kernel_height * kernel_width; }
    // What one unit counts in its cell.
    FIRSTSPIKE_HOST_DEVICE float unit_share() const { return 1.0f / static_cast<float>(pool * pool); }
    // Weight rows: one for each tap and channel, channels innermost.
    FIRSTSPIKE_HOST_DEVICE int64_t rows() const { return taps() * channels; }
    // The kernel covers the whole input once: a linear layer.
    FIRSTSPIKE_HOST_DEVICE bool single_site() const {
        return pad_y == 0 && pad_x == 0 && kernel_height == cells_y() && kernel_width == cells_x();
    }
    // Units outside the pool's last whole patch reach nothing: whether there are any.
    FIRSTSPIKE_HOST_DEVICE bool cropped() const { return height % pool != 0 || width % pool != 0; }
    // The cell under the first tap of a site, down and across the map.
    FIRSTSPIKE_HOST_DEVICE int64_t top(int64_t site_y) const { return cell_under<int64_t>(site_y, 0, stride_y, pad_y); }
    FIRSTSPIKE_HOST_DEVICE int64_t left(int64_t site_x) const { return cell_under<int64_t>(site_x, 0, stride_x, pad_x); }
};

// Weights [outputs, channels, kernel_height, kernel_width] with strides in elements.
struct WeightView {
    const float* data;
    int64_t stride_output, stride_channel, stride_y, stride_x;

    // Where a tap's weights begin.
    FIRSTSPIKE_HOST_DEVICE int64_t tap(int64_t number, int64_t kernel_width) const {
        const Tap<int64_t> at = tap_at(number, kernel_width);
        return at.y * stride_y + at.x * stride_x;
    }
};

}  // namespace firstspike
