// The gradients of a convolution of data (direct coding), whose product itself is torch's.
#pragma once

#include "../core/layer.h"

namespace firstspike {

// dL/dW [outputs, channels, kernel height, kernel width] and, where it is not null, dL/dbias [outputs] from the data [batch,
// height, width, channels] and dL/dcurrent [batch, sites, outputs]. The layer has no pool. The same bits for any number of
// threads.
void direct_convolution_gradient(const Layer&, const float* data, const float* gradient, int threads, float* weight_gradient,
                                 float* bias_gradient);

}  // namespace firstspike
