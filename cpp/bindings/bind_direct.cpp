// Direct coding: the gradients of a convolution of data.
#include "../cpu/direct_convolution.h"
#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

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

}  // namespace

void bind_direct(py::module_& m) {
    m.def("direct_convolution_gradient", &direct_gradients, py::arg("geometry"), py::arg("data"), py::arg("gradient"),
          py::arg("threads"), py::arg("weight_out"), py::arg("bias_out"));
}

}  // namespace firstspike::bindings
