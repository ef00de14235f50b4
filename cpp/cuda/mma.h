// The tensor core's product of a warp, and which element of a matrix each lane holds.
//
// mma.m16n8k16 with bfloat16 inputs: D[16 x 8] += A[16 x 16] B[16 x 8], float32 sums. From the PTX ISA ("Matrix fragments for
// mma.m16n8k16 with floating point type"), with group = lane / 4 and member = lane % 4:
//
// - A: elements 0 to 7, two per register. Row: group, and 8 more in elements 2, 3, 6 and 7. Column: 2 member + i % 2, and 8 more
//   from element 4 on.
// - B: elements 0 to 3, two per register. Row: 2 member + i % 2, and 8 more from element 2 on. Column: group.
// - D: elements 0 to 3, one per register. Row: group, and 8 more from element 2 on. Column: 2 member + i % 2.
//
// The lower half of a register is the element of the lower number. The columns of A and the rows of B are summed over, so their
// order is ours: `inner_of` numbers them so that the four of a lane of B are neighbours, and lie in memory as one word of bytes.
#pragma once

#include "platform.h"

#if !defined(__CUDACC__)
#include "mma_on_host.h"
#endif

namespace firstspike::cuda {

constexpr int kMmaRows = 16, kMmaColumns = 8, kMmaInner = 16;
constexpr int kInnerPerLane = 4;  // inner indices of a lane

__device__ inline int mma_group() { return lane() / 4; }
__device__ inline int mma_member() { return lane() % 4; }

// Element i of the lane's share of A: its row, and the inner index it belongs to.
__device__ inline int row_of_a(int i) { return mma_group() + (i & 2) * 4; }
__device__ inline int inner_of_a(int i) { return mma_member() * kInnerPerLane + (i & 1) + (i & 4) / 2; }
// B: element i of the lane is in column mma_group(), at the inner index mma_member() * kInnerPerLane + i.
// D, element i.
__device__ inline int row_of_d(int i) { return mma_group() + (i & 2) * 4; }
__device__ inline int column_of_d(int i) { return mma_member() * 2 + (i & 1); }

// d += a b. All lanes of the warp take part.
__device__ inline void multiply_add(float (&d)[4], const uint4& a, const uint32_t (&b)[2]) {
#if defined(__CUDACC__)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b[0]), "r"(b[1]));
#else
    on_host::mma_m16n8k16_bf16(d, {a.x, a.y, a.z, a.w}, {b[0], b[1]});
#endif
}

}  // namespace firstspike::cuda
