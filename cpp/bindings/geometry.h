// Layers and neurons from Python, checked; shared by the CPU and CUDA bindings.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cmath>
#include <string>
#include <tuple>

#include "../core/layer.h"
#include "../core/neuron.h"
#include "../core/surrogate.h"

namespace firstspike::bindings {

namespace py = pybind11;

// The numbers of a Layer in the order of its members.
using Geometry = std::array<int64_t, 13>;
// threshold, decay, surrogate kind, surrogate scale
using NeuronArguments = std::array<float, 4>;

[[noreturn]] inline void fail(const std::string& message) { throw py::value_error(message); }

inline Layer layer_from(const Geometry& g) {
    const Layer l{g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11], g[12]};
    for (size_t i = 1; i < g.size(); ++i) {
        const bool padding = i == 9 || i == 10;
        if (g[i] < (padding ? 0 : 1) || g[i] > (int64_t{1} << 31)) fail("geometry[" + std::to_string(i) + "] is out of range");
    }
    if (l.batch < 0 || l.batch > (int64_t{1} << 31)) fail("batch is out of range");
    if (l.steps > kMaxSteps) fail("steps must be at most 254");
    if (l.cells_y() + 2 * l.pad_y < l.kernel_height || l.cells_x() + 2 * l.pad_x < l.kernel_width)
        fail("the kernel is larger than the padded input");
    const double rows = static_cast<double>(l.taps()) * static_cast<double>(l.channels);
    const double swapped = static_cast<double>(l.taps()) * static_cast<double>(l.outputs);
    if (rows > 4e9 || swapped > 4e9) fail("the layer has more weight rows than 32 bits count");
    return l;
}

inline Neuron neuron_from(const NeuronArguments& a) {
    const auto [threshold, decay, kind, scale] = a;
    if (!std::isfinite(threshold)) fail("threshold must be finite");
    if (!(decay > 0.0f && decay <= 1.0f)) fail("decay must be in (0, 1]");
    return {threshold, decay};
}

inline Surrogate surrogate_from(const NeuronArguments& a) {
    const auto [threshold, decay, kind, scale] = a;
    if (!(kind >= 0.0f && kind <= 3.0f)) fail("unknown surrogate kind");
    if (!(scale > 0.0f) || !std::isfinite(scale)) fail("the surrogate's width or alpha must be positive");
    return {static_cast<SurrogateKind>(static_cast<int>(kind)), scale};
}

}  // namespace firstspike::bindings
