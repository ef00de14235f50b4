// The distinct spikes of pooling windows, and the gradients behind them, at the support entries or at every step (docs/model.md,
// section "Pooling"): of the units of a window that fire in the same step, the first one keeps its spike, row by row; units in no
// window are silent.
#pragma once

#include "../core/support.h"
#include "windows.h"

namespace firstspike {

// Returns the number of windows, of one channel each, with spikes in more than one step.
int64_t distinct_spikes(const uint8_t* times, const Windows&, int threads, uint8_t* times_out);
// left: what `distinct_spikes` wrote. The gradient of a window and a step goes to the unit that fires in it, or to the window's
// first unit where none does.
void distinct_gradient_at(const float* gradient, const uint8_t* left, const Windows&, const SupportView&, int threads,
                          float* out);
void distinct_gradient_dense(const float* gradient, const uint8_t* left, const Windows&, int64_t steps, int threads, float* out);

}  // namespace firstspike
