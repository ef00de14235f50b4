// Nets of windows in integers.
#include "../cpu/integers.h"
#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

using Map = std::array<int64_t, 3>;  // height, width, channels
// kind, steps, shift, map, inputs, weights, offset, rise
using IntegerArguments = std::tuple<std::string, int64_t, int64_t, Map, std::vector<std::array<int64_t, 8>>, Array, Array, Array>;

IntegerMap map_from(const Map& sizes) { return {sizes[0], sizes[1], sizes[2]}; }

IntegerLayer::Kind kind_from(const std::string& name) {
    if (name == "dense") return IntegerLayer::Kind::dense;
    if (name == "depthwise") return IntegerLayer::Kind::depthwise;
    if (name == "largest") return IntegerLayer::Kind::largest;
    fail("unknown kind of layer " + name);
}

template <class T>
std::vector<T> copied(const Array& array, const char* name) {
    const T* values = input<T>(array, name, array.size());
    return {values, values + array.size()};
}

std::unique_ptr<IntegerNet> integer_net(const Map& input_map, const std::vector<IntegerArguments>& layers) {
    auto net = std::make_unique<IntegerNet>(map_from(input_map));
    for (const auto& [kind, steps, shift, map, inputs, weights, offset, rise] : layers) {
        IntegerLayer layer{kind_from(kind),
                           steps,
                           shift,
                           map_from(map),
                           {},
                           copied<int16_t>(weights, "weights"),
                           copied<int32_t>(offset, "offset"),
                           copied<int32_t>(rise, "rise")};
        for (const auto& [source, pool, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x] : inputs)
            layer.inputs.push_back({source, pool, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x});
        net->add(layer);
    }
    if (net->empty() || net->last().steps != 0) fail("layers must end with a readout");
    return net;
}

void sums_of(const IntegerNet& net, int64_t batch, const Array& levels, Threads threads, const Array& sums_out) {
    checked("batch", batch, 0, int64_t{1} << 31);
    const auto* in = input<uint8_t>(levels, "levels", elements({batch, net.input().units()}));
    auto* out = output<int32_t>(sums_out, "sums_out", elements({batch, net.last().out.units()}));
    run([&] { net.run(in, batch, threads, out); });
}

}  // namespace

void bind_integers(py::module_& m) {
    py::class_<IntegerNet>(m, "IntegerNet", py::module_local())
        .def(py::init(&integer_net), py::arg("input"), py::arg("layers"))
        .def("run", &sums_of, py::arg("batch"), py::arg("levels"), py::arg("threads"), py::arg("sums_out"));
}

}  // namespace firstspike::bindings
