#include "integers.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "../core/processor.h"
#include "runtime/parallel.h"
#include "runtime/scratch.h"
#include "simd/bytes.h"

namespace firstspike {

namespace {

constexpr int64_t kMostUnits = int64_t{1} << 24;    // of a map
constexpr int64_t kMostWeights = int64_t{1} << 31;  // of a layer
constexpr int64_t kMostLevels = int64_t{1} << 28;   // of all layers, of one sample
constexpr int64_t kHeadLevels = int64_t{1} << 18;   // of the head's maps but the last, of all its samples: a cache's
constexpr int64_t kTailSamples = 64;                // in the tail together, at most
constexpr int64_t kPanelValues = int64_t{1} << 15;  // of the positions that are multiplied together
constexpr int64_t kSlack = 64;                      // values behind an array that a copy by 32 bytes may read or write

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("a layer of integers: " + what); }

int64_t rows_of(const IntegerMap& from, const IntegerInput& in) { return in.kernel_y * in.kernel_x * from.channels; }

constexpr int64_t kNoLimit = int64_t{1} << 62;  // `IntegerNet::add` sees to it that sums fit 32 bits

// Products of `kTogether` values with `kTogether` weights of each of kColumns columns, added to parts of their sums, in two
// vectors. kRows: positions whose parts stay in registers. kMost: a part holds sums from -kMost to kMost - 1 and is then widened
// to 32 bits.
#if defined(__x86_64__) && defined(__AVX512DQ__)
// A processor of x86-64-v4 may lack VNNI, so the compiler is not told of it.
struct VnniBytes {
    using Value = uint8_t;
    using Vector = __m512i;
    static constexpr int kTogether = 4, kColumns = 32, kRows = 12;
    static constexpr int64_t kMost = kNoLimit;
    static Vector load(const void* from) { return _mm512_loadu_si512(from); }
    static void store(int32_t* sums, Vector v) { _mm512_storeu_si512(sums, v); }
    static Vector repeat(int32_t values) { return _mm512_set1_epi32(values); }
    static Vector widen(Vector part) { return part; }
    static Vector plus(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
    static Vector add(Vector sum, Vector values, Vector weights) {
        __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(values), "v"(weights));
        return sum;
    }
};
struct VnniWords : VnniBytes {
    using Value = int16_t;
    static constexpr int kTogether = 2;
    static Vector add(Vector sum, Vector values, Vector weights) {
        __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(values), "v"(weights));
        return sum;
    }
};
bool has_vnni() {
    static const bool has = this_processor().vnni;
    return has;
}
#else
constexpr bool has_vnni() { return false; }
#endif
#if defined(__AVX2__)
struct WideBytes {  // a part has 16 bits: values up to 127, of which two products fit
    using Value = uint8_t;
    using Vector = __m256i;
    static constexpr int kTogether = 4, kColumns = 16, kRows = 4;
    static constexpr int64_t kMost = int64_t{1} << 15;
    static Vector load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
    static void store(int32_t* sums, Vector v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), v); }
    static Vector repeat(int32_t values) { return _mm256_set1_epi32(values); }
    static Vector widen(Vector part) { return _mm256_madd_epi16(part, _mm256_set1_epi16(1)); }
    static Vector plus(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
    static Vector add(Vector part, Vector values, Vector weights) {
        const Vector products = _mm256_maddubs_epi16(values, weights);
        __asm__("vpaddw %1, %0, %0" : "+x"(part) : "x"(products));  // in place: compilers move the parts about
        return part;
    }
};
struct WideWords : WideBytes {
    using Value = int16_t;
    static constexpr int kTogether = 2;
    static constexpr int64_t kMost = kNoLimit;
    static Vector widen(Vector part) { return part; }
    static Vector add(Vector part, Vector values, Vector weights) {
        const Vector products = _mm256_madd_epi16(values, weights);
        __asm__("vpaddd %1, %0, %0" : "+x"(part) : "x"(products));
        return part;
    }
};
#endif
struct PlainWords {
    using Value = int16_t;
    typedef int32_t Vector __attribute__((vector_size(16)));
    static constexpr int kTogether = 2, kColumns = 8, kRows = 4;
    static constexpr int64_t kMost = kNoLimit;
    static Vector load(const void* from) {
        Vector v;
        std::memcpy(&v, from, sizeof v);
        return v;
    }
    static void store(int32_t* sums, Vector v) { std::memcpy(sums, &v, sizeof v); }
    static Vector repeat(int32_t values) { return Vector{} + values; }
    static Vector widen(Vector part) { return part; }
    static Vector plus(Vector a, Vector b) { return a + b; }
    static Vector add(Vector sum, Vector values, Vector weights) {
#if defined(__SSE2__)
        return sum +
               reinterpret_cast<Vector>(_mm_madd_epi16(reinterpret_cast<__m128i>(values), reinterpret_cast<__m128i>(weights)));
#else
        for (int i = 0; i < 4; ++i)
            sum[i] += static_cast<int16_t>(values[i]) * static_cast<int16_t>(weights[i]) + (values[i] >> 16) * (weights[i] >> 16);
        return sum;
#endif
    }
};

// Calls run.operator()<Dot>() with what this processor multiplies bytes, or 16 bits, with.
template <class Run>
auto with_dot(bool bytes, Run&& run) {
#if defined(__x86_64__) && defined(__AVX512DQ__)
    if (has_vnni()) return bytes ? run.template operator()<VnniBytes>() : run.template operator()<VnniWords>();
#endif
#if defined(__AVX2__)
    return bytes ? run.template operator()<WideBytes>() : run.template operator()<WideWords>();
#else
    (void)bytes;
    return run.template operator()<PlainWords>();
#endif
}

int64_t most_of_bytes() {
#if defined(__AVX2__)
    return has_vnni() ? 255 : 127;
#else
    return -1;
#endif
}

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

// Sums [R, kColumns] of R rows [groups of kTogether values], `stride` values apart, with one block of columns. With one of its
// two vectors, kVectors: of the block's first half alone. A part takes `most` groups.
template <class Dot, int R, int kVectors>
void multiply(const typename Dot::Value* rows, int64_t stride, int64_t groups, int64_t most, const int8_t* packed,
              int32_t* sums) {
    using Vector = typename Dot::Vector;
    constexpr int kBytes = sizeof(Vector);
    for (int64_t from = 0; from < groups; from += most) {
        Vector part[R][kVectors] = {};
        const int64_t end = std::min(from + most, groups);
        for (int64_t g = from; g < end; ++g, packed += 2 * kBytes, rows += Dot::kTogether) {
            Vector weights[kVectors];
            unrolled<kVectors>(FIRSTSPIKE_BODY(v) { weights[v] = Dot::load(packed + v * kBytes); });
            unrolled<R>(FIRSTSPIKE_BODY(r) {
                int32_t together;
                std::memcpy(&together, rows + r * stride, sizeof together);
                const Vector values = Dot::repeat(together);
                unrolled<kVectors>(FIRSTSPIKE_BODY(v) { part[r][v] = Dot::add(part[r][v], values, weights[v]); });
            });
        }
        unrolled<R>(FIRSTSPIKE_BODY(r) {
            unrolled<kVectors>(FIRSTSPIKE_BODY(v) {
                int32_t* to = sums + r * Dot::kColumns + v * Dot::kColumns / 2;
                const Vector sum = Dot::widen(part[r][v]);
                Dot::store(to, from == 0 ? sum : Dot::plus(Dot::load(to), sum));
            });
        });
    }
}

}  // namespace

void IntegerNet::add(const IntegerLayer& layer) {
    using Kind = IntegerLayer::Kind;
    if (!stages_.empty() && stages_.back().layer.steps == 0) refuse("none may follow a readout");
    const auto in_range = [](const char* name, int64_t value, int64_t low, int64_t high) {
        if (value < low || value > high)
            refuse(std::string(name) + " must be from " + std::to_string(low) + " to " + std::to_string(high) + ", got " +
                   std::to_string(value));
    };
    const auto check_map = [&](const IntegerMap& map) {
        for (const int64_t size : {map.height, map.width, map.channels}) in_range("each size of a map", size, 1, kMostUnits);
        in_range("the units of a row", map.width * map.channels, 1, kMostUnits);
        in_range("the units of a map", map.units(), 1, kMostUnits);
    };
    check_map(input_);
    check_map(layer.out);
    in_range("steps", layer.steps, layer.kind == Kind::dense ? 0 : 1, 255);
    in_range("shift", layer.shift, 0, 30);
    in_range("the number of inputs", static_cast<int64_t>(layer.inputs.size()), 1, layer.kind == Kind::dense ? 2 : 1);
    int64_t rows = 0, most = 0;
    std::vector<int64_t> most_of_row;  // the largest value of each row
    for (const IntegerInput& in : layer.inputs) {
        in_range("source", in.source, -1, static_cast<int64_t>(stages_.size()) - 1);
        const IntegerMap& from = map_of(in.source);
        for (const int64_t size : {in.pool, in.kernel_y, in.kernel_x, in.stride_y, in.stride_x})
            in_range("each size of a kernel", size, 1, kMostUnits);
        for (const int64_t pad : {in.pad_y, in.pad_x}) in_range("the padding", pad, 0, 4096);
        in_range("pool", in.pool, 1, layer.kind == Kind::largest ? 1 : 181);
        const int64_t high = from.height / in.pool + 2 * in.pad_y, wide = from.width / in.pool + 2 * in.pad_x;
        in_range("the kernel's height", in.kernel_y, 1, high);
        in_range("the kernel's width", in.kernel_x, 1, wide);
        in_range("the units of a padded map", high * wide * from.channels, 1, kMostLevels);
        if (layer.out.height != (high - in.kernel_y) / in.stride_y + 1 ||
            layer.out.width != (wide - in.kernel_x) / in.stride_x + 1)
            refuse("its map does not fit its input's");
        const int64_t value = most_of(in.source) * in.pool * in.pool;
        in_range("the largest sum of a pool", value, 0, SHRT_MAX);
        most = std::max(most, value);
        rows += rows_of(from, in);
        in_range("the rows", rows, 1, kMostWeights);
        if (layer.kind != Kind::dense && from.channels != layer.out.channels) refuse("it must keep its channels");
        most_of_row.resize(static_cast<size_t>(rows), value);
    }
    const int64_t outputs = layer.out.channels, columns = layer.kind == Kind::depthwise ? 1 : rows;
    if (layer.kind == Kind::depthwise) rows /= outputs;
    const int64_t weights = layer.kind == Kind::largest ? 0 : layer.kind == Kind::depthwise ? rows * outputs : outputs * columns;
    in_range("the weights", weights, 0, kMostWeights);
    const int64_t neurons = layer.kind == Kind::largest ? 0 : outputs;
    const auto of_size = [](const char* name, size_t size, int64_t wanted) {
        if (static_cast<int64_t>(size) != wanted) refuse(std::string(name) + " has the wrong size");
    };
    of_size("weights", layer.weights.size(), weights);
    of_size("offset", layer.offset.size(), neurons);
    of_size("rise", layer.rise.size(), layer.steps == 0 ? 0 : neurons);
    for (const int32_t rise : layer.rise) in_range("rise times steps", rise * (layer.steps + 2), layer.steps + 2, INT_MAX);
    bool bytes = most <= most_of_bytes();
    for (int64_t o = 0; o < neurons; ++o) {
        int64_t sum = 0;
        for (int64_t r = 0; r < rows; ++r) {
            const bool deep = layer.kind == Kind::depthwise;
            const int weight = layer.weights[static_cast<size_t>(deep ? r * outputs + o : o * rows + r)];
            bytes &= weight == static_cast<int8_t>(weight);
            sum += std::abs(weight) * (deep ? most : most_of_row[static_cast<size_t>(r)]);
        }
        const int64_t offset = std::abs(int64_t{layer.offset[static_cast<size_t>(o)]});
        in_range("the largest sum", (std::min<int64_t>(sum, INT_MAX) << layer.shift) + offset, 0, INT_MAX);
    }
    in_range("the units of all layers", levels_ + layer.out.units(), 1, kMostLevels);
    Stage stage{layer, bytes, rows, 0, {}, {}, {}, levels_};
    levels_ += layer.out.units();
    const auto padded = static_cast<size_t>((neurons + kLanes - 1) / kLanes * kLanes);
    stage.layer.offset.resize(padded, 0);
    if (layer.steps > 0) {
        stage.layer.rise.resize(padded, 1);
        for (const int32_t rise : stage.layer.rise) {
            stage.inverse.push_back((1 - 0x1p-21f) / static_cast<float>(rise));
            stage.highest.push_back(rise * static_cast<int32_t>(layer.steps));
        }
    }
    if (layer.kind == Kind::dense)
        with_dot(stage.bytes, [&]<class Dot>() {
            constexpr int64_t kColumns = Dot::kColumns, kTogether = Dot::kTogether, kSize = 4 / kTogether;
            stage.most_groups = Dot::kMost / (2 * 128 * most);
            const int64_t blocks = (outputs + kColumns - 1) / kColumns, groups = (rows + kTogether - 1) / kTogether;
            stage.packed.assign(static_cast<size_t>(blocks * groups * kColumns * 4), 0);
            for (int64_t o = 0; o < outputs; ++o)
                for (int64_t r = 0; r < rows; ++r) {
                    const int64_t cell = (o / kColumns * groups + r / kTogether) * kColumns + o % kColumns;
                    const int16_t weight = layer.weights[static_cast<size_t>(o * rows + r)];
                    const auto low = static_cast<int8_t>(weight);
                    int8_t* to = stage.packed.data() + cell * 4 + r % kTogether * kSize;
                    std::memcpy(to, kSize == 1 ? static_cast<const void*>(&low) : &weight, kSize);
                }
        });
    if (layer.kind != Kind::depthwise) stage.layer.weights.clear();
    stages_.push_back(std::move(stage));
    bool in_tail = layer.out.height * layer.out.width == 1;
    for (const IntegerInput& in : layer.inputs) in_tail &= in.source >= static_cast<int64_t>(tail_) - 1;
    if (!in_tail) tail_ = stages_.size();
}

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

template <class Dot>
void IntegerNet::product(const Stage& stage, const uint8_t* const* sources, int64_t samples, uint8_t* levels,
                         int32_t* sums_out) const {
    using Value = typename Dot::Value;
    constexpr int64_t kColumns = Dot::kColumns, kRows = Dot::kRows;
    const IntegerLayer& layer = stage.layer;
    const int64_t outputs = layer.out.channels, groups = (stage.rows + Dot::kTogether - 1) / Dot::kTogether;
    const int64_t sites = layer.out.height * layer.out.width, positions = samples * sites;
    std::vector<Planes<Value>> planes;
    for (size_t i = 0; i < layer.inputs.size(); ++i)
        planes.emplace_back(map_of(layer.inputs[i].source), layer.inputs[i], sources[i], samples);
    // A kernel as large as its map: a row is a map. What a group reads behind it meets weights of zero.
    const bool in_place = planes.size() == 1 && stage.rows == planes[0].units();
    const int64_t stride = in_place ? stage.rows : groups * Dot::kTogether;
    const int64_t panel = in_place ? positions : std::clamp<int64_t>(kPanelValues / stride / kRows, 1, 8) * kRows;
    Buffer<Value> copied(in_place ? 0 : panel * stride + kSlack);
    const Value* rows = in_place ? planes[0].values : copied.data();
    alignas(64) int32_t sums[kRows * kColumns];
    for (int64_t from = 0; from < positions; from += panel) {
        const int64_t number = std::min(panel, positions - from);
        if (!in_place) copy_rows(layer, planes, from, number, stride, copied.data());
        for (int64_t first = 0; first < outputs; first += kColumns) {
            const int8_t* packed = stage.packed.data() + first * groups * 4;
            const int64_t count = std::min(kColumns, outputs - first);
            const auto some = [&]<int R>(int64_t p) {  // R rows from row p on
                const Value* at = rows + p * stride;
                if (count > kColumns / 2)
                    multiply<Dot, R, 2>(at, stride, groups, stage.most_groups, packed, sums);
                else
                    multiply<Dot, R, 1>(at, stride, groups, stage.most_groups, packed, sums);
                for (int64_t r = 0; r < R; ++r) {
                    const int64_t out = (from + p + r) * outputs + first;
                    finish(stage, sums + r * kColumns, first, count, levels + out, sums_out + out);
                }
                return int64_t{R};
            };
            for (int64_t p = 0; p < number;) {
                const int64_t left = number - p;
                p += left >= kRows ? some.template operator()<kRows>(p)
                     : left >= 4   ? some.template operator()<4>(p)
                                   : some.template operator()<1>(p);
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
        with_dot(stage.bytes, [&]<class Dot>() { product<Dot>(stage, sources, samples, levels, sums); });
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
