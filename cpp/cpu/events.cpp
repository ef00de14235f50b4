#include "events.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "vector.h"

namespace firstspike {

namespace {
constexpr int64_t kSamplesPerLine = 16;
constexpr int64_t kChunk = 64;          // bytes compared at once
constexpr int64_t kFewSteps = 16;
constexpr int kAtOnce = 4;              // units of a chunk listed at once
static_assert(kAtOnce <= kLanes, "a list has room for a vector more than its units");

int64_t padded(int64_t units) { return (units + kChunk - 1) / kChunk * kChunk; }
}  // namespace

int64_t EventLines::lines(const Layer& layer) {
    return layer.single_site() ? (layer.batch + kSamplesPerLine - 1) / kSamplesPerLine : layer.batch * layer.out_height();
}

int64_t EventLines::first_site(const Layer& layer, int64_t line) {
    return line * (layer.single_site() ? kSamplesPerLine : layer.out_width());
}

int64_t EventLines::sites(const Layer& layer, int64_t line) {
    return layer.single_site() ? std::min(kSamplesPerLine, layer.batch - line * kSamplesPerLine) : layer.out_width();
}

EventLines::EventLines(const Layer& layer, const uint8_t* times) : layer_(layer), times_(times) {
    const int64_t window = layer.pool * layer.pool, cell_units = window * layer.channels;
    const int64_t field_units = FieldSort::units(layer);
    method_ = layer.single_site() ? Method::whole_sample : field_units <= FieldSort::kMostUnits ? Method::field : Method::cells;
    const int64_t sorted = method_ == Method::whole_sample ? layer.units() : method_ == Method::field ? field_units : cell_units;
    label_.reserve(padded(sorted) + 1);  // countr_zero(0) is one behind a chunk
    std::fill(label_.data() + sorted, label_.data() + padded(sorted) + 1, 0u);
    if (method_ == Method::field) {
        fields_ = std::make_unique<FieldSort>(layer);
    } else {
        units_.reserve(padded(sorted));
        std::fill(units_.data() + sorted, units_.data() + padded(sorted), static_cast<uint8_t>(kSilent));
    }

    // Labels in the order in which the units are gathered: rows of units, then columns, then channels.
    uint32_t* label = label_.data();
    if (method_ == Method::cells) {
        for (int64_t i = 0; i < cell_units; ++i) label[i] = static_cast<uint32_t>(i % layer.channels);
        const int64_t cells = layer.cells_y() * layer.cells_x();
        cell_stride_ = cell_units + kLanes;
        cell_row_.reserve(cells * cell_stride_);
        cell_begin_.reserve(cells * (layer.steps + 1));
        column_stride_ = cell_units * layer.kernel_height + kLanes;
        column_row_.reserve(layer.cells_x() * column_stride_);
        column_begin_.reserve(layer.cells_x() * (layer.steps + 1));
        cell_row_of_.assign(static_cast<size_t>(layer.cells_y()), -1);
    } else {
        const int64_t height = method_ == Method::field ? layer.kernel_height * layer.pool : layer.height;
        const int64_t width = method_ == Method::field ? layer.kernel_width * layer.pool : layer.width;
        for (int64_t y = 0; y < height; ++y)
            for (int64_t x = 0; x < width; ++x)
                for (int64_t c = 0; c < layer.channels; ++c) {
                    const int64_t tap = y / layer.pool * layer.kernel_width + x / layer.pool;
                    *label++ = static_cast<uint32_t>(tap * layer.channels + c);
                }
    }
    const int64_t most = std::max(layer.single_site() ? kSamplesPerLine : 0, layer.out_width());
    row_stride_ = (method_ == Method::whole_sample ? layer.units() : field_units) + kLanes;
    row_.reserve(most * row_stride_);
    begin_.reserve(most * (layer.steps + 1));
}

// Sorts the gathered units by step; equal steps keep their order.
void EventLines::sort_units(int64_t units, uint32_t* begin, uint32_t* row) {
    if (layer_.steps > kFewSteps) return count_units(units, begin, row);
    uint32_t n = 0;
    for (int64_t t = 0; t < layer_.steps; ++t) {
        begin[t] = n;
        for (int64_t i = 0; i < units; i += kChunk) {
            uint64_t found = mask_equal_bytes(units_.data() + i, static_cast<uint8_t>(t));
            uint32_t* out = row + n;
            n += static_cast<uint32_t>(std::popcount(found));
            do {  // four at a time, found or not: the end of a loop over each would be hard to foresee
                for (int k = 0; k < kAtOnce; ++k, found &= found - 1) *out++ = label_[i + std::countr_zero(found)];
            } while (found);
        }
    }
    begin[layer_.steps] = n;
}

// The same for many steps: counted, not searched for at every step.
void EventLines::count_units(int64_t units, uint32_t* begin, uint32_t* row) {
    const auto each_spike = [&](auto&& call) {
        for (int64_t i = 0; i < units; i += kChunk)
            for (uint64_t found = ~mask_equal_bytes(units_.data() + i, kSilent); found; found &= found - 1)
                call(i + std::countr_zero(found));
    };
    uint32_t next[kSilent] = {};
    each_spike([&](int64_t i) { ++next[units_[i]]; });
    uint32_t n = 0;
    for (int64_t t = 0; t < layer_.steps; ++t) {
        begin[t] = n;
        n += std::exchange(next[t], n);
    }
    begin[layer_.steps] = n;
    std::fill(next + layer_.steps, next + kSilent, n);  // times past the last step: behind the list
    each_spike([&](int64_t i) { row[next[units_[i]]++] = label_[i]; });
}

void EventLines::build(int64_t line) {
    const Layer& l = layer_;
    if (method_ == Method::whole_sample) {
        const bool cropped = l.height % l.pool != 0 || l.width % l.pool != 0;
        for (int64_t i = 0; i < sites(l, line); ++i) {
            const uint8_t* from = times_ + (line * kSamplesPerLine + i) * l.units();
            std::copy_n(from, l.units(), units_.data());
            if (cropped) {  // units outside the last whole window reach nothing
                for (int64_t y = 0; y < l.height; ++y)
                    for (int64_t x = 0; x < l.width; ++x)
                        if (y / l.pool >= l.cells_y() || x / l.pool >= l.cells_x())
                            std::fill_n(units_.data() + (y * l.width + x) * l.channels, l.channels, static_cast<uint8_t>(kSilent));
            }
            sort_units(l.units(), begin_.data() + i * (l.steps + 1), row_.data() + i * row_stride_);
        }
        return;
    }
    const int64_t sample = line / l.out_height(), y = line % l.out_height();
    if (method_ == Method::field) {
        fields_->sort_row(times_ + sample * l.units(), y, label_.data(), row_.data(), row_stride_, begin_.data());
        return;
    }
    const int64_t top = y * l.stride_y - l.pad_y;
    for (int64_t ky = std::max<int64_t>(top, 0); ky < std::min(top + l.kernel_height, l.cells_y()); ++ky)
        if (cell_row_of_[static_cast<size_t>(ky)] != sample) build_cell_row(sample, ky);
    for (int64_t x = 0; x < l.cells_x(); ++x) join_column(y, x);
    for (int64_t x = 0; x < l.out_width(); ++x) join_site(x);
}

void EventLines::build_cell_row(int64_t sample, int64_t cell_y) {
    const Layer& l = layer_;
    const int64_t wide = l.pool * l.channels, cell_units = l.pool * wide;
    for (int64_t cell_x = 0; cell_x < l.cells_x(); ++cell_x) {
        for (int64_t dy = 0; dy < l.pool; ++dy) {
            const int64_t unit_y = cell_y * l.pool + dy;
            std::copy_n(times_ + ((sample * l.height + unit_y) * l.width + cell_x * l.pool) * l.channels, wide,
                        units_.data() + dy * wide);
        }
        const int64_t cell = cell_y * l.cells_x() + cell_x;
        sort_units(cell_units, cell_begin_.data() + cell * (l.steps + 1), cell_row_.data() + cell * cell_stride_);
    }
    cell_row_of_[static_cast<size_t>(cell_y)] = sample;
}

void EventLines::join_column(int64_t y, int64_t cell_x) {
    const Layer& l = layer_;
    parts_.clear();
    for (int64_t ky = 0; ky < l.kernel_height; ++ky) {
        const int64_t cell_y = y * l.stride_y - l.pad_y + ky, cell = cell_y * l.cells_x() + cell_x;
        if (cell_y < 0 || cell_y >= l.cells_y()) continue;
        parts_.push_back({{cell_row_.data() + cell * cell_stride_, cell_begin_.data() + cell * (l.steps + 1)},
                          static_cast<uint32_t>(ky * l.kernel_width * l.channels)});
    }
    join(column_begin_.data() + cell_x * (l.steps + 1), column_row_.data() + cell_x * column_stride_);
}

void EventLines::join_site(int64_t x) {
    const Layer& l = layer_;
    parts_.clear();
    for (int64_t kx = 0; kx < l.kernel_width; ++kx) {
        const int64_t cell_x = x * l.stride_x - l.pad_x + kx;
        if (cell_x < 0 || cell_x >= l.cells_x()) continue;
        parts_.push_back({{column_row_.data() + cell_x * column_stride_, column_begin_.data() + cell_x * (l.steps + 1)},
                          static_cast<uint32_t>(kx * l.channels)});
    }
    join(begin_.data() + x * (l.steps + 1), row_.data() + x * row_stride_);
}

// Joins lists step by step; the copies run over by up to a vector, into what comes next.
void EventLines::join(uint32_t* begin, uint32_t* row) const {
    uint32_t n = 0;
    for (int64_t t = 0; t < layer_.steps; ++t) {
        begin[t] = n;
        for (const auto& [list, first_row] : parts_) {
            const uint32_t from = list.begin[t], count = list.begin[t + 1] - from;
            for (uint32_t k = 0; k < count; k += kLanes)
                *reinterpret_cast<Words*>(row + n + k) = *reinterpret_cast<const Words*>(list.row + from + k) + first_row;
            n += count;
        }
    }
    begin[layer_.steps] = n;
}

}  // namespace firstspike
