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
    return {n(l.batch),
            n(l.height),
            n(l.width),
            n(l.channels),
            n(l.pool),
            n(l.kernel_height),
            n(l.kernel_width),
            n(l.stride_y),
            n(l.stride_x),
            n(l.pad_y),
            n(l.pad_x),
            n(l.outputs),
            n(l.steps),
            n(l.cells_y()),
            n(l.cells_x()),
            n(l.out_height()),
            n(l.out_width()),
            n(l.sites()),
            n(l.taps()),
            n(l.rows()),
            n(tiles_of(l.channels)),
            n(tiles_of(l.outputs)),
            l.single_site()};
}

// A site's place: its sample and its position in the map.
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
