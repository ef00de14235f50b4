// Event lists: who fired in which step, in ascending order.
#pragma once

#include "isa.h"
#include "params.h"

namespace firstspike::emulator {
namespace FIRSTSPIKE_EMULATOR_ISA {

// Counting sort of one sample's input times (all below `steps`, or silent) into `out`; begin[] is filled up to `total` steps.
inline void bucket_events(const uint8_t* times, int sources, int total, const Events& out) {
  int32_t place[256] = {};
  for (int i = 0; i < sources; ++i) ++place[times[i]];
  int32_t sum = 0;
  for (int t = 0; t < total; ++t) {
    out.begin[t] = sum;
    const int32_t count = place[t];
    place[t] = sum;
    sum += count;
  }
  out.begin[total] = sum;
  for (int i = 0; i < sources; ++i)
    if (times[i] != kSilent) out.index[place[times[i]]++] = i;
}

// Append the neurons whose time is t to the layer's events; returns how many.
inline int32_t append_fired(const Layer& layer, const State& state, int t) {
  int32_t at = state.out.begin[t];
  for (int site = 0; site < layer.sites(); ++site) {
    const uint8_t* times = state.times + static_cast<int64_t>(site) * layer.stride;
    for (int c = 0; c < layer.out_c; ++c)
      if (times[c] == t) state.out.index[at++] = site * layer.out_c + c;
  }
  state.out.begin[t + 1] = at;
  return at - state.out.begin[t];
}

}  // namespace FIRSTSPIKE_EMULATOR_ISA
}  // namespace firstspike::emulator
