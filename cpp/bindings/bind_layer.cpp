// Linear and convolution layers: forward, and the two gradients.
#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

Synapses synapses_from(const Layer& l, const py::array& times, const py::array& weight, const std::optional<py::array>& bias,
                       int threads) {
    return {l, input<uint8_t>(times, "times", l.batch * l.units()), weight_from(weight, l),
            input<float>(bias, "bias", l.outputs), threads_from(threads)};
}

OutputGradient gradient_from(const Layer& l, const SupportArrays& support, const std::optional<py::array>& slope,
                             const py::array& gradient) {
    const int64_t entries = entries_of(support);
    return {support_from(support, l.batch * l.sites(), l.outputs, l.steps), input<float>(slope, "slope", entries),
            input<float>(gradient, "gradient", entries)};
}

py::object fire(const Geometry& geometry, const NeuronArguments& n, const py::array& times, const py::array& weight,
                const std::optional<py::array>& bias, bool record, int threads, py::array times_out) {
    const Layer l = layer_from(geometry);
    const Synapses s = synapses_from(l, times, weight, bias, threads);
    const Neuron neuron = neuron_from(n);
    const Surrogate surrogate = surrogate_from(n);
    if (record && !std::isfinite(surrogate.reach())) fail("the surrogate has no finite reach; use the dense path");
    auto* out = output<uint8_t>(times_out, "times_out", l.batch * l.sites() * l.outputs);
    Support support;
    {
        const py::gil_scoped_release released;
        support = fire_layer(s, neuron, surrogate, record, out);
    }
    if (!record) return py::none();
    return to_python(std::move(support));
}

void integrate(const Geometry& geometry, const NeuronArguments& n, const py::array& times, const py::array& weight,
               const std::optional<py::array>& bias, int threads, py::array membrane) {
    const Layer l = layer_from(geometry);
    const Synapses s = synapses_from(l, times, weight, bias, threads);
    const Neuron neuron = neuron_from(n);
    auto* out = output<float>(membrane, "membrane", l.steps * l.batch * l.sites() * l.outputs);
    const py::gil_scoped_release released;
    integrate_layer(s, neuron, out);
}

void gradient_of_weight(const Geometry& geometry, const NeuronArguments& n, const py::array& times, const py::array& weight,
                        const SupportArrays& support, const std::optional<py::array>& slope, const py::array& gradient,
                        int threads, py::array weight_gradient_out, std::optional<py::array> bias_gradient_out) {
    const Layer l = layer_from(geometry);
    const Synapses s = synapses_from(l, times, weight, std::nullopt, threads);
    const Neuron neuron = neuron_from(n);
    const OutputGradient g = gradient_from(l, support, slope, gradient);
    const WeightView shape = weight_from(weight_gradient_out, l);
    auto* out = static_cast<float*>(weight_gradient_out.mutable_data());
    float* bias_out = bias_gradient_out ? output<float>(*bias_gradient_out, "bias_gradient_out", l.outputs) : nullptr;
    const py::gil_scoped_release released;
    weight_gradient(s, neuron, g, shape, out, bias_out);
}

// `input_support`: at the entries of the layer that made the input, gradient_out [entries]; without it at every step,
// gradient_out [steps, batch, height, width, channels].
void gradient_of_input(const Geometry& geometry, const NeuronArguments& n, const py::array& times, const py::array& weight,
                       const SupportArrays& support, const std::optional<py::array>& slope, const py::array& gradient,
                       const std::optional<SupportArrays>& input_support, int threads, py::array gradient_out) {
    const Layer l = layer_from(geometry);
    const Synapses s = synapses_from(l, times, weight, std::nullopt, threads);
    const Neuron neuron = neuron_from(n);
    const OutputGradient g = gradient_from(l, support, slope, gradient);
    if (input_support) {
        const SupportView view = support_from(*input_support, l.batch * l.height * l.width, l.channels, l.steps);
        auto* out = output<float>(gradient_out, "gradient_out", entries_of(*input_support));
        const py::gil_scoped_release released;
        input_gradient_at(s, neuron, g, view, out);
    } else {
        auto* out = output<float>(gradient_out, "gradient_out", l.steps * l.batch * l.units());
        const py::gil_scoped_release released;
        input_gradient_dense(s, neuron, g, out);
    }
}

}  // namespace

void bind_layer(py::module_& m) {
    m.def("fire_layer", &fire, py::arg("geometry"), py::arg("neuron"), py::arg("times"), py::arg("weight"), py::arg("bias"),
          py::arg("record"), py::arg("threads"), py::arg("times_out"));
    m.def("integrate_layer", &integrate, py::arg("geometry"), py::arg("neuron"), py::arg("times"), py::arg("weight"),
          py::arg("bias"), py::arg("threads"), py::arg("membrane"));
    m.def("weight_gradient", &gradient_of_weight, py::arg("geometry"), py::arg("neuron"), py::arg("times"), py::arg("weight"),
          py::arg("support"), py::arg("slope"), py::arg("gradient"), py::arg("threads"), py::arg("weight_gradient_out"),
          py::arg("bias_gradient_out"));
    m.def("input_gradient", &gradient_of_input, py::arg("geometry"), py::arg("neuron"), py::arg("times"), py::arg("weight"),
          py::arg("support"), py::arg("slope"), py::arg("gradient"), py::arg("input_support"), py::arg("threads"),
          py::arg("gradient_out"));
}

}  // namespace firstspike::bindings
