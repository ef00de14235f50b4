// Pooling windows: the spikes that max pooling and earliest pooling leave.
#include "../cpu/distinct.h"
#include "../cpu/earliest.h"
#include "arguments.h"
#include "maps.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

int64_t distinct(const MapSizes& sizes, int64_t pool, const Array& times, int threads, const Array& times_out) {
    const Windows windows = windows_from(sizes, pool);
    const int64_t neurons = windows.sites() * windows.channels;
    const auto* in = input<uint8_t>(times, "times", neurons);
    auto* out = output<uint8_t>(times_out, "times_out", neurons);
    const py::gil_scoped_release released;
    return distinct_spikes(in, windows, threads_from(threads), out);
}

void distinct_gradient(int64_t steps, const MapSizes& sizes, int64_t pool, const Array& gradient, const Array& times,
                       const std::optional<SupportArrays>& support, int threads, const Array& gradient_out) {
    const Windows windows = windows_from(sizes, pool);
    const int64_t neurons = windows.sites() * windows.channels, dense = elements({steps_from(steps), neurons});
    const int64_t size = support ? entries_of(*support) : dense;
    const auto* in = input<float>(gradient, "gradient", size);
    const auto* left = input<uint8_t>(times, "times", neurons);
    auto* out = output<float>(gradient_out, "gradient_out", size);
    const SupportView view = support ? support_from(*support, windows.sites(), windows.channels, steps) : SupportView{};
    const py::gil_scoped_release released;
    if (support)
        distinct_gradient_at(in, left, windows, view, threads_from(threads), out);
    else
        distinct_gradient_dense(in, left, windows, steps, threads_from(threads), out);
}

void earliest(const MapSizes& sizes, int64_t pool, const Array& times, int threads, const Array& times_out,
              const Array& winner_out) {
    const Windows windows = windows_from(sizes, checked("pool", pool, 1, kWidestPool));
    const int64_t cells = windows.cells() * windows.channels;
    const auto* in = input<uint8_t>(times, "times", windows.sites() * windows.channels);
    auto* out = output<uint8_t>(times_out, "times_out", cells);
    auto* winner = output<uint8_t>(winner_out, "winner_out", cells);
    const py::gil_scoped_release released;
    earliest_times(in, windows, threads_from(threads), out, winner);
}

py::tuple earliest_entries(const MapSizes& sizes, int64_t pool, const Array& winner, const SupportArrays& support, int threads) {
    const Windows windows = windows_from(sizes, checked("pool", pool, 1, kWidestPool));
    const auto* in = input<uint8_t>(winner, "winner", windows.cells() * windows.channels);
    const SupportView view = support_from(support, windows.sites(), windows.channels, kMaxSteps);
    EarliestSupport found;
    {
        const py::gil_scoped_release released;
        found = earliest_support(in, windows, view, threads_from(threads));
    }
    return to_python(std::move(found));
}

}  // namespace

void bind_windows(py::module_& m) {
    def(m, "distinct_spikes", &distinct, "sizes", "pool", "times", "threads", "times_out");
    def(m, "distinct_gradient", &distinct_gradient, "steps", "sizes", "pool", "gradient", "times", "support", "threads",
        "gradient_out");
    def(m, "earliest_times", &earliest, "sizes", "pool", "times", "threads", "times_out", "winner_out");
    def(m, "earliest_support", &earliest_entries, "sizes", "pool", "winner", "support", "threads");
}

}  // namespace firstspike::bindings
