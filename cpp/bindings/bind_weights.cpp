// Weight normalisation with affine, and its gradient.
#include <vector>

#include "../cpu/weight_normalization.h"
#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

Weights weights_from(int64_t outputs, int64_t inputs, const Array& weight, const std::optional<Array>& gamma, double deviation,
                     bool per_output) {
    const int64_t size = elements({outputs, inputs});
    if (size < 1) fail("the weight must have at least one element");
    return {outputs, inputs, input<float>(weight, "weight", size), input<float>(gamma, "gamma", outputs), deviation, per_output};
}

// moments_out: float64 [groups, 2], the mean and the inverse of the deviation of the whole weight, or of each output's.
void normalize(int64_t outputs, int64_t inputs, const Array& weight, const std::optional<Array>& gamma, double deviation,
               bool per_output, int threads, const Array& normal_out, const Array& moments_out) {
    const Weights w = weights_from(outputs, inputs, weight, gamma, deviation, per_output);
    auto* out = output<float>(normal_out, "normal_out", w.outputs * w.inputs);
    auto* moments = output<double>(moments_out, "moments_out", 2 * w.groups());
    const py::gil_scoped_release released;
    std::vector<Moments> found(static_cast<size_t>(w.groups()));
    normalize_weight(w, threads_from(threads), out, found.data());
    for (const auto& [mean, inverse] : found) {
        *moments++ = mean;
        *moments++ = inverse;
    }
}

void normalize_gradient(int64_t outputs, int64_t inputs, const Array& weight, const std::optional<Array>& gamma, double deviation,
                        bool per_output, const Array& moments, const Array& gradient, int threads, const Array& weight_out,
                        const std::optional<Array>& gamma_out) {
    const Weights w = weights_from(outputs, inputs, weight, gamma, deviation, per_output);
    const auto* given = input<double>(moments, "moments", 2 * w.groups());
    const auto* at = input<float>(gradient, "gradient", w.outputs * w.inputs);
    auto* at_weight = output<float>(weight_out, "weight_out", w.outputs * w.inputs);
    auto* at_gamma = gamma_out ? output<float>(*gamma_out, "gamma_out", outputs) : nullptr;
    const py::gil_scoped_release released;
    std::vector<Moments> found(static_cast<size_t>(w.groups()));
    for (size_t group = 0; group < found.size(); ++group) found[group] = {given[2 * group], given[2 * group + 1]};
    normalize_weight_gradient(w, found.data(), at, threads_from(threads), at_weight, at_gamma);
}

}  // namespace

void bind_weights(py::module_& m) {
    m.attr("smallest_variance") = kSmallestVariance;
    def(m, "normalize_weight", &normalize, "outputs", "inputs", "weight", "gamma", "deviation", "per_output", "threads",
        "normal_out", "moments_out");
    def(m, "normalize_weight_gradient", &normalize_gradient, "outputs", "inputs", "weight", "gamma", "deviation", "per_output",
        "moments", "gradient", "threads", "weight_out", "gamma_out");
}

}  // namespace firstspike::bindings
