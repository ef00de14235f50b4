// Neurons without synapses: direct coding (ramp), neurons whose membranes are known, and the dense drop-in neuron (fire).
#include "../cpu/neurons.h"
#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

// What the kernel records of neurons that get `values` in order, [values per neuron, sites, channels], named so in errors.
template <class Kernel>
py::object fire_sites(Kernel&& kernel, const char* name, int64_t values_per_neuron, int64_t sites, int64_t channels,
                      int64_t steps, const NeuronArguments& n, const Array& values, bool record, int threads,
                      const Array& times_out) {
    const int64_t neurons = neurons_from(sites, channels);
    const Neuron neuron = neuron_from(n);
    const Surrogate surrogate = surrogate_from(n, record);
    const auto* in = input<float>(values, name, elements({values_per_neuron, neurons}));
    auto* out = output<uint8_t>(times_out, "times_out", neurons);
    Support support;
    {
        const py::gil_scoped_release released;
        support = kernel(in, sites, channels, steps, neuron, surrogate, record, threads_from(threads), out);
    }
    if (!record) return py::none();
    return to_python(std::move(support));
}

py::object ramp_forward(int64_t sites, int64_t channels, int64_t steps, const NeuronArguments& n, const Array& current,
                        bool record, int threads, const Array& times_out) {
    steps_from(steps);
    return fire_sites(ramp, "current", 1, sites, channels, steps, n, current, record, threads, times_out);
}

void ramp_backward(int64_t sites, int64_t channels, int64_t steps, const NeuronArguments& n, const SupportArrays& support,
                   const Array& slope, const Array& gradient, int threads, const Array& gradient_out) {
    steps_from(steps);
    const int64_t neurons = neurons_from(sites, channels);
    const int64_t entries = entries_of(support);
    const OutputGradient g{support_from(support, sites, channels, steps), input<float>(slope, "slope", entries),
                           input<float>(gradient, "gradient", entries)};
    const Neuron neuron = neuron_from(n);
    auto* out = output<float>(gradient_out, "gradient_out", neurons);
    const py::gil_scoped_release released;
    ramp_gradient(g, sites, channels, neuron, threads_from(threads), out);
}

void fire_forward(int64_t steps, int64_t neurons, const NeuronArguments& n, const Array& current, int threads,
                  const Array& spikes) {
    const Neuron neuron = neuron_from(n);
    const int64_t size = elements({steps, neurons});
    const auto* in = input<float>(current, "current", size);
    auto* out = output<float>(spikes, "spikes", size);
    const py::gil_scoped_release released;
    if (size > 0) fire_dense(in, steps, neurons, neuron, threads_from(threads), out);
}

void fire_backward(int64_t steps, int64_t neurons, const NeuronArguments& n, const Array& current, const Array& gradient,
                   int threads, const Array& gradient_out) {
    const Neuron neuron = neuron_from(n);
    const Surrogate surrogate = surrogate_from(n);
    const int64_t size = elements({steps, neurons});
    const auto* in = input<float>(current, "current", size);
    const auto* g = input<float>(gradient, "gradient", size);
    auto* out = output<float>(gradient_out, "gradient_out", size);
    const py::gil_scoped_release released;
    if (size > 0) fire_dense_gradient(in, g, steps, neurons, neuron, surrogate, threads_from(threads), out);
}

}  // namespace

void bind_neurons(py::module_& m) {
    def(m, "ramp", &ramp_forward, "sites", "channels", "steps", "neuron", "current", "record", "threads", "times_out");
    def(m, "ramp_gradient", &ramp_backward, "sites", "channels", "steps", "neuron", "support", "slope", "gradient", "threads",
        "gradient_out");
    def(m, "fire", &fire_forward, "steps", "neurons", "neuron", "current", "threads", "spikes");
    def(m, "fire_gradient", &fire_backward, "steps", "neurons", "neuron", "current", "gradient", "threads", "gradient_out");
}

}  // namespace firstspike::bindings
