// The operands of the tensor cores' product: weights in the order in which the lanes of a warp hold them, and input times of
// which each unit's channels fill whole products.
#pragma once

#include "mma.h"
#include "panel.h"

namespace firstspike::cuda {

constexpr int kHalves = kTile / kMmaRows;  // products that a tile of outputs takes

// Products a tap takes, one after another along the channels.
inline int64_t chunks_of(const Layer& l) { return (l.channels + kMmaInner - 1) / kMmaInner; }

// uint4s of a tile's weights: [tap][chunk][term][half][lane].
inline int64_t fragments_per_tile(const Layer& l, int terms) { return l.taps() * chunks_of(l) * terms * kHalves * kWarp; }
// Bytes of the times with padded channels.
inline int64_t padded_times(const Layer& l) { return l.batch * l.height * l.width * chunks_of(l) * kMmaInner; }

// The weights of pack_by_output as a sum of `terms` bfloat16s: [tile][tap][chunk][term][half][lane].
void pack_fragments(const Layer&, const float* panel, int terms, uint4* fragments, void* stream);
// Silent channels behind the last of each unit, up to whole chunks.
void pad_times(const Layer&, const uint8_t* times, uint8_t* padded, void* stream);

}  // namespace firstspike::cuda
