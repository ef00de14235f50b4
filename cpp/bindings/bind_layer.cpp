// Linear and convolution layers: forward, the gradients, the plan; layers prepacked for inference; directly coded convolutions.
#include <memory>
#include <vector>

#include "../cpu/direct_convolution.h"
#include "../cpu/layer/plan_facts.h"
#include "../cpu/prepacked.h"
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
    Buffer<float> unasked;  // no pass makes the bias's gradient alone
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

// geometry, neuron, fires, weight, bias
using PrepackedLayer = std::tuple<Geometry, NeuronArguments, bool, Array, std::optional<Array>>;

std::unique_ptr<Prepacked> prepack(const std::vector<PrepackedLayer>& layers, int threads) {
    auto net = std::make_unique<Prepacked>();
    for (const auto& [geometry, neuron, fires, weight, bias] : layers) {
        const Layer l = layer_from(geometry);
        if (!net->empty()) {
            const Layer& before = net->last();
            if (!net->fires()) fail("only the last layer may integrate");
            const bool fits = l.height == before.out_height() && l.width == before.out_width() && l.channels == before.outputs;
            if (!fits || l.steps != before.steps)
                fail("a layer's input must have the shape and the steps of the output before it");
        }
        net->add(l, neuron_from(neuron), fires, weight_from(weight, l), input<float>(bias, "bias", l.outputs),
                 threads_from(threads));
    }
    if (net->empty()) fail("layers must hold at least one");
    return net;
}

void run_prepacked(const Prepacked& net, int64_t batch, const Array& times, int threads, const Array& out) {
    checked("batch", batch, 0, (int64_t{1} << 31) / net.first().steps);
    const auto* in = input<uint8_t>(times, "times", elements({batch, net.first().units()}));
    const int64_t size = elements({net.last().steps, batch, net.last().sites(), net.last().outputs}) / net.last().steps;
    if (net.fires()) {
        auto* fired = output<uint8_t>(out, "out", size);
        const py::gil_scoped_release released;
        net.run(in, batch, threads_from(threads), fired);
    } else {
        auto* membrane = output<float>(out, "out", net.last().steps * size);
        const py::gil_scoped_release released;
        net.run(in, batch, threads_from(threads), membrane);
    }
}

void direct_gradients(const Geometry& geometry, const Array& data, const Array& gradient, int threads, const Array& weight_out,
                      const std::optional<Array>& bias_out) {
    const Layer l = layer_from(geometry);
    if (l.pool != 1) fail("a convolution of data has no pool");
    if (elements({l.height + 2 * l.pad_y, l.width + 2 * l.pad_x, l.channels}) > int64_t{1} << 28)
        fail("a sample with its padding must have at most 2^28 values");
    const auto* in = input<float>(data, "data", l.batch * l.units());
    const auto* at = input<float>(gradient, "gradient", l.batch * l.sites() * l.outputs);
    auto* at_weight = output<float>(weight_out, "weight_out", l.outputs * l.rows());
    auto* at_bias = bias_out ? output<float>(*bias_out, "bias_out", l.outputs) : nullptr;
    const py::gil_scoped_release released;
    direct_convolution_gradient(l, in, at, threads_from(threads), at_weight, at_bias);
}

py::dict dict_of(const std::vector<Fact>& facts) {
    py::dict all;
    for (const auto& [name, value] : facts) std::visit([&, key = name](auto v) { all[key] = v; }, value);
    return all;
}

py::dict plan(const Geometry& geometry, int threads) {
    const Plan plan = plan_layer(layer_from(geometry), threads_from(threads));
    py::dict all;
    all["forward"] = dict_of(facts(plan.forward));
    all["input_gradient"] = dict_of(facts(plan.input_gradient));
    all["weight_gradient"] = dict_of(facts(plan.weight_gradient));
    return all;
}

}  // namespace

void bind_layer(py::module_& m) {
    m.def("fire_layer", &fire, py::arg("geometry"), py::arg("neuron"), py::arg("times"), py::arg("weight"), py::arg("bias"),
          py::arg("record"), py::arg("threads"), py::arg("times_out"), py::arg("shortcut") = py::none());
    def(m, "integrate_layer", &integrate, "geometry", "neuron", "times", "weight", "bias", "threads", "membrane");
    def(m, "layer_gradients", &gradients, "geometry", "neuron", "times", "weight", "support", "slope", "gradient",
        "input_support", "threads", "anchor_out", "weight_out", "bias_out");
    def(m, "shortcut_gradients", &shortcut_gradients, "geometry", "neuron", "shortcut", "support", "slope", "gradient",
        "input_support", "threads", "spikes_out", "scale_out");
    py::class_<Prepacked>(m, "Prepacked", py::module_local())
        .def(py::init(&prepack), py::arg("layers"), py::arg("threads"))
        .def("run", &run_prepacked, py::arg("batch"), py::arg("times"), py::arg("threads"), py::arg("out"));
    def(m, "direct_convolution_gradient", &direct_gradients, "geometry", "data", "gradient", "threads", "weight_out", "bias_out");
    m.def("plan_layer", &plan, py::arg("geometry"), py::arg("threads"),
          "The algorithm, block sizes and number of tasks of each pass of a layer.");
}

}  // namespace firstspike::bindings
