#include "event_lines.h"

#include <algorithm>

namespace firstspike {

namespace {

constexpr int64_t kSamplesPerLine = 32;

// The weight rows of units that are gathered row by row of the map, then by column, then by channel.
void label_units(const Layer& l, int64_t height, int64_t width, uint32_t* label) {
    for (int64_t y = 0; y < height; ++y)
        for (int64_t x = 0; x < width; ++x)
            for (int64_t c = 0; c < l.channels; ++c) {
                const int64_t tap = y / l.pool * l.kernel_width + x / l.pool;
                *label++ = static_cast<uint32_t>(tap * l.channels + c);
            }
}

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
    if (layer.single_site()) {
        sample_ = std::make_unique<UnitSort>(layer.units(), layer.steps);
        label_units(layer, layer.height, layer.width, sample_->labels());
        row_stride_ = sample_->room();
    } else {
        fields_ = std::make_unique<FieldSort>(layer);
        row_stride_ = FieldSort::units(layer);
        label_.reserve(row_stride_);
        label_units(layer, layer.kernel_height * layer.pool, layer.kernel_width * layer.pool, label_.data());
    }
    const int64_t most = layer.single_site() ? kSamplesPerLine : layer.out_width();
    row_.reserve(most * row_stride_);
    begin_.reserve(most * (layer.steps + 1));
}

void EventLines::build(int64_t line) {
    const Layer& l = layer_;
    if (l.single_site()) return build_samples(line);
    fields_->sort_row(times_ + line / l.out_height() * l.units(), line % l.out_height(), label_.data(), row_.data(), row_stride_,
                      begin_.data());
}

void EventLines::build_samples(int64_t line) {
    const Layer& l = layer_;
    const bool cropped = l.height % l.pool != 0 || l.width % l.pool != 0;
    for (int64_t i = 0; i < sites(l, line); ++i) {
        uint8_t* const units = sample_->times();
        std::copy_n(times_ + (line * kSamplesPerLine + i) * l.units(), l.units(), units);
        if (cropped) {  // units outside the last whole window reach nothing
            for (int64_t y = 0; y < l.height; ++y)
                for (int64_t x = 0; x < l.width; ++x)
                    if (y / l.pool >= l.cells_y() || x / l.pool >= l.cells_x())
                        std::fill_n(units + (y * l.width + x) * l.channels, l.channels, static_cast<uint8_t>(kSilent));
        }
        sample_->sort(begin_.data() + i * (l.steps + 1), row_.data() + i * row_stride_);
    }
}

}  // namespace firstspike
