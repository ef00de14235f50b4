// Dot products of integers against sums one by one; prints how many values the largest of bytes go together, then of 16 bits.
#include "../../cpp/cpu/integer_dot.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

using firstspike::IntegerDot;

template <class Value, class Weight>
bool agrees(const IntegerDot& dot, int64_t rows, int64_t weights, int64_t used, int64_t largest, std::mt19937& random) {
    std::uniform_int_distribution<int> any_value(0, static_cast<int>(largest)), any_weight(-128, 127);
    const int64_t groups = dot.groups(weights), stride = groups * dot.together;
    std::vector<Value> values(static_cast<size_t>(rows * stride));
    std::vector<Weight> block(static_cast<size_t>(stride * dot.columns));
    for (Value& value : values) value = static_cast<Value>(any_value(random));
    for (Weight& weight : block) weight = static_cast<Weight>(any_weight(random));
    std::vector<int32_t> sums(firstspike::kMostDotRows * firstspike::kMostDotColumns);
    for (int64_t row = 0; row < rows;) {
        const int64_t together = dot.multiply(values.data() + row * stride, rows - row, stride, groups, dot.most_groups(largest),
                                              reinterpret_cast<const int8_t*>(block.data()), used, sums.data());
        for (int64_t r = 0; r < together; ++r)
            for (int64_t c = 0; c < used; ++c) {
                int64_t expected = 0;
                for (int64_t i = 0; i < stride; ++i)
                    expected +=
                        values[static_cast<size_t>((row + r) * stride + i)] *
                        block[static_cast<size_t>((i / dot.together * dot.columns + c) * dot.together + i % dot.together)];
                if (sums[static_cast<size_t>(r * dot.columns + c)] != expected) return false;
            }
        row += together;
    }
    return true;
}

int main() {
    std::mt19937 random(0);
    for (const int64_t largest : {1, 16, 127, 128, 255, 32767})
        for (const bool bytes : {true, false})
            for (const int64_t rows : {1, 3, 4, 11, 12, 30})
                for (const int64_t weights : {1, 4, 7, 64, 333}) {
                    const IntegerDot& dot = firstspike::integer_dot(largest, bytes);
                    for (const int64_t used : {int64_t{1}, dot.columns / 2, dot.columns})
                        if (!(dot.of_bytes() ? agrees<uint8_t, int8_t>(dot, rows, weights, used, largest, random)
                                             : agrees<int16_t, int16_t>(dot, rows, weights, used, largest, random)))
                            return std::printf("%ld rows of %ld weights up to %ld differ\n", long(rows), long(weights),
                                               long(largest)),
                                   1;
                }
    std::printf("%d %d\n", int(firstspike::integer_dot(127, true).together), int(firstspike::integer_dot(127, false).together));
}
