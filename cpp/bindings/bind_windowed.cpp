// Layers of windows.
#include <cmath>

#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

using WindowSizes = std::tuple<int64_t, int64_t, int64_t>;  // sites, channels, steps
// Moments, gamma, beta, clip, and what is added to the variance.
using WindowParameters = std::tuple<std::optional<Array>, std::optional<Array>, std::optional<Array>, Array, double>;

WindowedNeurons neurons_of(const WindowSizes& sizes, const WindowParameters& parameters) {
    const auto& [moments, gamma, beta, clip, eps] = parameters;
    WindowedNeurons n{};
    std::tie(n.sites, n.channels, n.steps) = sizes;
    neurons_from(n.sites, n.channels);
    checked("steps", n.steps, 1, kMostWindowSteps);
    n.moments = input<float>(moments, "moments", 2 * n.channels);
    n.gamma = input<float>(gamma, "gamma", n.channels), n.beta = input<float>(beta, "beta", n.channels);
    n.clips = clip.size() == 1 ? 1 : n.channels, n.clip = input<float>(clip, "clip", n.clips);
    if (!((n.eps = eps) >= 0.0)) fail("eps must be at least 0");
    for (int64_t i = 0; i < n.clips; ++i)
        if (!(n.clip[i] > 0.0f && std::isfinite(n.clip[i])))
            fail("clip must be positive and finite, got " + std::to_string(n.clip[i]) + " at " + std::to_string(i));
    return n;
}

void moments_of(int64_t sites, int64_t channels, const Array& current, Threads threads, const Array& moments_out) {
    const int64_t neurons = neurons_from(checked("sites", sites, 1, kMostElements), channels);
    run(channel_moments, input<float>(current, "current", neurons), sites, channels, threads,
        output<float>(moments_out, "moments_out", 2 * channels));
}

void times_in_window(const WindowSizes& sizes, const WindowParameters& parameters, const Array& current, Threads threads,
                     const Array& times_out, const std::optional<Array>& normalized_out) {
    const WindowedNeurons n = neurons_of(sizes, parameters);
    const int64_t neurons = n.sites * n.channels;
    run(windowed_times, input<float>(current, "current", neurons), n, threads, output<uint8_t>(times_out, "times_out", neurons),
        output<Bfloat16>(normalized_out, "normalized_out", neurons));
}

void gradient_in_window(const WindowSizes& sizes, const WindowParameters& parameters, bool batch, const Array& gradient,
                        const Array& normalized, Threads threads, const std::optional<Array>& current_out,
                        const std::optional<Array>& gamma_out, const std::optional<Array>& beta_out,
                        const std::optional<Array>& clip_out) {
    const WindowedNeurons n = neurons_of(sizes, parameters);
    const int64_t neurons = n.sites * n.channels;
    const WindowedGradients to{output<float>(current_out, "current_out", neurons),
                               output<float>(gamma_out, "gamma_out", n.channels), output<float>(beta_out, "beta_out", n.channels),
                               output<float>(clip_out, "clip_out", n.clips)};
    run(windowed_gradient, input<float>(gradient, "gradient", neurons), input<Bfloat16>(normalized, "normalized", neurons), n,
        batch && n.moments && n.sites > 0, threads, to);
}

void values_in_window(const MapSizes& sizes, int64_t pool, int64_t steps, const Array& times, Threads threads,
                      const Array& values_out) {
    const Patches p = patches_from(sizes, pool, kWidestAverage);
    run(windowed_values, input<uint8_t>(times, "times", p.units()), p,
        static_cast<int>(checked("steps", steps, 1, kMostWindowSteps)), threads,
        output<float>(values_out, "values_out", p.pooled()));
}

void values_gradient(const MapSizes& sizes, int64_t pool, const Array& gradient, Threads threads, const Array& values_out) {
    const Patches p = patches_from(sizes, pool, kWidestAverage);
    run(windowed_values_gradient, input<float>(gradient, "gradient", p.pooled()), p, threads,
        output<float>(values_out, "values_out", p.units()));
}

void earliest_in_window(const MapSizes& sizes, int64_t pool, const Array& times, Threads threads, const Array& earliest_out) {
    const Patches p = patches_from(sizes, pool);
    run(windowed_earliest, input<uint8_t>(times, "times", p.units()), p, threads,
        output<uint8_t>(earliest_out, "earliest_out", p.pooled()));
}

void earliest_gradient(const MapSizes& sizes, int64_t pool, const Array& gradient, const Array& times, const Array& earliest,
                       Threads threads, const Array& values_out) {
    const Patches p = patches_from(sizes, pool);
    run(windowed_earliest_gradient, input<float>(gradient, "gradient", p.pooled()), input<uint8_t>(times, "times", p.units()),
        input<uint8_t>(earliest, "earliest", p.pooled()), p, threads, output<float>(values_out, "values_out", p.units()));
}

}  // namespace

void bind_windowed(py::module_& m) {
    def(m, "channel_moments", &moments_of, "sites", "channels", "current", "threads", "moments_out");
    def(m, "windowed_times", &times_in_window, "sizes", "parameters", "current", "threads", "times_out", "normalized_out");
    def(m, "windowed_gradient", &gradient_in_window, "sizes", "parameters", "batch", "gradient", "normalized", "threads",
        "current_out", "gamma_out", "beta_out", "clip_out");
    def(m, "windowed_values", &values_in_window, "sizes", "pool", "steps", "times", "threads", "values_out");
    def(m, "windowed_values_gradient", &values_gradient, "sizes", "pool", "gradient", "threads", "values_out");
    def(m, "windowed_earliest", &earliest_in_window, "sizes", "pool", "times", "threads", "earliest_out");
    def(m, "windowed_earliest_gradient", &earliest_gradient, "sizes", "pool", "gradient", "times", "earliest", "threads",
        "values_out");
}

}  // namespace firstspike::bindings
