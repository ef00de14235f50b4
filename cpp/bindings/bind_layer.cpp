// Linear and convolution layers: forward, the gradients, the plan; layers prepacked for inference; directly coded convolutions.
#include <memory>
#include <vector>

#include "../cpu/layer/plan.h"
#include "../cpu/prepacked.h"
#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

Synapses synapses_from(const Layer& l, const Array& times, const Array& weight, const std::optional<Array>& bias, int threads) {
    return {l, input<uint8_t>(times, "times", l.batch * l.units()), weight_from(weight, l), input<float>(bias, "bias", l.outputs),
            threads};
}

OutputGradient gradient_from(const Layer& l, const SupportArrays& support, const std::optional<Array>& slope,
                             const Array& gradient) {
    const int64_t entries = entries_of(support);
    return {support_from(support, l.batch * l.sites(), l.outputs, l.steps), input<float>(slope, "slope", entries),
            input<float>(gradient, "gradient", entries)};
}

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

py::object fire(const Layer& l, const FiringNeuron& n, const Array& times, const Array& weight, const std::optional<Array>& bias,
                bool record, Threads threads, const Array& times_out, const std::optional<ShortcutArrays>& shortcut) {
    Synapses s = synapses_from(l, times, weight, bias, threads);
    if (shortcut) s.shortcut = shortcut_from(l, *shortcut);
    return to_python(run(fire_layer, s, n.neuron, n.recorded(record), record,
                         output<uint8_t>(times_out, "times_out", l.batch * l.sites() * l.outputs)));
}

void integrate(const Layer& l, const FiringNeuron& n, const Array& times, const Array& weight, const std::optional<Array>& bias,
               Threads threads, const Array& membrane) {
    run(integrate_layer, synapses_from(l, times, weight, bias, threads), n.neuron,
        output<float>(membrane, "membrane", l.steps * l.batch * l.sites() * l.outputs));
}

// The gradients whose arrays are given: anchor_out, see `Anchor`, where `input_support` is of the layer that made the input;
// weight_out of the weight's shape; bias_out [outputs].
void gradients(const Layer& l, const FiringNeuron& n, const Array& times, const Array& weight, const SupportArrays& support,
               const std::optional<Array>& slope, const Array& gradient, const std::optional<SupportArrays>& input_support,
               Threads threads, const std::optional<Array>& anchor_out, const std::optional<Array>& weight_out,
               const std::optional<Array>& bias_out) {
    const Synapses s = synapses_from(l, times, weight, std::nullopt, threads);
    const OutputGradient g = gradient_from(l, support, slope, gradient);
    const Anchor anchor(anchor_out ? input_support : std::nullopt, l.batch * l.height * l.width, l.channels, {l.steps});
    float* const at_anchor = output<float>(anchor_out, "anchor_out", anchor.size());
    float* const at_bias = output<float>(bias_out, "bias_out", l.outputs);
    WeightView shape{nullptr, l.channels * l.taps(), l.taps(), l.kernel_width, 1};
    Buffer<float> unasked;  // no pass makes the bias's gradient alone
    if (weight_out)
        shape = weight_from(*weight_out, l);
    else if (bias_out)
        unasked.reserve(l.outputs * l.channels * l.taps());
    float* const at_weight = weight_out ? const_cast<float*>(shape.data) : unasked.data();
    run([&] {
        if (anchor_out) input_gradient(s, n.neuron, g, anchor.support(), at_anchor);
        if (at_weight) weight_gradient(s, n.neuron, g, shape, at_weight, at_bias);
    });
}

// The gradients whose arrays are given: spikes_out, see `Anchor`, where `input_support` is of the layer that made the shortcut's
// spikes; scale_out [channels].
void shortcut_gradients(const Layer& l, const FiringNeuron& n, const ShortcutArrays& shortcut, const SupportArrays& support,
                        const std::optional<Array>& slope, const Array& gradient,
                        const std::optional<SupportArrays>& input_support, Threads threads,
                        const std::optional<Array>& spikes_out, const std::optional<Array>& scale_out) {
    const Shortcut s = shortcut_from(l, shortcut);
    const OutputGradient g = gradient_from(l, support, slope, gradient);
    const Anchor spikes(spikes_out ? input_support : std::nullopt, l.batch * s.height * s.width, s.channels, {l.steps});
    run(shortcut_gradient, l, n.neuron, s, g, spikes.support(), threads, output<float>(spikes_out, "spikes_out", spikes.size()),
        output<float>(scale_out, "scale_out", s.channels));
}

// layer, neuron, fires, weight, bias
using PrepackedLayer = std::tuple<Layer, FiringNeuron, bool, Array, std::optional<Array>>;

std::unique_ptr<Prepacked> prepack(const std::vector<PrepackedLayer>& layers, Threads threads) {
    auto net = std::make_unique<Prepacked>();
    for (const auto& [l, n, fires, weight, bias] : layers) {
        if (!net->empty()) {
            const Layer& before = net->last();
            if (!net->fires()) fail("only the last layer may integrate");
            const bool fits = l.height == before.out_height() && l.width == before.out_width() && l.channels == before.outputs;
            if (!fits || l.steps != before.steps)
                fail("a layer's input must have the shape and the steps of the output before it");
        }
        net->add(l, n.neuron, fires, weight_from(weight, l), input<float>(bias, "bias", l.outputs), threads);
    }
    if (net->empty()) fail("layers must hold at least one");
    return net;
}

void run_prepacked(const Prepacked& net, int64_t batch, const Array& times, Threads threads, const Array& out) {
    const Layer& last = net.last();
    checked("batch", batch, 0, (int64_t{1} << 31) / last.steps);
    const auto* in = input<uint8_t>(times, "times", elements({batch, net.first().units()}));
    const int64_t size = elements({last.steps, batch, last.sites(), last.outputs});
    void* const to =
        net.fires() ? static_cast<void*>(output<uint8_t>(out, "out", size / last.steps)) : output<float>(out, "out", size);
    run([&] { net.run(in, batch, threads, to); });
}

void direct_gradients(const Layer& l, const Array& data, const Array& gradient, Threads threads, const Array& weight_out,
                      const std::optional<Array>& bias_out) {
    if (l.pool != 1) fail("a convolution of data has no pool");
    if (elements({l.height + 2 * l.pad_y, l.width + 2 * l.pad_x, l.channels}) > int64_t{1} << 28)
        fail("a sample with its padding must have at most 2^28 values");
    run(direct_convolution_gradient, l, input<float>(data, "data", l.batch * l.units()),
        input<float>(gradient, "gradient", l.batch * l.sites() * l.outputs), threads,
        output<float>(weight_out, "weight_out", l.outputs * l.rows()), output<float>(bias_out, "bias_out", l.outputs));
}

py::dict dict_of(const std::vector<Fact>& facts) {
    py::dict all;
    for (const auto& [name, value] : facts) std::visit([&, key = name](auto v) { all[key] = v; }, value);
    return all;
}

py::dict plan(const Layer& layer, Threads threads) {
    const Plan plan = plan_layer(layer, threads);
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
