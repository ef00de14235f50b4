// Layers and neurons from Python, checked; shared by the CPU and CUDA bindings.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <tuple>

#include "../core/layer.h"
#include "../core/neuron.h"
#include "../core/surrogate.h"
#include "sizes.h"

namespace firstspike::bindings {

namespace py = pybind11;

// The numbers of a Layer in the order of its members.
using Geometry = std::array<int64_t, 13>;
// threshold, decay, surrogate kind, surrogate scale
using NeuronArguments = std::array<float, 4>;

inline Layer layer_from(const Geometry& g) {
    Layer l{g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11], g[12]};
    constexpr int64_t kMost = int64_t{1} << 31;  // what kernels count in 32 bits: places, rows and steps of one sample
    checked("batch", l.batch, 0, kMost);
    for (const int64_t size :
         {l.height, l.width, l.channels, l.pool, l.kernel_height, l.kernel_width, l.stride_y, l.stride_x, l.outputs})
        checked("each size of a layer", size, 1, kMost);
    for (const int64_t pad : {l.pad_y, l.pad_x}) checked("the padding", pad, 0, kMost);
    steps_from(l.steps);
    if (l.pool > l.height || l.pool > l.width) fail("the pooling window is larger than the input");
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

inline Neuron neuron_from(const NeuronArguments& a) {
    const auto [threshold, decay, kind, scale] = a;
    if (!std::isfinite(threshold)) fail("threshold must be finite");
    if (!(decay > 0.0f && decay <= 2.0f)) fail("decay must be in (0, 2]");
    return {threshold, decay};
}

// recorded: a support is to be recorded, which only a surrogate that is zero beyond a distance has.
inline Surrogate surrogate_from(const NeuronArguments& a, bool recorded = false) {
    const auto [threshold, decay, kind, scale] = a;
    if (!(kind >= 0.0f && kind < static_cast<float>(kSurrogateKinds))) fail("unknown surrogate kind");
    if (!(scale > 0.0f) || !std::isfinite(scale)) fail("the surrogate's width or alpha must be positive");
    const Surrogate surrogate{static_cast<SurrogateKind>(static_cast<int>(kind)), scale};
    if (recorded && !std::isfinite(surrogate.half_width())) fail("the surrogate has no finite support; use the dense path");
    return surrogate;
}

}  // namespace firstspike::bindings
