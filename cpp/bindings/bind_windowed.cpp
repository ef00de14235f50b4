// Layers of windows.
#include <cmath>

#include "../cpu/windowed.h"
#include "arguments.h"
#include "maps.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

using WindowSizes = std::tuple<int64_t, int64_t, int64_t>;  // sites, channels, steps
// Moments, gamma, beta, clip, and what is added to the variance.
using WindowParameters = std::tuple<std::optional<Array>, std::optional<Array>, std::optional<Array>, Array, double>;

int64_t window_from(int64_t steps) { return checked("steps", steps, 1, kMostWindowSteps); }

WindowedNeurons neurons_of(const WindowSizes& sizes, const WindowParameters& parameters) {
    const auto [sites, channels, steps] = sizes;
    const auto& [moments, gamma, beta, clip, eps] = parameters;
    neurons_from(sites, channels);
    window_from(steps);
    const int64_t clips = clip.size() == 1 ? 1 : channels;
    const WindowedNeurons n{sites,
                            channels,
                            steps,
                            input<float>(moments, "moments", 2 * channels),
                            input<float>(gamma, "gamma", channels),
                            input<float>(beta, "beta", channels),
                            input<float>(clip, "clip", clips),
                            clips,
                            eps};
    if (!(eps >= 0.0)) fail("eps must be at least 0");
    for (int64_t i = 0; i < clips; ++i)
        if (!(n.clip[i] > 0.0f && std::isfinite(n.clip[i])))
            fail("clip must be positive and finite, got " + std::to_string(n.clip[i]) + " at " + std::to_string(i));
    return n;
}

void moments_of(int64_t sites, int64_t channels, const Array& current, int threads, const Array& moments_out) {
    const int64_t neurons = neurons_from(checked("sites", sites, 1, kMostElements), channels);
    const auto* in = input<float>(current, "current", neurons);
    auto* out = output<float>(moments_out, "moments_out", 2 * channels);
    const py::gil_scoped_release released;
    channel_moments(in, sites, channels, threads_from(threads), out);
}

void times_in_window(const WindowSizes& sizes, const WindowParameters& parameters, const Array& current, int threads,
                     const Array& times_out, const std::optional<Array>& codes_out) {
    const WindowedNeurons n = neurons_of(sizes, parameters);
    const auto* in = input<float>(current, "current", n.sites * n.channels);
    auto* out = output<uint8_t>(times_out, "times_out", n.sites * n.channels);
    auto* codes = codes_out ? output<uint8_t>(*codes_out, "codes_out", n.sites * n.channels) : nullptr;
    const py::gil_scoped_release released;
    windowed_times(in, n, threads_from(threads), out, codes);
}

void gradient_in_window(const WindowSizes& sizes, const WindowParameters& parameters, bool batch, const Array& gradient,
                        const Array& codes, int threads, const std::optional<Array>& current_out,
                        const std::optional<Array>& gamma_out, const std::optional<Array>& beta_out,
                        const std::optional<Array>& clip_out) {
    const WindowedNeurons n = neurons_of(sizes, parameters);
    const auto* at = input<float>(gradient, "gradient", n.sites * n.channels);
    const auto* code = input<uint8_t>(codes, "codes", n.sites * n.channels);
    const auto out = [](const std::optional<Array>& array, const char* name, int64_t size) {
        return array ? output<float>(*array, name, size) : nullptr;
    };
    const WindowedGradients to{out(current_out, "current_out", n.sites * n.channels), out(gamma_out, "gamma_out", n.channels),
                               out(beta_out, "beta_out", n.channels), out(clip_out, "clip_out", n.clips)};
    const py::gil_scoped_release released;
    windowed_gradient(at, code, n, batch && n.moments && n.sites > 0, threads_from(threads), to);
}

void values_in_window(const MapSizes& sizes, int64_t pool, int64_t steps, const Array& times, int threads,
                      const Array& values_out) {
    const Windows windows = windows_from(sizes, pool);
    window_from(steps);
    const auto* in = input<uint8_t>(times, "times", windows.sites() * windows.channels);
    auto* out = output<float>(values_out, "values_out", windows.cells() * windows.channels);
    const py::gil_scoped_release released;
    windowed_values(in, windows, steps, threads_from(threads), out);
}

void values_gradient(const MapSizes& sizes, int64_t pool, const Array& gradient, int threads, const Array& values_out) {
    const Windows windows = windows_from(sizes, pool);
    const auto* in = input<float>(gradient, "gradient", windows.cells() * windows.channels);
    auto* out = output<float>(values_out, "values_out", windows.sites() * windows.channels);
    const py::gil_scoped_release released;
    windowed_values_gradient(in, windows, threads_from(threads), out);
}

void earliest_gradient(const MapSizes& sizes, int64_t pool, const Array& gradient, const Array& winner, int threads,
                       const Array& values_out) {
    const Windows windows = windows_from(sizes, checked("pool", pool, 1, kWidestPool));
    const auto* in = input<float>(gradient, "gradient", windows.cells() * windows.channels);
    const auto* from = input<uint8_t>(winner, "winner", windows.cells() * windows.channels);
    auto* out = output<float>(values_out, "values_out", windows.sites() * windows.channels);
    const py::gil_scoped_release released;
    windowed_earliest_gradient(in, from, windows, threads_from(threads), out);
}

}  // namespace

void bind_windowed(py::module_& m) {
    def(m, "channel_moments", &moments_of, "sites", "channels", "current", "threads", "moments_out");
    def(m, "windowed_times", &times_in_window, "sizes", "parameters", "current", "threads", "times_out", "codes_out");
    def(m, "windowed_gradient", &gradient_in_window, "sizes", "parameters", "batch", "gradient", "codes", "threads",
        "current_out", "gamma_out", "beta_out", "clip_out");
    def(m, "windowed_values", &values_in_window, "sizes", "pool", "steps", "times", "threads", "values_out");
    def(m, "windowed_values_gradient", &values_gradient, "sizes", "pool", "gradient", "threads", "values_out");
    def(m, "windowed_earliest_gradient", &earliest_gradient, "sizes", "pool", "gradient", "winner", "threads", "values_out");
}

}  // namespace firstspike::bindings
