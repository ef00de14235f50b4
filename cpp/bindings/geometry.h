// Sizes, layers and neurons from Python, checked; shared by the CPU and CUDA bindings. What is computed from a size does not
// overflow.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <tuple>
#include <vector>

#include "../core/layer.h"
#include "../core/neuron.h"
#include "../core/surrogate.h"

namespace firstspike::bindings {

namespace py = pybind11;

// Defines a function of the module whose arguments have these names.
template <class Function, class... Names>
void def(py::module_& m, const char* name, Function&& function, const Names*... names) {
    m.def(name, std::forward<Function>(function), py::arg(names)...);
}

// Elements of one array, at most: no computer has as many, and their bytes, doubled, still fit into 63 bits.
constexpr int64_t kMostElements = int64_t{1} << 56;

[[noreturn]] inline void fail(const std::string& message) { throw py::value_error(message); }

// The product of sizes, none of them negative. In floating point first, which cannot overflow and needs no division.
inline int64_t elements(std::initializer_list<int64_t> sizes) {
    double about = 1.0;
    for (const int64_t size : sizes) {
        if (size < 0) fail("sizes must not be negative, got " + std::to_string(size));
        about *= static_cast<double>(size);
    }
    if (about > static_cast<double>(kMostElements)) fail("the sizes are too large: their product must be at most 2^56");
    if (about == 0.0) return 0;
    int64_t product = 1;
    for (const int64_t size : sizes) product *= size;
    return product;
}

// A size that must be from `least` to `most`.
inline int64_t checked(const char* name, int64_t size, int64_t least, int64_t most) {
    if (size < least || size > most)
        fail(std::string(name) + " must be from " + std::to_string(least) + " to " + std::to_string(most) + ", got " +
             std::to_string(size));
    return size;
}

// Neurons of `channels` channels at `sites` sites of all samples.
inline int64_t neurons_from(int64_t sites, int64_t channels) {
    checked("sites", sites, 0, kMostElements);
    checked("channels", channels, 1, int64_t{1} << 31);
    return elements({sites, channels});
}

// Steps of a train.
struct Steps {
    int64_t count;

    operator int64_t() const { return count; }
};
inline Steps steps_from(int64_t steps) { return {checked("steps", steps, 1, kMaxSteps)}; }

// The numbers of a Layer in the order of its members.
using Geometry = std::array<int64_t, 13>;

inline Layer layer_from(const Geometry& g) {
    Layer l{g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11], g[12]};
    constexpr int64_t kMost = int64_t{1} << 31;  // what kernels count in 32 bits: places, rows and steps of one sample
    checked("batch", l.batch, 0, kMost);
    for (const int64_t size :
         {l.height, l.width, l.channels, l.pool, l.kernel_height, l.kernel_width, l.stride_y, l.stride_x, l.outputs})
        checked("each size of a layer", size, 1, kMost);
    for (const int64_t pad : {l.pad_y, l.pad_x}) checked("the padding", pad, 0, kMost);
    steps_from(l.steps);
    if (l.pool > l.height || l.pool > l.width) fail("the pool is larger than the input");
    if (l.cells_y() + 2 * l.pad_y < l.kernel_height || l.cells_x() + 2 * l.pad_x < l.kernel_width)
        fail("the kernel is larger than the padded input");
    // Beyond the kernel's last place every stride makes one output; kernels have tables of a stride's length.
    l.stride_y = std::min(l.stride_y, l.cells_y() + 2 * l.pad_y - l.kernel_height + 1);
    l.stride_x = std::min(l.stride_x, l.cells_x() + 2 * l.pad_x - l.kernel_width + 1);
    const int64_t out_height = l.out_height(), out_width = l.out_width();
    const auto counted = [&](const char* what, std::initializer_list<int64_t> sizes) {
        if (elements(sizes) >= kMost)
            fail(std::string("the layer is too large for the kernels: it must have fewer than 2^31 ") + what);
    };
    counted("input units times steps per sample", {l.height, l.width, l.channels, l.steps});
    counted("outputs times steps per sample", {out_height, out_width, l.outputs, l.steps});
    counted("weight rows", {l.kernel_height, l.kernel_width, l.channels});
    counted("weight rows of the transposed product", {l.kernel_height, l.kernel_width, l.outputs});
    counted("samples times steps", {l.batch, l.steps});
    elements({l.batch, l.height, l.width, l.channels, l.steps});
    elements({l.batch, out_height, out_width, l.outputs, l.steps});
    elements({l.kernel_height, l.kernel_width, l.channels, l.outputs});
    return l;
}

// A neuron and its surrogate.
struct FiringNeuron {
    Neuron neuron;
    Surrogate surrogate;

    // The surrogate where a support is to be recorded, which only one that is zero beyond a distance has.
    const Surrogate& recorded(bool record) const {
        if (record && !surrogate.finite()) fail("the surrogate has no finite support; use the dense path");
        return surrogate;
    }
};

// From threshold, decay, surrogate kind, surrogate scale, synaptic decay.
inline FiringNeuron neuron_from(const std::array<float, 5>& given) {
    const auto [threshold, decay, kind, scale, synaptic_decay] = given;
    if (!std::isfinite(threshold)) fail("threshold must be finite");
    if (!(decay > 0.0f && decay <= 2.0f)) fail("decay must be in (0, 2]");
    if (!(synaptic_decay >= 0.0f && synaptic_decay <= 1.0f)) fail("synaptic_decay must be in [0, 1]");
    if (!(kind >= 0.0f && kind < static_cast<float>(kSurrogateKinds))) fail("unknown surrogate kind");
    if (!(scale > 0.0f) || !std::isfinite(scale)) fail("the surrogate's width or alpha must be positive");
    return {{threshold, decay, synaptic_decay}, {static_cast<SurrogateKind>(static_cast<int>(kind)), scale}};
}

// What a bound function gets as a T is what `from` makes of a Given from Python; its refusal is the function's.
template <class T, class Given, T (*from)(Given)>
struct CheckedCaster {
    PYBIND11_TYPE_CASTER(T, py::detail::make_caster<Given>::name);

    bool load(py::handle source, bool convert) {
        py::detail::make_caster<Given> given;
        if (!given.load(source, convert)) return false;
        value = from(py::detail::cast_op<Given>(given));
        return true;
    }
};

}  // namespace firstspike::bindings

namespace pybind11::detail {

namespace fb = firstspike::bindings;
template <>
struct type_caster<fb::Steps> : fb::CheckedCaster<fb::Steps, int64_t, fb::steps_from> {};
template <>
struct type_caster<firstspike::Layer> : fb::CheckedCaster<firstspike::Layer, const fb::Geometry&, fb::layer_from> {};
template <>
struct type_caster<fb::FiringNeuron> : fb::CheckedCaster<fb::FiringNeuron, const std::array<float, 5>&, fb::neuron_from> {};

}  // namespace pybind11::detail
