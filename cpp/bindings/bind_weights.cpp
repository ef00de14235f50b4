// Weight normalisation with affine, and its gradient.
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
               bool per_output, Threads threads, const Array& normal_out, const Array& moments_out) {
    const Weights w = weights_from(outputs, inputs, weight, gamma, deviation, per_output);
    run(normalize_weight, w, threads, output<float>(normal_out, "normal_out", outputs * inputs),
        reinterpret_cast<Moments*>(output<double>(moments_out, "moments_out", 2 * w.groups())));
}

void normalize_gradient(int64_t outputs, int64_t inputs, const Array& weight, const std::optional<Array>& gamma, double deviation,
                        bool per_output, const Array& moments, const Array& gradient, Threads threads, const Array& weight_out,
                        const std::optional<Array>& gamma_out) {
    const Weights w = weights_from(outputs, inputs, weight, gamma, deviation, per_output);
    run(normalize_weight_gradient, w, reinterpret_cast<const Moments*>(input<double>(moments, "moments", 2 * w.groups())),
        input<float>(gradient, "gradient", outputs * inputs), threads, output<float>(weight_out, "weight_out", outputs * inputs),
        output<float>(gamma_out, "gamma_out", outputs));
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
