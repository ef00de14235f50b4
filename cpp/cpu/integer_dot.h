// Dot products of integers, with what the processor multiplies them with (integer_dot.cpp).
//
// Rows of values are multiplied with a block of columns of weights, packed as [group][column][together]: one instruction
// multiplies the `together` values of a group with the weights of each of a vector's columns, and adds the products up. Values
// and weights have 8 bits, four to a group, or 16 bits, two to a group.
#pragma once

#include <cstdint>

namespace firstspike {

struct IntegerDot {
    int64_t together;  // values of a group
    int64_t columns;   // of a block: two vectors
    int64_t rows;      // whose sums fit the registers
    int64_t largest;   // value that it multiplies, the least is 0; -1: the processor has no such instruction
    int64_t limit;     // a sum is made in parts, which hold numbers from -limit to limit - 1

    // Writes the sums [row][columns] of as many rows as go together, at most `number`, with a block, of which `used` columns are
    // needed; returns how many rows these are. Rows lie `stride` values apart. A part takes `most` groups.
    int64_t (*multiply)(const void* rows, int64_t number, int64_t stride, int64_t groups, int64_t most, const int8_t* block,
                        int64_t used, int32_t* sums);

    bool of_bytes() const { return together == 4; }
    int64_t groups(int64_t weights) const { return (weights + together - 1) / together; }
    // Groups whose sums fit a part, with bytes as weights and values up to `value`.
    int64_t most_groups(int64_t value) const { return limit / (2 * 128 * value); }
};

constexpr int64_t kMostDotRows = 12, kMostDotColumns = 32;

// For values from 0 to `value` and weights that are bytes, or have 16 bits.
const IntegerDot& integer_dot(int64_t value, bool byte_weights);

}  // namespace firstspike
