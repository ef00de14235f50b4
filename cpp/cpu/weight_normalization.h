// Weight normalisation with an affine factor, and its gradient (docs/model.md, section "Weight normalisation").
#pragma once

#include <cstdint>

namespace firstspike {

constexpr double kSmallestVariance = 1e-12;  // far below any variance of a weight in use; it keeps a constant weight finite

// A weight [outputs, inputs], and what the normalised one is multiplied with.
struct Weights {
    int64_t outputs, inputs;
    const float* data;
    const float* gamma;  // [outputs], or null: all ones
    double deviation;    // of the normalised weight, before gamma
    bool per_output;     // mean and deviation of each output's weights, else of the whole weight

    int64_t groups() const { return per_output ? outputs : 1; }
    int64_t group(int64_t output) const { return per_output ? output : 0; }
};
struct Moments {
    double mean, inverse_deviation;
};

// moments [groups].
void normalize_weight(const Weights&, int threads, float* out, Moments* moments);
// moments as the forward pass left them. gamma_gradient [outputs] or null.
void normalize_weight_gradient(const Weights&, const Moments* moments, const float* gradient, int threads, float* weight_gradient,
                               float* gamma_gradient);

}  // namespace firstspike
