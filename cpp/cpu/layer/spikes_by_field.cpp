#include "spikes_by_field.h"

#include <algorithm>
#include <bit>

namespace firstspike {

// The network is Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2 M) for any number of units.
SpikesByField::SpikesByField(const Layer& l, const uint8_t* times)
    : layer_(l),
      times_(times),
      units_(l.rows() * l.pool * l.pool),
      label_(units_),
      row_(l.out_width() * units_),
      begin_(l.out_width() * (l.steps + 1)) {
    const int n = static_cast<int>(units_);
    const int half = static_cast<int>(std::bit_ceil(static_cast<unsigned>(n)) / 2);
    for (int p = half; p > 0; p /= 2)
        for (int q = half, r = 0, d = p;; d = q - p, q /= 2, r = p) {
            for (int i = 0; i + d < n; ++i)
                if ((i & p) == r) network_.push_back({i, i + d});
            if (q == p) break;
        }
    uint32_t* label = label_.data();
    for (int64_t y = 0; y < l.kernel_height * l.pool; ++y)
        for (int64_t x = 0; x < l.kernel_width * l.pool; ++x)
            for (int64_t c = 0; c < l.channels; ++c)
                *label++ = static_cast<uint32_t>((y / l.pool * l.kernel_width + x / l.pool) * l.channels + c);
}

void SpikesByField::gather(const uint8_t* sample, int64_t y, int64_t first_site) {
    const Layer& l = layer_;
    const int64_t apart = l.stride_x * l.pool;  // columns from one site's field to the next one's
    const int64_t top = l.top(y) * l.pool;
    const int64_t last_site = std::min(first_site + kSites, l.out_width());
    auto* key = key_.data();
    int unit = 0;
    for (int64_t dy = 0; dy < l.kernel_height * l.pool; ++dy)
        for (int64_t dx = 0; dx < l.kernel_width * l.pool; ++dx) {
            const int64_t left = dx - l.pad_x * l.pool;  // this column of site 0
            const bool inside = top + dy >= 0 && top + dy < l.cells_y() * l.pool;
            // The sites at which the column lies on the map.
            const int64_t from = std::max(first_site, left < 0 ? (-left + apart - 1) / apart : 0);
            const int64_t room = l.cells_x() * l.pool - left;
            const int64_t to = inside && room > 0 ? std::min(last_site, (room + apart - 1) / apart) : from;
            for (int64_t c = 0; c < l.channels; ++c, ++unit, ++key) {
                const auto silent = static_cast<uint16_t>(kSilent << 8 | unit);
                SiteNumbers numbers = SiteNumbers{} + silent;
                const uint8_t* times = sample + ((top + dy) * l.width + left) * l.channels + c;
                for (int64_t x = from; x < to; ++x)
                    numbers[x - first_site] = static_cast<uint16_t>(times[x * apart * l.channels] << 8 | unit);
                *key = numbers;
            }
        }
}

void SpikesByField::build(int64_t sample, int64_t y) {
    const int64_t steps = layer_.steps;
    uint32_t *const row = row_.data(), *const begin = begin_.data();
    for (int64_t first = 0; first < layer_.out_width(); first += kSites) {
        const int64_t sites = std::min<int64_t>(kSites, layer_.out_width() - first);
        gather(times_ + sample * layer_.units(), y, first);
        for (const auto [low, high] : network_) {
            const SiteNumbers a = key_[low], b = key_[high];
            key_[low] = a < b ? a : b;
            key_[high] = a < b ? b : a;
        }
        for (int64_t i = 0; i < units_; ++i)
            for (int64_t x = 0; x < sites; ++x) row[(first + x) * units_ + i] = label_[key_[i][x] & 0xff];
        for (int64_t t = 0; t <= steps; ++t) {
            SiteNumbers before = {};
            for (int64_t i = 0; i < units_; ++i) before -= key_[i] < static_cast<uint16_t>(t << 8);
            for (int64_t x = 0; x < sites; ++x) begin[(first + x) * (steps + 1) + t] = before[x];
        }
    }
}

}  // namespace firstspike
