// Weight normalisation with affine (arXiv 2410.23619, Eq. 16 and 17): each output's weights, less the mean of a group of weights
// and over its deviation, times a factor of the output. A group is the whole weight, or one output's.
//
// Two passes over the weight forward, two over weight and gradient backward. The sums of an output are made by one thread, and
// the outputs' sums are added in their order, so that they do not depend on the threads.
#include "kernels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "layer/plan.h"
#include "runtime/parallel.h"
#include "simd/vector.h"

namespace firstspike {

namespace {

template <class Output>
void each_output(const Weights& w, int threads, Output&& output) {
    parallel_for(w.outputs, w.outputs * w.inputs < kSmallWeight ? 1 : threads, output);
}

// The sums over an output's weights of the C values that term(i, n) makes of those from i on, n of them.
template <int C, class Term>
std::array<double, C> sum_terms(int64_t size, Term&& term) {
    constexpr int64_t kBlock = kNormalizedVectors * kLanes;
    std::array<double, C> total{};
    for (int64_t from = 0; from < size; from += kBlock) {
        const int64_t end = std::min(from + kBlock, size);
        Vec sum[C] = {};
        for (int64_t i = from; i < end; i += kLanes) {
            const std::array<Vec, C> terms = term(i, end - i);
            for (int c = 0; c < C; ++c) sum[c] += terms[c];
        }
        for (int c = 0; c < C; ++c)
            for (int lane = 0; lane < kLanes; ++lane) total[c] += static_cast<double>(sum[c][lane]);
    }
    return total;
}

// For weights so large that their squares leave single precision.
double squares_in_double(const float* weights, int64_t size, double center) {
    double sum = 0;
    for (int64_t i = 0; i < size; ++i) {
        const double from_center = static_cast<double>(weights[i]) - center;
        sum += from_center * from_center;
    }
    return sum;
}

double factor(const Weights& w, int64_t output) { return w.deviation * (w.gamma ? static_cast<double>(w.gamma[output]) : 1.0); }

}  // namespace

void normalize_weight(const Weights& w, int threads, float* out, Moments* moments) {
    struct OutputMoments {
        double mean, squares;  // squares: of the differences from the mean, summed
    };
    std::vector<OutputMoments> outputs(static_cast<size_t>(w.outputs));
    each_output(w, threads, [&](int64_t o) {
        const float* weights = w.data + o * w.inputs;
        const double mean =
            sum_terms<1>(w.inputs, [&](int64_t i, int64_t n) { return std::array{load_some(weights + i, n)}; })[0] /
            static_cast<double>(w.inputs);
        const Vec center = splat(static_cast<float>(mean));
        const auto [squares, rest] = sum_terms<2>(w.inputs, [&](int64_t i, int64_t n) {
            const Vec from_mean = choose(first_lanes(n), load_some(weights + i, n) - center, Vec{});
            return std::array{from_mean * from_mean, from_mean};
        });
        const double all =
            std::isfinite(squares) ? squares : squares_in_double(weights, w.inputs, static_cast<double>(center[0]));
        // `rest` is what the mean lost in single precision.
        const double more = rest / static_cast<double>(w.inputs);
        outputs[static_cast<size_t>(o)] = {static_cast<double>(center[0]) + more, all - rest * more};
    });
    const int64_t per_group = w.outputs / w.groups();
    for (int64_t group = 0; group < w.groups(); ++group) {
        const OutputMoments* first = outputs.data() + group * per_group;
        double mean = 0, squares = 0;
        for (int64_t o = 0; o < per_group; ++o) mean += first[o].mean / static_cast<double>(per_group);
        for (int64_t o = 0; o < per_group; ++o)
            squares += first[o].squares + static_cast<double>(w.inputs) * (first[o].mean - mean) * (first[o].mean - mean);
        const double variance = squares / static_cast<double>(per_group * w.inputs);
        moments[group] = {mean, 1.0 / std::sqrt(variance + kSmallestVariance)};
    }
    each_output(w, threads, [&](int64_t o) {
        const float* weights = w.data + o * w.inputs;
        const Moments& of = moments[w.group(o)];
        const Vec center = splat(static_cast<float>(of.mean));
        const Vec scale = splat(static_cast<float>(factor(w, o) * of.inverse_deviation));
        write_vectors(out + o * w.inputs, w.inputs,
                      [&](int64_t i, int64_t n) { return (load_some(weights + i, n) - center) * scale; });
    });
}

void normalize_weight_gradient(const Weights& w, const Moments* moments, const float* gradient, int threads,
                               float* weight_gradient, float* gamma_gradient) {
    std::vector<std::array<double, 2>> outputs(static_cast<size_t>(w.outputs));
    each_output(w, threads, [&](int64_t o) {
        const float *weights = w.data + o * w.inputs, *at = gradient + o * w.inputs;
        const Vec center = splat(static_cast<float>(moments[w.group(o)].mean));
        outputs[static_cast<size_t>(o)] = sum_terms<2>(w.inputs, [&](int64_t i, int64_t n) {
            const Vec g = load_some(at + i, n);
            return std::array{g, g * (load_some(weights + i, n) - center)};
        });
    });
    // With n the normalised weight: dL/dw = (dL/dn - mean of dL/dn - n times the mean of n dL/dn) / deviation, means of a group.
    struct Means {
        double gradient, along;
    };
    std::vector<Means> means(static_cast<size_t>(w.groups()), Means{0, 0});
    const double size = static_cast<double>(w.outputs / w.groups() * w.inputs);
    for (int64_t o = 0; o < w.outputs; ++o) {
        const auto [sum, product] = outputs[static_cast<size_t>(o)];
        const double inverse = moments[w.group(o)].inverse_deviation;
        Means& of = means[static_cast<size_t>(w.group(o))];
        if (gamma_gradient) gamma_gradient[o] = static_cast<float>(w.deviation * product * inverse);
        of.gradient += factor(w, o) * sum / size;
        of.along += factor(w, o) * product * inverse / size;
    }
    if (size == 1) {  // a weight that is its group's mean: rounding alone would be left, times a million
        std::fill(weight_gradient, weight_gradient + w.outputs * w.inputs, 0.0f);
        return;
    }
    each_output(w, threads, [&](int64_t o) {
        const float *weights = w.data + o * w.inputs, *at = gradient + o * w.inputs;
        const auto [mean, inverse] = moments[w.group(o)];
        const Means& of = means[static_cast<size_t>(w.group(o))];
        const Vec center = splat(static_cast<float>(mean)), scale = splat(static_cast<float>(factor(w, o) * inverse));
        const Vec shift = splat(static_cast<float>(of.gradient * inverse));
        const Vec slope = splat(static_cast<float>(of.along * inverse * inverse));
        write_vectors(weight_gradient + o * w.inputs, w.inputs, [&](int64_t i, int64_t n) {
            return load_some(at + i, n) * scale - shift - (load_some(weights + i, n) - center) * slope;
        });
    });
}

}  // namespace firstspike
