// What acts on each neuron's spike by itself: dense trains to times and back, dense gradients as support entries or at them,
// latency coding and dropout. Trains and gradients are [steps, batch_sites, channels].
#pragma once

#include "../core/dropout_mask.h"
#include "../core/support.h"
#include "support.h"

namespace firstspike {

// Dense trains

void times_from_dense(const float* spikes, int64_t steps, int64_t neurons, int threads, uint8_t* times);
void dense_from_times(const uint8_t* times, int64_t steps, int64_t neurons, int threads, float* spikes);
Support support_from_dense(const float* gradient, int64_t batch_sites, int64_t channels, int64_t steps, int threads);
void gather_at_support(const float* gradient, int64_t batch_sites, int64_t channels, const SupportView&, int threads, float* out);

// Latency coding: intensities to spike times (python/firstspike/encode.py has the formulas)

// times[i] = round((1 - x[i]) (steps - 1)), half to even, and silent where x[i] is 0. What is outside [0, 1] gets the nearest
// step.
void linear_latency(const float* x, int64_t units, int64_t steps, int threads, uint8_t* times);

// Dropout: the spikes that it keeps, and their gradients, at the support entries or at every step (docs/model.md, section
// "Dropout")

void drop_spikes(const uint8_t* times, int64_t batch_sites, int64_t channels, const DropoutMask&, int threads,
                 uint8_t* times_out);
void drop_gradient_at(const float* gradient, int64_t batch_sites, int64_t channels, const SupportView&, const DropoutMask&,
                      int threads, float* out);
void drop_gradient_dense(const float* gradient, int64_t steps, int64_t batch_sites, int64_t channels, const DropoutMask&,
                         int threads, float* out);

}  // namespace firstspike
