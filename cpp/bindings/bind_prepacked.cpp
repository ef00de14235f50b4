// Layers prepacked for inference.
#include "../cpu/prepacked.h"

#include <memory>
#include <vector>

#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

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

void run(const Prepacked& net, int64_t batch, const Array& times, int threads, const Array& out) {
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

}  // namespace

void bind_prepacked(py::module_& m) {
    py::class_<Prepacked>(m, "Prepacked", py::module_local())
        .def(py::init(&prepack), py::arg("layers"), py::arg("threads"))
        .def("run", &run, py::arg("batch"), py::arg("times"), py::arg("threads"), py::arg("out"));
}

}  // namespace firstspike::bindings
