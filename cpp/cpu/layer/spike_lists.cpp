#include "spike_lists.h"

#include <cstring>

#include "../runtime/parallel.h"

namespace firstspike {

namespace {

constexpr int64_t kChunk = 64;  // bytes compared at once
static_assert(kUnitsAtOnce <= kLanes, "a list has room for a vector more than its units");

// Sorts the units of a sample that fire by step; of equal times, in the order of the units.
class Sorter {
 public:
    explicit Sorter(const Layer& layer) : l_(layer), time_(padded()), label_(padded() + 1) {
        uint32_t* label = label_.data();
        for (int64_t y = 0; y < l_.height; ++y)
            for (int64_t x = 0; x < l_.width; ++x)
                for (int64_t c = 0; c < l_.channels; ++c)
                    *label++ = static_cast<uint32_t>((y / l_.pool * l_.kernel_width + x / l_.pool) * l_.channels + c);
        std::fill(time_.data() + l_.units(), time_.data() + padded(), static_cast<uint8_t>(kSilent));
        std::fill(label, label_.data() + padded() + 1, 0u);  // countr_zero(0) is one behind a chunk
    }

    // A list may be written over its end: it has this much room.
    static int64_t room(const Layer& layer) { return layer.units() + kLanes; }

    void sort(const uint8_t* sample, bool compare, uint32_t* begin, uint32_t* row) {
        std::copy_n(sample, l_.units(), time_.data());
        if (l_.cropped()) {
            for (int64_t y = 0; y < l_.height; ++y)
                for (int64_t x = 0; x < l_.width; ++x)
                    if (y / l_.pool >= l_.cells_y() || x / l_.pool >= l_.cells_x())
                        std::fill_n(time_.data() + (y * l_.width + x) * l_.channels, l_.channels, static_cast<uint8_t>(kSilent));
        }
        if (compare)
            sort_by_comparing(begin, row);
        else
            sort_by_counting(begin, row);
    }

 private:
    int64_t padded() const { return (l_.units() + kChunk - 1) / kChunk * kChunk; }

    // Searches for the units of each step.
    void sort_by_comparing(uint32_t* begin, uint32_t* row) const {
        uint32_t n = 0;
        for (int64_t t = 0; t < l_.steps; ++t) {
            begin[t] = n;
            for (int64_t i = 0; i < l_.units(); i += kChunk) {
                uint64_t found = mask_equal_bytes(time_.data() + i, static_cast<uint8_t>(t));
                uint32_t* out = row + n;
                n += static_cast<uint32_t>(std::popcount(found));
                do {  // four at a time, found or not: the end of a loop over each would be poorly predicted
                    for (int k = 0; k < kUnitsAtOnce; ++k, found &= found - 1) *out++ = label_[i + std::countr_zero(found)];
                } while (found);
            }
        }
        begin[l_.steps] = n;
    }

    // The same for many steps: counted, not searched for at every step.
    void sort_by_counting(uint32_t* begin, uint32_t* row) const {
        const auto each_spike = [&](auto&& call) {
            for (int64_t i = 0; i < l_.units(); i += kChunk)
                for (uint64_t found = ~mask_equal_bytes(time_.data() + i, kSilent); found; found &= found - 1)
                    call(i + std::countr_zero(found));
        };
        uint32_t next[kSilent] = {};
        each_spike([&](int64_t i) { ++next[time_[i]]; });
        uint32_t n = 0;
        for (int64_t t = 0; t < l_.steps; ++t) {
            begin[t] = n;
            n += std::exchange(next[t], n);
        }
        begin[l_.steps] = n;
        std::fill(next + l_.steps, next + kSilent, n);  // times past the last step: behind the list
        each_spike([&](int64_t i) { row[next[time_[i]]++] = label_[i]; });
    }

    Layer l_;
    Buffer<uint8_t> time_;    // padded with silence to whole chunks
    Buffer<uint32_t> label_;  // the weight row of each unit
};

}  // namespace

SpikesBySample::SpikesBySample(const Layer& l, const ForwardPlan& plan, const uint8_t* times, int threads)
    : steps_(l.steps), room_(Sorter::room(l)), row_(l.batch * room_), begin_(l.batch * (l.steps + 1)) {
    const int64_t lists = plan.lines_per_list;
    parallel_for((l.batch + lists - 1) / lists, threads, [&](int64_t task) {
        Sorter sorter(l);
        for (int64_t n = task * lists; n < std::min((task + 1) * lists, l.batch); ++n)
            sorter.sort(times + n * l.units(), plan.compare_steps, begin_.data() + n * (steps_ + 1), row_.data() + n * room_);
    });
}

// The network is Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2 M) for any number of units.
SpikesByField::SpikesByField(const Layer& l, const uint8_t* times)
    : layer_(l),
      times_(times),
      units_(l.rows() * l.pool * l.pool),
      sites_((l.out_width() + kSitesAtOnce - 1) / kSitesAtOnce * kSitesAtOnce),
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
    for (int64_t first = 0; first < layer_.out_width(); first += kSitesAtOnce, key += units_) {
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
