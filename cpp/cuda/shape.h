// A Layer of cpp/core in 32-bit numbers, with what is derived from it: divisions in 64 bits are slow on a device.
#pragma once

#include <stdexcept>

#include "../core/layer.h"
#include "kernels.h"
#include "platform.h"

namespace firstspike::cuda {

struct Shape {
    int batch, height, width, channels, pool, kernel_height, kernel_width, stride_y, stride_x, pad_y, pad_x, outputs, steps;
    int cells_y, cells_x, out_height, out_width;
    int sites;  // of a sample
    int taps, rows;
    int in_tiles, out_tiles;
    bool single_site;

    FIRSTSPIKE_HOST_DEVICE int all_sites() const { return batch * sites; }
};

inline Shape shape_of(const Layer& l) {
    const int64_t limit = int64_t{1} << 30;  // strides over a grid stay below 2^31
    const int64_t cells = l.cells_y() * l.cells_x();
    for (const int64_t size :
         {l.batch * l.units(), l.batch * l.sites() * tiles_of(l.outputs), l.batch * cells * tiles_of(l.channels), l.rows(),
          l.taps() * l.outputs, l.taps() * tiles_of(l.outputs), l.batch * cells * (l.steps + 1)})
        if (size >= limit)
            throw std::invalid_argument("the layer is too large for 32-bit numbers on the device: split the batch");
    const auto n = [](int64_t value) { return static_cast<int>(value); };
    Shape s{};
    s.batch = n(l.batch), s.height = n(l.height), s.width = n(l.width), s.channels = n(l.channels), s.pool = n(l.pool);
    s.kernel_height = n(l.kernel_height), s.kernel_width = n(l.kernel_width), s.taps = n(l.taps()), s.rows = n(l.rows());
    s.stride_y = n(l.stride_y), s.stride_x = n(l.stride_x), s.pad_y = n(l.pad_y), s.pad_x = n(l.pad_x);
    s.outputs = n(l.outputs), s.steps = n(l.steps), s.cells_y = n(l.cells_y()), s.cells_x = n(l.cells_x());
    s.out_height = n(l.out_height()), s.out_width = n(l.out_width()), s.sites = n(l.sites());
    s.in_tiles = n(tiles_of(l.channels)), s.out_tiles = n(tiles_of(l.outputs)), s.single_site = l.single_site();
    return s;
}

// The place of a site or a cell: its sample and its position in the map.
struct Place {
    int sample, y, x;
};

__device__ inline Place place_of(int number, int height, int width) {
    const int line = number / width;
    return {line / height, line % height, number % width};
}

// Cuts a workspace into arrays, each aligned to 256 bytes.
class Workspace {
 public:
    explicit Workspace(void* base) : base_(static_cast<unsigned char*>(base)) {}

    template <class T>
    T* take(int64_t count) {
        T* const at = reinterpret_cast<T*>(base_ + used_);
        used_ += (count * static_cast<int64_t>(sizeof(T)) + 255) / 256 * 256;
        return at;
    }
    int64_t used() const { return used_; }

 private:
    unsigned char* base_;
    int64_t used_ = 0;
};

}  // namespace firstspike::cuda
