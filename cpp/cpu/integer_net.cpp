// Nets of windows in integers: a layer's positions are rows of values, gathered in panels and multiplied with blocks of columns.
//
// The head of a net, up to its last layer with several sites, takes few samples at a time, whose maps lie in cache; the tail
// takes many, because its weights are large.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "integer_dot.h"
#include "integers.h"
#include "layer/plan.h"
#include "runtime/parallel.h"
#include "runtime/scratch.h"
#include "simd/bytes.h"

namespace firstspike {

namespace {

constexpr int64_t kSlack = 64;  // values behind an array that a copy by 32 bytes may read or write

// Copies `count` values, and up to 31 bytes more.
template <class Value>
void copy(Value* to, const Value* from, int64_t count) {
    constexpr int64_t kChunk = 32 / sizeof(Value);
    for (int64_t i = 0; i < count; i += kChunk) std::memcpy(to + i, from + i, 32);
}

template <class Value>
void add_values(Value* __restrict to, const uint8_t* __restrict from, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<Value>(to[i] + from[i]);
}

// Maps [samples, rows, columns, channels], pooled by sums and with a border of zeros, as `Value`. Their memory is another's where
// nothing had to be done.
template <class Value>
struct Planes {
    int64_t rows, columns, channels;
    const Value* values;
    Buffer<Value> own;

    Planes(const IntegerMap& map, const IntegerInput& in, const uint8_t* levels, int64_t samples)
        : rows(map.height / in.pool + 2 * in.pad_y), columns(map.width / in.pool + 2 * in.pad_x), channels(map.channels) {
        const bool as_it_is = in.pool == 1 && in.pad_y == 0 && in.pad_x == 0 && in.source >= 0;
        if constexpr (std::is_same_v<Value, uint8_t>) {
            values = levels;
            if (as_it_is) return;
        }
        const int64_t plane = rows * columns * channels, high = map.height / in.pool, wide = map.width / in.pool;
        own.reserve(samples * plane + kSlack);
        values = own.data();
        if (in.pool > 1 || in.pad_y > 0 || in.pad_x > 0)
            std::memset(own.data(), 0, static_cast<size_t>(samples * plane) * sizeof(Value));
        for (int64_t s = 0; s < samples; ++s)
            for (int64_t y = 0; y < high; ++y) {
                const uint8_t* from = levels + s * map.units() + y * in.pool * map.width * channels;
                Value* to = own.data() + s * plane + ((y + in.pad_y) * columns + in.pad_x) * channels;
                if (in.pool == 1) {
                    std::copy_n(from, wide * channels, to);
                    continue;
                }
                for (int64_t x = 0; x < wide; ++x, from += in.pool * channels, to += channels)
                    for (int64_t v = 0; v < in.pool; ++v)
                        for (int64_t u = 0; u < in.pool; ++u) add_values(to, from + (v * map.width + u) * channels, channels);
            }
    }

    int64_t units() const { return rows * columns * channels; }

    // The first value of a kernel's place.
    const Value* at(const IntegerInput& in, int64_t sample, int64_t y, int64_t x) const {
        return values + ((sample * rows + y * in.stride_y) * columns + x * in.stride_x) * channels;
    }
};

// What the kernels of `number` positions from `from` on see, a row [rows of all inputs] each.
template <class Value>
void copy_rows(const IntegerLayer& layer, const std::vector<Planes<Value>>& planes, int64_t from, int64_t number, int64_t stride,
               Value* rows) {
    const IntegerMap& out = layer.out;
    int64_t sample = from / (out.height * out.width), y = from / out.width % out.height, x = from % out.width;
    for (const Value* end = rows + number * stride; rows < end; rows += stride) {
        Value* to = rows;
        for (size_t i = 0; i < planes.size(); ++i) {
            const IntegerInput& in = layer.inputs[i];
            const Value* place = planes[i].at(in, sample, y, x);
            const int64_t length = in.kernel_x * planes[i].channels, line = planes[i].columns * planes[i].channels;
            for (int64_t v = 0; v < in.kernel_y; ++v, to += length, place += line) copy(to, place, length);
        }
        if (++x < out.width) continue;
        x = 0;
        if (++y < out.height) continue;
        y = 0;
        ++sample;
    }
}

}  // namespace

// Levels, or a readout's sums, of `count` columns from `first` on.
FIRSTSPIKE_INLINE void IntegerNet::finish(const Stage& stage, const int32_t* sums, int64_t first, int64_t count, uint8_t* levels,
                                          int32_t* sums_out) {
    const auto shift = static_cast<int32_t>(stage.layer.shift);
    const int32_t* offset = stage.layer.offset.data() + first;
    if (stage.layer.steps == 0) {
        for (int64_t c = 0; c < count; ++c) sums_out[c] = (sums[c] << shift) + offset[c];
        return;
    }
    const int32_t *rise = stage.layer.rise.data() + first, *highest = stage.highest.data() + first;
    const float* inverse = stage.inverse.data() + first;
    for (int64_t c = 0; c < count; c += kLanes) {
        const Ints v = (load(sums + c) << shift) + load(offset + c), most = load(highest + c), each = load(rise + c);
        const Ints positive = v > 0 ? v : Ints{}, n = positive < most ? positive : most;
        const Ints a = __builtin_convertvector(__builtin_convertvector(n, Vec) * load(inverse + c), Ints);  // or 1 too low
        narrow_some(levels + c, reinterpret_cast<Words>(a - (n - a * each >= each)), count - c);
    }
}

template <class Value>
void IntegerNet::product(const Stage& stage, const uint8_t* const* sources, int64_t samples, uint8_t* levels,
                         int32_t* sums_out) const {
    const IntegerLayer& layer = stage.layer;
    const IntegerDot& dot = *stage.dot;
    const int64_t outputs = layer.out.channels, groups = dot.groups(stage.rows);
    const int64_t sites = layer.out.height * layer.out.width, positions = samples * sites;
    std::vector<Planes<Value>> planes;
    for (size_t i = 0; i < layer.inputs.size(); ++i)
        planes.emplace_back(map_of(layer.inputs[i].source), layer.inputs[i], sources[i], samples);
    // A kernel as large as its map: a row is a map. What a group reads behind it meets weights of zero.
    const bool in_place = planes.size() == 1 && stage.rows == planes[0].units();
    const int64_t stride = in_place ? stage.rows : groups * dot.together;
    const int64_t panel = in_place ? positions : std::clamp<int64_t>(kPanelValues / stride / dot.rows, 1, 8) * dot.rows;
    Buffer<Value> copied(in_place ? 0 : panel * stride + kSlack);
    const Value* rows = in_place ? planes[0].values : copied.data();
    alignas(64) int32_t sums[kMostDotRows * kMostDotColumns];
    for (int64_t from = 0; from < positions; from += panel) {
        const int64_t number = std::min(panel, positions - from);
        if (!in_place) copy_rows(layer, planes, from, number, stride, copied.data());
        for (int64_t first = 0; first < outputs; first += dot.columns) {
            const int8_t* block = stage.packed.data() + first * groups * 4;
            const int64_t used = std::min(dot.columns, outputs - first);
            for (int64_t p = 0; p < number;) {
                const int64_t together =
                    dot.multiply(rows + p * stride, number - p, stride, groups, stage.most_groups, block, used, sums);
                for (int64_t r = 0; r < together; ++r) {
                    const int64_t out = (from + p + r) * outputs + first;
                    finish(stage, sums + r * dot.columns, first, used, levels + out, sums_out + out);
                }
                p += together;
            }
        }
    }
}

template <class Value>
void IntegerNet::depthwise(const Stage& stage, const uint8_t* source, int64_t samples, uint8_t* levels) const {
    const IntegerLayer& layer = stage.layer;
    const IntegerInput& in = layer.inputs.front();
    const Planes<Value> planes(map_of(in.source), in, source, samples);
    const int64_t channels = layer.out.channels;
    Buffer<int32_t> sums(channels + kLanes);
    for (int64_t s = 0; s < samples; ++s)
        for (int64_t y = 0; y < layer.out.height; ++y)
            for (int64_t x = 0; x < layer.out.width; ++x, levels += channels) {
                std::fill_n(sums.data(), channels, 0);
                const Value* place = planes.at(in, s, y, x);
                const int16_t* weight = layer.weights.data();
                for (int64_t v = 0; v < in.kernel_y; ++v)
                    for (int64_t u = 0; u < in.kernel_x; ++u, weight += channels) {
                        const Value* tap = place + (v * planes.columns + u) * channels;
                        for (int64_t c = 0; c < channels; ++c) sums[c] += int32_t{tap[c]} * weight[c];
                    }
                finish(stage, sums.data(), 0, channels, levels, nullptr);
            }
}

void IntegerNet::largest(const Stage& stage, const uint8_t* source, int64_t samples, uint8_t* levels) const {
    const IntegerMap& out = stage.layer.out;
    const IntegerInput& in = stage.layer.inputs.front();
    const Planes<uint8_t> planes(map_of(in.source), in, source, samples);
    std::memset(levels, 0, static_cast<size_t>(samples * out.units()));
    for (int64_t s = 0; s < samples; ++s)
        for (int64_t y = 0; y < out.height; ++y)
            for (int64_t x = 0; x < out.width; ++x, levels += out.channels)
                for (int64_t v = 0; v < in.kernel_y; ++v)
                    for (int64_t u = 0; u < in.kernel_x; ++u) {
                        const uint8_t* tap = planes.at(in, s, y, x) + (v * planes.columns + u) * out.channels;
                        for (int64_t c = 0; c < out.channels; ++c) levels[c] = std::max(levels[c], tap[c]);
                    }
}

void IntegerNet::run_stage(const Stage& stage, const uint8_t* const* sources, int64_t samples, uint8_t* levels,
                           int32_t* sums) const {
    const IntegerInput& in = stage.layer.inputs.front();
    if (stage.layer.kind == IntegerLayer::Kind::largest)
        largest(stage, sources[0], samples, levels);
    else if (stage.layer.kind == IntegerLayer::Kind::dense)
        stage.dot->of_bytes() ? product<uint8_t>(stage, sources, samples, levels, sums)
                              : product<int16_t>(stage, sources, samples, levels, sums);
    else if (most_of(in.source) * in.pool * in.pool <= 255)
        depthwise<uint8_t>(stage, sources[0], samples, levels);
    else
        depthwise<int16_t>(stage, sources[0], samples, levels);
}

void IntegerNet::run(const uint8_t* levels, int64_t batch, int threads, int32_t* sums) const {
    if (batch == 0) return;
    const int64_t units = input_.units(), outputs = last().out.units();
    const int64_t cut = static_cast<int64_t>(tail_) - 1, before = cut < 0 ? 0 : stages_[static_cast<size_t>(cut)].at;
    // Equal parts, so that the threads end together.
    const int64_t fair = (batch + std::max(threads, 1) - 1) / std::max(threads, 1);
    const int64_t parts = (fair + kTailSamples - 1) / kTailSamples, block = (fair + parts - 1) / parts;
    // The head's maps are large: few samples go through it together. The tail's weights are large: a block's samples do.
    const int64_t few = std::clamp<int64_t>(kHeadLevels / (before + units), 1, block);
    parallel_blocks(batch, block, threads, [&](int64_t first, int64_t samples) {
        Buffer<uint8_t> maps(few * before + kSlack), kept(samples * (levels_ - before) + kSlack);
        // Stages from `from` to `to` on `number` samples from `at` on.
        const auto run_stages = [&](size_t from, size_t to, int64_t at, int64_t number) {
            const auto levels_of = [&](int64_t layer) -> uint8_t* {
                const Stage& stage = stages_[static_cast<size_t>(layer)];
                if (layer < cut) return maps.data() + number * stage.at;
                return layer == cut ? kept.data() + at * stage.layer.out.units() : kept.data() + samples * (stage.at - before);
            };
            for (size_t s = from; s < to; ++s) {
                const uint8_t* sources[2] = {};
                for (size_t i = 0; i < stages_[s].layer.inputs.size(); ++i) {
                    const int64_t source = stages_[s].layer.inputs[i].source;
                    sources[i] = source < 0 ? levels + (first + at) * units : levels_of(source);
                }
                run_stage(stages_[s], sources, number, levels_of(static_cast<int64_t>(s)), sums + (first + at) * outputs);
            }
        };
        for (int64_t at = 0; at < samples && tail_ > 0; at += few) run_stages(0, tail_, at, std::min(few, samples - at));
        run_stages(tail_, stages_.size(), 0, samples);
    });
}

}  // namespace firstspike
