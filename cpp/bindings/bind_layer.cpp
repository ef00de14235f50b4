// Linear and convolution layers: forward, and the two gradients.
#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

Synapses synapses_from(const Layer& l, const Array& times, const Array& weight, const std::optional<Array>& bias, int threads) {
    return {l, input<uint8_t>(times, "times", l.batch * l.units()), weight_from(weight, l), input<float>(bias, "bias", l.outputs),
            threads_from(threads)};
}

OutputGradient gradient_from(const Layer& l, const SupportArrays& support, const std::optional<Array>& slope,
                             const Array& gradient) {
    const int64_t entries = entries_of(support);
    return {support_from(support, l.batch * l.sites(), l.outputs, l.steps), input<float>(slope, "slope", entries),
            input<float>(gradient, "gradient", entries)};
}

// A requested gradient at an anchor: at the entries of `support`, the support of the layer that made the spikes, or, without one,
// at every step [steps, sites, channels].
struct AnchorOutput {
    std::optional<SupportView> producer;
    float* data = nullptr;

    AnchorOutput(const std::optional<Array>& out, const char* name, const std::optional<SupportArrays>& support, int64_t sites,
                 int64_t channels, int64_t steps) {
        if (!out) return;
        if (support) producer = support_from(*support, sites, channels, steps);
        data = output<float>(*out, name, support ? entries_of(*support) : elements({steps, sites, channels}));
    }
};

// times [batch, height, width, channels] and scale [channels] of a shortcut: a map of the output's size, or a larger one of which
// every n-th row and column counts.
using ShortcutArrays = std::tuple<Array, Array>;

Shortcut shortcut_from(const Layer& l, const ShortcutArrays& arrays) {
    const auto& [times, scale] = arrays;
    if (times.ndim != 4 || times.shape[0] != l.batch) fail("shortcut must have shape [batch, height, width, channels]");
    Shortcut s{nullptr, times.shape[1], times.shape[2], times.shape[3]};
    checked("each size of a shortcut", s.channels, 1, l.outputs);
    const auto stride = [](int64_t have, int64_t want) {
        const int64_t every = std::max<int64_t>(1, (have + want - 1) / want);
        if ((have + every - 1) / every != want)
            fail("shortcut must have a map of which every n-th row and column gives the output's");
        return every;
    };
    s.stride_y = stride(s.height, l.out_height());
    s.stride_x = stride(s.width, l.out_width());
    s.times = input<uint8_t>(times, "shortcut", elements({l.batch, s.height, s.width, s.channels}));
    s.scale = input<float>(scale, "shortcut_scale", s.channels);
    return s;
}

py::object fire(const Geometry& geometry, const NeuronArguments& n, const Array& times, const Array& weight,
                const std::optional<Array>& bias, bool record, int threads, const Array& times_out,
                const std::optional<ShortcutArrays>& shortcut) {
    const Layer l = layer_from(geometry);
    Synapses s = synapses_from(l, times, weight, bias, threads);
    if (shortcut) s.shortcut = shortcut_from(l, *shortcut);
    const Neuron neuron = neuron_from(n);
    const Surrogate surrogate = surrogate_from(n, record);
    auto* out = output<uint8_t>(times_out, "times_out", l.batch * l.sites() * l.outputs);
    Support support;
    {
        const py::gil_scoped_release released;
        support = fire_layer(s, neuron, surrogate, record, out);
    }
    if (!record) return py::none();
    return to_python(std::move(support));
}

void integrate(const Geometry& geometry, const NeuronArguments& n, const Array& times, const Array& weight,
               const std::optional<Array>& bias, int threads, const Array& membrane) {
    const Layer l = layer_from(geometry);
    const Synapses s = synapses_from(l, times, weight, bias, threads);
    const Neuron neuron = neuron_from(n);
    auto* out = output<float>(membrane, "membrane", l.steps * l.batch * l.sites() * l.outputs);
    const py::gil_scoped_release released;
    integrate_layer(s, neuron, out);
}

// The gradients whose arrays are given: anchor_out, see `AnchorOutput`, where `input_support` is of the layer that made the
// input; weight_out of the weight's shape; bias_out [outputs].
void gradients(const Geometry& geometry, const NeuronArguments& n, const Array& times, const Array& weight,
               const SupportArrays& support, const std::optional<Array>& slope, const Array& gradient,
               const std::optional<SupportArrays>& input_support, int threads, const std::optional<Array>& anchor_out,
               const std::optional<Array>& weight_out, const std::optional<Array>& bias_out) {
    const Layer l = layer_from(geometry);
    const Synapses s = synapses_from(l, times, weight, std::nullopt, threads);
    const Neuron neuron = neuron_from(n);
    const OutputGradient g = gradient_from(l, support, slope, gradient);
    const AnchorOutput anchor(anchor_out, "anchor_out", input_support, l.batch * l.height * l.width, l.channels, l.steps);
    float* at_bias = bias_out ? output<float>(*bias_out, "bias_out", l.outputs) : nullptr;
    WeightView shape{nullptr, l.channels * l.taps(), l.taps(), l.kernel_width, 1};
    Buffer<float> unasked;  // the bias's gradient alone has no pass of its own
    float* at_weight = nullptr;
    if (weight_out) {
        shape = weight_from(*weight_out, l);
        at_weight = static_cast<float*>(weight_out->data());
    } else if (bias_out) {
        unasked.reserve(l.outputs * l.channels * l.taps());
        at_weight = unasked.data();
    }
    const py::gil_scoped_release released;
    if (anchor.producer)
        input_gradient_at(s, neuron, g, *anchor.producer, anchor.data);
    else if (anchor_out)
        input_gradient_dense(s, neuron, g, anchor.data);
    if (weight_out || bias_out) weight_gradient(s, neuron, g, shape, at_weight, at_bias);
}

// The gradients whose arrays are given: spikes_out, see `AnchorOutput`, where `input_support` is of the layer that made the
// shortcut's spikes; scale_out [channels].
void shortcut_gradients(const Geometry& geometry, const NeuronArguments& n, const ShortcutArrays& shortcut,
                        const SupportArrays& support, const std::optional<Array>& slope, const Array& gradient,
                        const std::optional<SupportArrays>& input_support, int threads, const std::optional<Array>& spikes_out,
                        const std::optional<Array>& scale_out) {
    const Layer l = layer_from(geometry);
    const Shortcut s = shortcut_from(l, shortcut);
    const Neuron neuron = neuron_from(n);
    const OutputGradient g = gradient_from(l, support, slope, gradient);
    const AnchorOutput spikes(spikes_out, "spikes_out", input_support, l.batch * s.height * s.width, s.channels, l.steps);
    float* at_scale = scale_out ? output<float>(*scale_out, "scale_out", s.channels) : nullptr;
    const py::gil_scoped_release released;
    shortcut_gradient(l, neuron, s, g, spikes.producer ? &*spikes.producer : nullptr, threads_from(threads), spikes.data,
                      at_scale);
}

}  // namespace

void bind_layer(py::module_& m) {
    m.def("fire_layer", &fire, py::arg("geometry"), py::arg("neuron"), py::arg("times"), py::arg("weight"), py::arg("bias"),
          py::arg("record"), py::arg("threads"), py::arg("times_out"), py::arg("shortcut") = py::none());
    m.def("integrate_layer", &integrate, py::arg("geometry"), py::arg("neuron"), py::arg("times"), py::arg("weight"),
          py::arg("bias"), py::arg("threads"), py::arg("membrane"));
    m.def("layer_gradients", &gradients, py::arg("geometry"), py::arg("neuron"), py::arg("times"), py::arg("weight"),
          py::arg("support"), py::arg("slope"), py::arg("gradient"), py::arg("input_support"), py::arg("threads"),
          py::arg("anchor_out"), py::arg("weight_out"), py::arg("bias_out"));
    m.def("shortcut_gradients", &shortcut_gradients, py::arg("geometry"), py::arg("neuron"), py::arg("shortcut"),
          py::arg("support"), py::arg("slope"), py::arg("gradient"), py::arg("input_support"), py::arg("threads"),
          py::arg("spikes_out"), py::arg("scale_out"));
}

}  // namespace firstspike::bindings
