// Dense spike trains to times and back, and a dense gradient [steps, batch_sites, channels] as support entries or at them.
#pragma once

#include "../core/support.h"
#include "support.h"

namespace firstspike {

void times_from_dense(const float* spikes, int64_t steps, int64_t neurons, int threads, uint8_t* times);
void dense_from_times(const uint8_t* times, int64_t steps, int64_t neurons, int threads, float* spikes);
Support support_from_dense(const float* gradient, int64_t batch_sites, int64_t channels, int64_t steps, int threads);
void gather_at_support(const float* gradient, int64_t batch_sites, int64_t channels, const SupportView&, int threads, float* out);

}  // namespace firstspike
