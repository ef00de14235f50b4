#include "spikes_by_field.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace firstspike {

// The network is Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2 M) for any number of units.
SpikesByField::SpikesByField(const Layer& l, const uint8_t* times)
    : layer_(l),
      times_(times),
      units_(l.rows() * l.pool * l.pool),
      sites_((l.out_width() + kSites - 1) / kSites * kSites),
      apart_(l.stride_x * l.pool),
      lead_((l.pad_x * l.pool + apart_ - 1) / apart_),
      plane_(sites_ + lead_ + l.kernel_width * l.pool / apart_),
      planes_(l.kernel_height * l.pool * apart_ * l.channels * plane_),
      from_(units_),
      row_(units_),
      key_(sites_ * units_),
      before_(sites_ * (l.steps + 1)) {
    const int n = static_cast<int>(units_);
    const int half = static_cast<int>(std::bit_ceil(static_cast<unsigned>(n)) / 2);
    for (int p = half; p > 0; p /= 2)
        for (int q = half, r = 0, d = p;; d = q - p, q /= 2, r = p) {
            for (int i = 0; i + d < n; ++i)
                if ((i & p) == r) network_.push_back({i, i + d});
            if (q == p) break;
        }
    std::fill_n(planes_.data(), l.kernel_height * l.pool * apart_ * l.channels * plane_, static_cast<uint8_t>(kSilent));
    int64_t unit = 0;
    for (int64_t y = 0; y < l.kernel_height * l.pool; ++y)
        for (int64_t x = 0; x < l.kernel_width * l.pool; ++x)
            for (int64_t c = 0; c < l.channels; ++c, ++unit) {
                const int64_t column = lead_ * apart_ - l.pad_x * l.pool + x;
                from_[unit] = ((y * apart_ + column % apart_) * l.channels + c) * plane_ + column / apart_;
                row_[unit] = static_cast<uint16_t>((y / l.pool * l.kernel_width + x / l.pool) * l.channels + c);
            }
}

void SpikesByField::deal(const uint8_t* sample, int64_t y) {
    const Layer& l = layer_;
    const int64_t columns = std::min(l.cells_x() * l.pool, (plane_ - lead_) * apart_);
    uint8_t* plane = planes_.data();
    for (int64_t dy = 0; dy < l.kernel_height * l.pool; ++dy) {
        const int64_t unit_y = l.top(y) * l.pool + dy;
        const bool inside = unit_y >= 0 && unit_y < l.cells_y() * l.pool;
        const uint8_t* line = sample + (inside ? unit_y * l.width * l.channels : 0);
        for (int64_t first = 0; first < apart_; ++first)
            for (int64_t c = 0; c < l.channels; ++c, plane += plane_) {
                if (!inside)
                    std::memset(plane, kSilent, static_cast<size_t>(plane_));
                else if (apart_ * l.channels == 1)
                    std::memcpy(plane + lead_, line, static_cast<size_t>(columns));
                else
                    for (int64_t x = first, i = lead_; x < columns; x += apart_) plane[i++] = line[x * l.channels + c];
            }
    }
}

void SpikesByField::gather(int64_t first_site, SiteNumbers* key) const {
    for (int64_t unit = 0; unit < units_; ++unit) {
        SiteBytes times;
        std::memcpy(&times, planes_.data() + from_[unit] + first_site, sizeof(times));
        key[unit] = __builtin_convertvector(times, SiteNumbers) << 8 | row_[unit];
    }
}

void SpikesByField::build(int64_t sample, int64_t y) {
    deal(times_ + sample * layer_.units(), y);
    auto* key = reinterpret_cast<SiteNumbers*>(key_.data());
    auto* before = reinterpret_cast<SiteNumbers*>(before_.data());
    for (int64_t first = 0; first < layer_.out_width(); first += kSites, key += units_) {
        gather(first, key);
        for (const auto [low, high] : network_) {
            const SiteNumbers a = key[low], b = key[high];
            key[low] = a < b ? a : b;
            key[high] = a < b ? b : a;
        }
        for (int64_t t = 0; t <= layer_.steps; ++t) {
            SiteNumbers count = {};
            for (int64_t i = 0; i < units_; ++i) count -= key[i] < static_cast<uint16_t>(t << 8);
            *before++ = count;
        }
    }
}

}  // namespace firstspike
