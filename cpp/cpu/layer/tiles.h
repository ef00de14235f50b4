// How the neurons of a site are cut into tiles.
#pragma once

#include <algorithm>
#include <type_traits>

#include "../runtime/scratch.h"
#include "../simd/vector.h"

namespace firstspike {

// A tile: up to kTileVecs vectors of neighbouring neurons of a site, held in registers over all steps: 64 neurons, but 16 where a
// vector has four lanes.
constexpr int kTileVecs = kLanes > 4 ? 64 / kLanes : 4;
constexpr int kTile = kTileVecs * kLanes;

// Neurons 0..count-1 in tiles of kTile; the last one is as many vectors wide as it needs.
struct Tiles {
    int64_t count;

    int64_t number() const { return (count + kTile - 1) / kTile; }
    // Vectors of tile i.
    int vectors(int64_t i) const {
        const int64_t left = (count - i * kTile + kLanes - 1) / kLanes;
        return static_cast<int>(left < kTileVecs ? left : kTileVecs);
    }
    // Neurons of tile i, without the padding.
    int used(int64_t i) const {
        const int64_t left = count - i * kTile;
        return static_cast<int>(left < kTile ? left : kTile);
    }
    // All lanes, padding included.
    int64_t padded() const { return (count + kLanes - 1) / kLanes * kLanes; }
};

// One value per output, as the tiles read them: zeros in the padding, behind the last value, and where there are none.
class PaddedRow {
 public:
    PaddedRow(const float* values, int64_t count, int64_t outputs) : data_(Tiles{outputs}.padded()) {
        std::fill_n(data_.data(), Tiles{outputs}.padded(), 0.0f);
        if (values) std::copy_n(values, count, data_.data());
    }
    const float* tile(int64_t i) const { return data_.data() + i * kTile; }

 private:
    Buffer<float> data_;
};

// Calls f with a number from 1 to `Most` as a compile-time constant.
template <int Most, class F>
inline void with_number(int number, F&& f) {
    if constexpr (Most > 1)
        if (number < Most) return with_number<Most - 1>(number, f);
    f(std::integral_constant<int, Most>{});
}

// The same with the number of vectors of a tile.
template <class F>
inline void with_vectors(int vectors, F&& f) {
    with_number<kTileVecs>(vectors, f);
}

}  // namespace firstspike
