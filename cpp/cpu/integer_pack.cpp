// A layer of integers: what does not fit is refused, here alone; weights are packed for the dot products (integer_dot.h).
#include <algorithm>
#include <climits>
#include <cstring>
#include <stdexcept>
#include <string>

#include "integer_dot.h"
#include "integers.h"
#include "simd/vector.h"

namespace firstspike {

namespace {

constexpr int64_t kMostUnits = int64_t{1} << 24;    // of a map
constexpr int64_t kMostWeights = int64_t{1} << 31;  // of a layer
constexpr int64_t kMostLevels = int64_t{1} << 28;   // of a padded map, and of all layers, of one sample

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("a layer of integers: " + what); }

void in_range(const char* name, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high)
        refuse(std::string(name) + " must be from " + std::to_string(low) + " to " + std::to_string(high) + ", got " +
               std::to_string(value));
}

void check_size(const char* name, size_t size, int64_t expected) {
    if (static_cast<int64_t>(size) != expected) refuse(std::string(name) + " has the wrong size");
}

void check_map(const IntegerMap& map) {
    for (const int64_t size : {map.height, map.width, map.channels}) in_range("each size of a map", size, 1, kMostUnits);
    in_range("the units of a row", map.width * map.channels, 1, kMostUnits);
    in_range("the units of a map", map.units(), 1, kMostUnits);
}

void check_input(const IntegerLayer& layer, const IntegerMap& from, const IntegerInput& in) {
    for (const int64_t size : {in.kernel_y, in.kernel_x, in.stride_y, in.stride_x})
        in_range("each size of a kernel", size, 1, kMostUnits);
    for (const int64_t pad : {in.pad_y, in.pad_x}) in_range("the padding", pad, 0, 4096);
    in_range("pool", in.pool, 1, layer.kind == IntegerLayer::Kind::largest ? 1 : 181);
    const int64_t high = from.height / in.pool + 2 * in.pad_y, wide = from.width / in.pool + 2 * in.pad_x;
    in_range("the kernel's height", in.kernel_y, 1, high);
    in_range("the kernel's width", in.kernel_x, 1, wide);
    in_range("the units of a padded map", high * wide * from.channels, 1, kMostLevels);
    if (layer.out.height != (high - in.kernel_y) / in.stride_y + 1 || layer.out.width != (wide - in.kernel_x) / in.stride_x + 1)
        refuse("its map does not fit its input's");
    if (layer.kind != IntegerLayer::Kind::dense && from.channels != layer.out.channels) refuse("it must keep its channels");
}

// Rows of weights, whose values are at most `value`.
struct Rows {
    int64_t number, value;
};

// Refuses weights whose sums might not fit 32 bits; says whether all are bytes.
bool check_sums(const IntegerLayer& layer, const std::vector<Rows>& inputs) {
    const int64_t outputs = layer.out.channels, columns = static_cast<int64_t>(layer.weights.size()) / outputs;
    const bool depthwise = layer.kind == IntegerLayer::Kind::depthwise;
    bool bytes = true;
    for (int64_t o = 0; o < outputs; ++o) {
        const int16_t* weight = layer.weights.data() + (depthwise ? o : o * columns);
        int64_t most = 0;
        for (const Rows& rows : inputs)
            for (int64_t r = 0; r < rows.number; ++r, weight += depthwise ? outputs : 1) {
                bytes &= *weight == static_cast<int8_t>(*weight);
                most += std::abs(*weight) * rows.value;
            }
        const int64_t offset = std::abs(int64_t{layer.offset[static_cast<size_t>(o)]});
        in_range("the largest sum", (std::min<int64_t>(most, INT_MAX) << layer.shift) + offset, 0, INT_MAX);
    }
    return bytes;
}

// [block of columns][group of rows][column][together], with zeros where there are no weights.
std::vector<int8_t> blocks_of(const IntegerLayer& layer, int64_t rows, const IntegerDot& dot) {
    const int64_t outputs = layer.out.channels, groups = dot.groups(rows), size = 4 / dot.together;
    const int64_t blocks = (outputs + dot.columns - 1) / dot.columns;
    std::vector<int8_t> to(static_cast<size_t>(blocks * groups * dot.columns * 4), 0);
    for (int64_t o = 0; o < outputs; ++o)
        for (int64_t r = 0; r < rows; ++r) {
            const int64_t group = (o / dot.columns * groups + r / dot.together) * dot.columns + o % dot.columns;
            const int16_t weight = layer.weights[static_cast<size_t>(o * rows + r)];
            const auto byte = static_cast<int8_t>(weight);
            const void* from = size == 1 ? static_cast<const void*>(&byte) : &weight;
            std::memcpy(to.data() + group * 4 + r % dot.together * size, from, static_cast<size_t>(size));
        }
    return to;
}

}  // namespace

void IntegerNet::add(const IntegerLayer& layer) {
    using Kind = IntegerLayer::Kind;
    if (!stages_.empty() && last().steps == 0) refuse("none may follow a readout");
    check_map(input_);
    check_map(layer.out);
    in_range("steps", layer.steps, layer.kind == Kind::dense ? 0 : 1, 255);
    in_range("shift", layer.shift, 0, 30);
    in_range("the number of inputs", static_cast<int64_t>(layer.inputs.size()), 1, layer.kind == Kind::dense ? 2 : 1);
    std::vector<Rows> inputs;
    int64_t rows = 0, largest = 0;
    bool in_tail = layer.out.height * layer.out.width == 1;
    for (const IntegerInput& in : layer.inputs) {
        in_range("source", in.source, -1, static_cast<int64_t>(stages_.size()) - 1);
        const IntegerMap& from = map_of(in.source);
        check_input(layer, from, in);
        const int64_t value = most_of(in.source) * in.pool * in.pool;
        in_range("the largest sum of a pool", value, 0, SHRT_MAX);
        inputs.push_back({in.kernel_y * in.kernel_x * (layer.kind == Kind::depthwise ? 1 : from.channels), value});
        rows += inputs.back().number;
        largest = std::max(largest, value);
        in_tail &= in.source >= static_cast<int64_t>(tail_) - 1;
    }
    const bool weighted = layer.kind != Kind::largest;
    const int64_t neurons = weighted ? layer.out.channels : 0;
    in_range("the weights", neurons * rows, 0, kMostWeights);
    check_size("weights", layer.weights.size(), neurons * rows);
    check_size("offset", layer.offset.size(), neurons);
    check_size("rise", layer.rise.size(), layer.steps == 0 ? 0 : neurons);
    for (const int32_t rise : layer.rise) in_range("rise times steps", rise * (layer.steps + 2), layer.steps + 2, INT_MAX);
    const bool byte_weights = weighted && check_sums(layer, inputs);
    in_range("the units of all layers", levels_ + layer.out.units(), 1, kMostLevels);
    stages_.push_back(packed(layer, rows, largest, byte_weights));
    stages_.back().at = levels_;
    levels_ += layer.out.units();
    if (!in_tail) tail_ = stages_.size();
}

IntegerNet::Stage IntegerNet::packed(const IntegerLayer& layer, int64_t rows, int64_t largest, bool byte_weights) {
    Stage stage{layer, nullptr, rows, 0, {}, {}, {}, 0};
    const auto whole_vectors = (layer.offset.size() + kLanes - 1) / kLanes * kLanes;
    stage.layer.offset.resize(whole_vectors, 0);
    if (layer.steps > 0) stage.layer.rise.resize(whole_vectors, 1);
    for (const int32_t rise : stage.layer.rise) {
        stage.inverse.push_back((1 - 0x1p-21f) / static_cast<float>(rise));
        stage.highest.push_back(rise * static_cast<int32_t>(layer.steps));
    }
    if (layer.kind == IntegerLayer::Kind::dense) {
        stage.dot = &integer_dot(largest, byte_weights);
        stage.most_groups = stage.dot->most_groups(largest);
        stage.packed = blocks_of(layer, rows, *stage.dot);
    }
    if (layer.kind != IntegerLayer::Kind::depthwise) stage.layer.weights.clear();
    return stage;
}

}  // namespace firstspike
