#include "input_gradient.h"

#include <algorithm>

namespace firstspike {

namespace {

void input_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const InputTarget& target) {
    const InputGradientPlan plan = plan_layer(s.layer, s.threads).input_gradient;
    announce("input_gradient", plan);
    const TransposedPanel panel(s.layer, s.weight, s.threads);
    if (plan.linear)
        linear_input_gradient(s, neuron, g, plan, panel, target);
    else
        convolution_input_gradient(s, neuron, g, plan, panel, target);
}

}  // namespace

void input_gradient_at(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const SupportView& input,
                       float* gradient) {
    const Layer& l = s.layer;
    if (l.cropped()) std::fill_n(gradient, input.offset[l.batch * l.height * l.width * Tiles{l.channels}.number()], 0.0f);
    input_gradient(s, neuron, g, InputTarget(l, &input, gradient));
}

void input_gradient_dense(const Synapses& s, const Neuron& neuron, const OutputGradient& g, float* gradient) {
    const Layer& l = s.layer;
    if (l.cropped()) std::fill_n(gradient, l.steps * l.batch * l.units(), 0.0f);
    input_gradient(s, neuron, g, InputTarget(l, nullptr, gradient));
}

}  // namespace firstspike
