// Dense trains to spike times and back; dense gradients and support entries; spikes that are lost.
#include "../cpu/pointwise.h"
#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

// The size of a train or a gradient at every step.
int64_t at_every_step(int64_t steps, int64_t neurons) {
    steps_from(steps);
    return elements({steps, neurons});
}

void to_times(int64_t steps, int64_t neurons, const Array& spikes, int threads, const Array& times) {
    const int64_t size = at_every_step(steps, neurons);
    const auto* in = input<float>(spikes, "spikes", size);
    auto* out = output<uint8_t>(times, "times", neurons);
    const py::gil_scoped_release released;
    times_from_dense(in, steps, neurons, threads_from(threads), out);
}

void to_dense(int64_t steps, int64_t neurons, const Array& times, int threads, const Array& spikes) {
    const int64_t size = at_every_step(steps, neurons);
    const auto* in = input<uint8_t>(times, "times", neurons);
    auto* out = output<float>(spikes, "spikes", size);
    const py::gil_scoped_release released;
    dense_from_times(in, steps, neurons, threads_from(threads), out);
}

// The nonzero elements of a gradient [steps, sites, channels] as (offset, gradient, place).
py::tuple to_support(int64_t steps, int64_t sites, int64_t channels, const Array& gradient, int threads) {
    const int64_t size = at_every_step(steps, neurons_from(sites, channels));
    const auto* in = input<float>(gradient, "gradient", size);
    Support support;
    {
        const py::gil_scoped_release released;
        support = support_from_dense(in, sites, channels, steps, threads_from(threads));
    }
    return to_python(std::move(support));
}

void at_support(int64_t steps, int64_t sites, int64_t channels, const Array& gradient, const SupportArrays& support, int threads,
                const Array& gradient_out) {
    const int64_t size = at_every_step(steps, neurons_from(sites, channels));
    const auto* in = input<float>(gradient, "gradient", size);
    const SupportView view = support_from(support, sites, channels, steps);
    auto* out = output<float>(gradient_out, "gradient_out", entries_of(support));
    const py::gil_scoped_release released;
    gather_at_support(in, sites, channels, view, threads_from(threads), out);
}

void latency(int64_t steps, const Array& x, int threads, const Array& times) {
    steps_from(steps);
    const int64_t units = checked("the size of x", x.size(), 0, kMostElements);
    const auto* in = input<float>(x, "x", units);
    auto* out = output<uint8_t>(times, "times", units);
    const py::gil_scoped_release released;
    linear_latency(in, units, steps, threads_from(threads), out);
}

DropoutMask mask_from(const Array& seed, int64_t keep) {
    checked("keep", keep, 0, 65536);
    return {static_cast<uint64_t>(*input<int64_t>(seed, "seed", 1)), static_cast<uint32_t>(keep)};
}

void drop(int64_t sites, int64_t channels, const Array& times, const Array& seed, int64_t keep, int threads,
          const Array& times_out) {
    const int64_t neurons = neurons_from(sites, channels);
    const auto* in = input<uint8_t>(times, "times", neurons);
    auto* out = output<uint8_t>(times_out, "times_out", neurons);
    const DropoutMask mask = mask_from(seed, keep);
    const py::gil_scoped_release released;
    drop_spikes(in, sites, channels, mask, threads_from(threads), out);
}

void drop_gradient(int64_t steps, int64_t sites, int64_t channels, const Array& gradient,
                   const std::optional<SupportArrays>& support, const Array& seed, int64_t keep, int threads,
                   const Array& gradient_out) {
    const int64_t dense = at_every_step(steps, neurons_from(sites, channels));
    const int64_t size = support ? entries_of(*support) : dense;
    const auto* in = input<float>(gradient, "gradient", size);
    auto* out = output<float>(gradient_out, "gradient_out", size);
    const SupportView view = support ? support_from(*support, sites, channels, steps) : SupportView{};
    const DropoutMask mask = mask_from(seed, keep);
    const py::gil_scoped_release released;
    if (support)
        drop_gradient_at(in, sites, channels, view, mask, threads_from(threads), out);
    else
        drop_gradient_dense(in, steps, sites, channels, mask, threads_from(threads), out);
}

}  // namespace

void bind_trains(py::module_& m) {
    m.def("empty", &scratch_array, py::arg("size"), "Uninitialised float32 memory that the kernels reuse once it is freed");
    def(m, "times_from_dense", &to_times, "steps", "neurons", "spikes", "threads", "times");
    def(m, "dense_from_times", &to_dense, "steps", "neurons", "times", "threads", "spikes");
    def(m, "linear_latency", &latency, "steps", "x", "threads", "times");
    def(m, "support_from_dense", &to_support, "steps", "sites", "channels", "gradient", "threads");
    def(m, "gather_at_support", &at_support, "steps", "sites", "channels", "gradient", "support", "threads", "gradient_out");
    def(m, "drop_spikes", &drop, "sites", "channels", "times", "seed", "keep", "threads", "times_out");
    def(m, "drop_gradient", &drop_gradient, "steps", "sites", "channels", "gradient", "support", "seed", "keep", "threads",
        "gradient_out");
}

}  // namespace firstspike::bindings
