// Neurons without synapses: direct coding (ramp), the dense drop-in neuron (fire), trains, supports, latencies, dropout.
#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

py::object ramp_forward(int64_t sites, int64_t channels, Steps steps, const FiringNeuron& n, const Array& current, bool record,
                        Threads threads, const Array& times_out) {
    const int64_t neurons = neurons_from(sites, channels);
    return to_python(run(ramp, input<float>(current, "current", neurons), sites, channels, steps, n.neuron, n.recorded(record),
                         record, threads, output<uint8_t>(times_out, "times_out", neurons)));
}

void ramp_backward(int64_t sites, int64_t channels, Steps steps, const FiringNeuron& n, const SupportArrays& support,
                   const Array& slope, const Array& gradient, Threads threads, const Array& gradient_out) {
    const int64_t neurons = neurons_from(sites, channels), entries = entries_of(support);
    const OutputGradient g{support_from(support, sites, channels, steps), input<float>(slope, "slope", entries),
                           input<float>(gradient, "gradient", entries)};
    run(ramp_gradient, g, sites, channels, n.neuron, threads, output<float>(gradient_out, "gradient_out", neurons));
}

void fire_forward(int64_t steps, int64_t neurons, const FiringNeuron& n, const Array& current, Threads threads,
                  const Array& spikes) {
    const int64_t size = elements({steps, neurons});
    const auto* in = input<float>(current, "current", size);
    auto* out = output<float>(spikes, "spikes", size);
    if (size > 0) run(fire_dense, in, steps, neurons, n.neuron, threads, out);
}

void fire_backward(int64_t steps, int64_t neurons, const FiringNeuron& n, const Array& current, const Array& gradient,
                   Threads threads, const Array& gradient_out) {
    const int64_t size = elements({steps, neurons});
    const auto *in = input<float>(current, "current", size), *at = input<float>(gradient, "gradient", size);
    auto* out = output<float>(gradient_out, "gradient_out", size);
    if (size > 0) run(fire_dense_gradient, in, at, steps, neurons, n.neuron, n.surrogate, threads, out);
}

void to_times(Steps steps, int64_t neurons, const Array& spikes, Threads threads, const Array& times) {
    run(times_from_dense, input<float>(spikes, "spikes", elements({steps, neurons})), steps, neurons, threads,
        output<uint8_t>(times, "times", neurons));
}

void to_dense(Steps steps, int64_t neurons, const Array& times, Threads threads, const Array& spikes) {
    run(dense_from_times, input<uint8_t>(times, "times", neurons), steps, neurons, threads,
        output<float>(spikes, "spikes", elements({steps, neurons})));
}

// The nonzero elements of a gradient [steps, sites, channels] as (offset, gradient, place).
py::object to_support(Steps steps, int64_t sites, int64_t channels, const Array& gradient, Threads threads) {
    const int64_t size = elements({steps, neurons_from(sites, channels)});
    return to_python(run(support_from_dense, input<float>(gradient, "gradient", size), sites, channels, steps, threads));
}

void at_support(Steps steps, int64_t sites, int64_t channels, const Array& gradient, const SupportArrays& support,
                Threads threads, const Array& gradient_out) {
    const auto* in = input<float>(gradient, "gradient", elements({steps, neurons_from(sites, channels)}));
    run(gather_at_support, in, sites, channels, support_from(support, sites, channels, steps), threads,
        output<float>(gradient_out, "gradient_out", entries_of(support)));
}

void latency(Steps steps, const Array& x, Threads threads, const Array& times) {
    const int64_t units = checked("the size of x", x.size(), 0, kMostElements);
    run(linear_latency, input<float>(x, "x", units), units, steps, threads, output<uint8_t>(times, "times", units));
}

DropoutMask mask_from(const Array& seed, int64_t keep) {
    checked("keep", keep, 0, 65536);
    return {static_cast<uint64_t>(*input<int64_t>(seed, "seed", 1)), static_cast<uint32_t>(keep)};
}

void drop(int64_t sites, int64_t channels, const Array& times, const Array& seed, int64_t keep, Threads threads,
          const Array& times_out) {
    const int64_t neurons = neurons_from(sites, channels);
    run(drop_spikes, input<uint8_t>(times, "times", neurons), sites, channels, mask_from(seed, keep), threads,
        output<uint8_t>(times_out, "times_out", neurons));
}

void drop_backward(Steps steps, int64_t sites, int64_t channels, const Array& gradient,
                   const std::optional<SupportArrays>& support, const Array& seed, int64_t keep, Threads threads,
                   const Array& gradient_out) {
    const Anchor anchor(support, sites, channels, steps);
    run(drop_gradient, input<float>(gradient, "gradient", anchor.size()), steps, sites, channels, anchor.support(),
        mask_from(seed, keep), threads, output<float>(gradient_out, "gradient_out", anchor.size()));
}

}  // namespace

void bind_neurons(py::module_& m) {
    m.def("empty", &scratch_array, py::arg("size"), "Uninitialised float32 memory that the kernels reuse once it is freed");
    def(m, "ramp", &ramp_forward, "sites", "channels", "steps", "neuron", "current", "record", "threads", "times_out");
    def(m, "ramp_gradient", &ramp_backward, "sites", "channels", "steps", "neuron", "support", "slope", "gradient", "threads",
        "gradient_out");
    def(m, "fire", &fire_forward, "steps", "neurons", "neuron", "current", "threads", "spikes");
    def(m, "fire_gradient", &fire_backward, "steps", "neurons", "neuron", "current", "gradient", "threads", "gradient_out");
    def(m, "times_from_dense", &to_times, "steps", "neurons", "spikes", "threads", "times");
    def(m, "dense_from_times", &to_dense, "steps", "neurons", "times", "threads", "spikes");
    def(m, "linear_latency", &latency, "steps", "x", "threads", "times");
    def(m, "support_from_dense", &to_support, "steps", "sites", "channels", "gradient", "threads");
    def(m, "gather_at_support", &at_support, "steps", "sites", "channels", "gradient", "support", "threads", "gradient_out");
    def(m, "drop_spikes", &drop, "sites", "channels", "times", "seed", "keep", "threads", "times_out");
    def(m, "drop_gradient", &drop_backward, "steps", "sites", "channels", "gradient", "support", "seed", "keep", "threads",
        "gradient_out");
}

}  // namespace firstspike::bindings
