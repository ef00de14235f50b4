// dL/dW and dL/dbias of a convolution with few weight rows, such as a net's first layer on images of one channel.
#pragma once

#include "layer.h"

namespace firstspike {

bool has_few_rows(const Layer&);

void few_rows_gradient(const Synapses&, const Neuron&, const OutputGradient&, const WeightView& shape, float* weight_gradient,
                       float* bias_gradient);

}  // namespace firstspike
