// mma.m16n8k16 for bfloat16 on the stand-in device. Written from the formulas of the PTX ISA alone, not from the code that fills
// the registers: the whole matrices are gathered from the lanes, multiplied, and the product is scattered.
#pragma once

#include <array>

#include "device_on_host.h"

namespace firstspike::cuda::on_host {

// What a lane brings, and what it takes away.
struct Fragments {
    std::array<unsigned, 4> a;
    std::array<unsigned, 2> b;
    std::array<float, 4> d;
    bool done;
};

// Half `i % 2` (0 is the lower) of register i / 2, as a float.
template <size_t N>
float element(const std::array<unsigned, N>& registers, unsigned i) {
    const unsigned half = registers[i / 2] >> (i % 2 * 16) & 0xffffu;
    return from_bits<float>(uint64_t{half} << 16);
}

inline void multiply(const uint64_t* lanes) {
    float a[16][16], b[16][8], d[16][8];
    const auto of = [&](unsigned laneid) -> Fragments& { return *reinterpret_cast<Fragments*>(lanes[laneid]); };
    for (unsigned laneid = 0; laneid < 32; ++laneid) {
        const unsigned group_id = laneid >> 2, thread_id_in_group = laneid % 4;
        for (unsigned i = 0; i < 8; ++i) {
            const unsigned row = i < 2 || (4 <= i && i < 6) ? group_id : group_id + 8;
            const unsigned col = i < 4 ? thread_id_in_group * 2 + (i & 1) : thread_id_in_group * 2 + (i & 1) + 8;
            a[row][col] = element(of(laneid).a, i);
        }
        for (unsigned i = 0; i < 4; ++i) {
            const unsigned row = i < 2 ? thread_id_in_group * 2 + (i & 1) : thread_id_in_group * 2 + (i & 1) + 8;
            b[row][group_id] = element(of(laneid).b, i);
        }
        for (unsigned i = 0; i < 4; ++i) d[i < 2 ? group_id : group_id + 8][thread_id_in_group * 2 + (i & 1)] = of(laneid).d[i];
    }
    for (int row = 0; row < 16; ++row)
        for (int k = 0; k < 16; ++k)
            for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    for (unsigned laneid = 0; laneid < 32; ++laneid) {
        const unsigned group_id = laneid >> 2, thread_id_in_group = laneid % 4;
        for (unsigned i = 0; i < 4; ++i) of(laneid).d[i] = d[i < 2 ? group_id : group_id + 8][thread_id_in_group * 2 + (i & 1)];
        of(laneid).done = true;
    }
}

// The first lane that goes on computes for all, while the others still wait.
inline void mma_m16n8k16_bf16(float (&d)[4], const std::array<unsigned, 4>& a, const std::array<unsigned, 2>& b) {
    Fragments mine{a, b, {d[0], d[1], d[2], d[3]}, false};
    const uint64_t* lanes = exchange(0xffffffffu, Op::multiply, reinterpret_cast<uint64_t>(&mine));
    if (!mine.done) multiply(lanes);
    std::copy(mine.d.begin(), mine.d.end(), d);
}

}  // namespace firstspike::cuda::on_host
