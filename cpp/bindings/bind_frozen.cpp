// Layers frozen for inference.
#include "../cpu/frozen.h"

#include <memory>
#include <vector>

#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

// geometry, neuron, fires, weight, bias
using FrozenLayer = std::tuple<Geometry, NeuronArguments, bool, Array, std::optional<Array>>;

std::unique_ptr<Frozen> freeze(const std::vector<FrozenLayer>& layers, int threads) {
    auto frozen = std::make_unique<Frozen>();
    for (const auto& [geometry, neuron, fires, weight, bias] : layers) {
        const Layer l = layer_from(geometry);
        if (!frozen->empty()) {
            const Layer& before = frozen->last();
            if (!frozen->fires()) fail("only the last layer may integrate");
            const bool fits = l.height == before.out_height() && l.width == before.out_width() && l.channels == before.outputs;
            if (!fits || l.steps != before.steps)
                fail("a layer's input must have the shape and the steps of the output before it");
        }
        frozen->add(l, neuron_from(neuron), fires, weight_from(weight, l), input<float>(bias, "bias", l.outputs),
                    threads_from(threads));
    }
    if (frozen->empty()) fail("layers must hold at least one");
    return frozen;
}

void run(const Frozen& frozen, int64_t batch, const Array& times, int threads, const Array& out) {
    if (batch < 0 || batch > (int64_t{1} << 31)) fail("batch is out of range");
    const auto* in = input<uint8_t>(times, "times", batch * frozen.first().units());
    const int64_t size = batch * frozen.last().sites() * frozen.last().outputs;
    if (frozen.fires()) {
        auto* fired = output<uint8_t>(out, "out", size);
        const py::gil_scoped_release released;
        frozen.run(in, batch, threads_from(threads), fired);
    } else {
        auto* membrane = output<float>(out, "out", frozen.last().steps * size);
        const py::gil_scoped_release released;
        frozen.run(in, batch, threads_from(threads), membrane);
    }
}

}  // namespace

void bind_frozen(py::module_& m) {
    py::class_<Frozen>(m, "Frozen", py::module_local())
        .def(py::init(&freeze), py::arg("layers"), py::arg("threads"))
        .def("run", &run, py::arg("batch"), py::arg("times"), py::arg("threads"), py::arg("out"));
}

}  // namespace firstspike::bindings
