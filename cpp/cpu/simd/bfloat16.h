// Numbers in bfloat16, the upper halves of floats, a vector at once.
#pragma once

#include "vector.h"

namespace firstspike {

enum class Bfloat16 : uint16_t {};
typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));

// The first `count` numbers, at most kLanes of them, as upper halves of words, and zeros; reads nothing behind them.
FIRSTSPIKE_INLINE Words read_halves(const Bfloat16* p, int64_t count) {
    Halves halves{};
    if (count >= kLanes)
        std::memcpy(&halves, p, sizeof halves);
    else
        std::memcpy(&halves, p, static_cast<size_t>(count) * 2);
    return __builtin_convertvector(halves, Words) << 16;
}

// Writes the upper halves of the first `count` words, at most kLanes of them.
FIRSTSPIKE_INLINE void write_halves(Bfloat16* out, Words words, int64_t count) {
    const Halves halves = __builtin_convertvector(words >> 16, Halves);
    if (count >= kLanes)
        std::memcpy(out, &halves, sizeof halves);
    else
        std::memcpy(out, &halves, static_cast<size_t>(count) * 2);
}

}  // namespace firstspike
