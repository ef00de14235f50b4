// The spikes that dropout keeps, and the gradients of those, at the support entries or at every step (docs/model.md, section
// "Dropout").
#pragma once

#include "../core/dropout_mask.h"
#include "../core/support.h"

namespace firstspike {

void drop_spikes(const uint8_t* times, int64_t batch_sites, int64_t channels, const DropoutMask&, int threads,
                 uint8_t* times_out);
void drop_gradient_at(const float* gradient, int64_t batch_sites, int64_t channels, const SupportView&, const DropoutMask&,
                      int threads, float* out);
void drop_gradient_dense(const float* gradient, int64_t steps, int64_t batch_sites, int64_t channels, const DropoutMask&,
                         int threads, float* out);

}  // namespace firstspike
