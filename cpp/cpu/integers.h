// Nets of windows in integers, by the closed form (docs/emulator.md): levels are bytes, weights 16 bits, sums 32 bits. What comes
// out is what the emulator makes step by step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace firstspike {

struct IntegerDot;

struct IntegerMap {
    int64_t height, width, channels;

    int64_t units() const { return height * width * channels; }
    bool operator==(const IntegerMap&) const = default;
};

// What a layer reads of one map: sums over pool x pool, then a kernel. source: a layer's index, -1 for the net's input.
struct IntegerInput {
    int64_t source, pool, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;
};

// With v = 2^shift sum + offset, a level is a = clamp(floor(v / rise), 0, steps); a readout gives v.
struct IntegerLayer {
    enum class Kind { dense, depthwise, largest };  // `largest`: the largest level of a kernel, without weights

    Kind kind;
    int64_t steps, shift;  // 0 steps: a readout
    IntegerMap out;
    std::vector<IntegerInput> inputs;  // one or two
    // [outputs][rows of all inputs], a row per kernel row, kernel column and channel; depthwise: [rows of a channel][channels].
    std::vector<int16_t> weights;
    std::vector<int32_t> offset, rise;  // [outputs]
};

class IntegerNet {
 public:
    explicit IntegerNet(const IntegerMap& input) : input_(input) {}

    // Throws std::invalid_argument where the sizes do not fit each other or a sum might not fit 32 bits.
    void add(const IntegerLayer& layer);

    const IntegerMap& input() const { return input_; }
    bool empty() const { return stages_.empty(); }
    const IntegerLayer& last() const { return stages_.back().layer; }

    // levels [batch, units of the input] to the readout's sums [batch, units of the last layer].
    void run(const uint8_t* levels, int64_t batch, int threads, int32_t* sums) const;

 private:
    struct Stage {
        IntegerLayer layer;
        const IntegerDot* dot;         // of a dense layer
        int64_t rows;                  // of all inputs' weights
        int64_t most_groups;           // whose sums fit a part (integer_dot.h)
        std::vector<int8_t> packed;    // blocks of weights
        std::vector<int32_t> highest;  // rise * steps
        std::vector<float> inverse;    // of rise, a little too small
        int64_t at;                    // of its levels in a sample's memory
    };

    const IntegerMap& map_of(int64_t source) const {
        return source < 0 ? input_ : stages_[static_cast<size_t>(source)].layer.out;
    }
    int64_t most_of(int64_t source) const { return source < 0 ? 255 : stages_[static_cast<size_t>(source)].layer.steps; }

    // largest: value of its inputs.
    static Stage packed(const IntegerLayer& layer, int64_t rows, int64_t largest, bool byte_weights);
    void run_stage(const Stage& stage, const uint8_t* const* sources, int64_t samples, uint8_t* levels, int32_t* sums) const;
    static void finish(const Stage& stage, const int32_t* sums, int64_t first, int64_t count, uint8_t* levels, int32_t* sums_out);
    template <class Value>
    void product(const Stage& stage, const uint8_t* const* sources, int64_t samples, uint8_t* levels, int32_t* sums) const;
    template <class Value>
    void depthwise(const Stage& stage, const uint8_t* source, int64_t samples, uint8_t* levels) const;
    void largest(const Stage& stage, const uint8_t* source, int64_t samples, uint8_t* levels) const;

    IntegerMap input_;
    std::vector<Stage> stages_;
    size_t tail_ = 0;     // the tail: the stages from here on have one site, and read none before the last of the head
    int64_t levels_ = 0;  // of all layers, of one sample
};

}  // namespace firstspike
