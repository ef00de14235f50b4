// Runs one CPU kernel without Python and prints its time.
//
//   firstspike_bench PASS SIZES [option=value ...]
//
// PASS is forward, inference, weight_gradient or input_gradient. SIZES names a layer: linear:IN-OUT, or
// conv:CHANNELSxHEIGHTxWIDTH-OUT, with a 3x3 kernel and padding 1. Options: batch=64 steps=8 pool=1 threads=1 decay=1
// fires=0.5 (the share of input neurons that fire, at random steps) seconds=1.
//
// Prints the shortest of all runs: nanoseconds, and per weight row that is added (an event at a site, or an entry at a cell)
// nanoseconds and, from the time-stamp counter, cycles; and the bytes of these rows per second.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "../cpu/kernels.h"
#include "../cpu/layer/synapses.h"

namespace firstspike {
namespace {

struct Options {
    std::string pass;
    Layer layer{};
    Neuron neuron{1.0f, 1.0f};
    int threads = 1;
    double fires = 0.5, seconds = 1.0;
};

Options parse(int count, char** arguments) {
    if (count < 3) throw std::invalid_argument("usage: firstspike_bench PASS linear:IN-OUT|conv:CxHxW-OUT [option=value ...]");
    std::map<std::string, double> values{{"batch", 64}, {"steps", 8},   {"pool", 1},   {"threads", 1},
                                         {"decay", 1},  {"fires", 0.5}, {"seconds", 1}};
    for (int i = 3; i < count; ++i) {
        const std::string option = arguments[i];
        const size_t at = option.find('=');
        const auto known = values.find(option.substr(0, at));
        if (at == std::string::npos || known == values.end()) throw std::invalid_argument("unknown option " + option);
        known->second = std::stod(option.substr(at + 1));
    }
    Options o;
    o.pass = arguments[1];
    const auto number = [&](const char* name) { return static_cast<int64_t>(values.at(name)); };
    const int64_t batch = number("batch"), steps = number("steps"), pool = number("pool");
    long long c = 0, h = 0, w = 0, out = 0;
    if (std::sscanf(arguments[2], "linear:%lld-%lld", &c, &out) == 2)
        o.layer = {batch, 1, 1, c, 1, 1, 1, 1, 1, 0, 0, out, steps};
    else if (std::sscanf(arguments[2], "conv:%lldx%lldx%lld-%lld", &c, &h, &w, &out) == 4)
        o.layer = {batch, h, w, c, pool, 3, 3, 1, 1, 1, 1, out, steps};
    else
        throw std::invalid_argument(std::string("unknown layer ") + arguments[2]);
    if (c < 1 || out < 1 || batch < 1 || steps < 1 || steps > kMaxSteps || pool < 1)
        throw std::invalid_argument("sizes must be positive, and steps at most 254");
    o.neuron.decay = static_cast<float>(values.at("decay"));
    o.threads = static_cast<int>(number("threads"));
    o.fires = values.at("fires");
    o.seconds = values.at("seconds");
    return o;
}

uint64_t cycles() {
#if defined(__x86_64__)
    return __rdtsc();
#else
    return 0;
#endif
}

struct Time {
    double ns = 1e30, cycles = 1e30;
    int runs = 0;
};

template <class Kernel>
Time measure(double seconds, Kernel&& kernel) {
    using Clock = std::chrono::steady_clock;
    Time best;
    const auto until = Clock::now() + std::chrono::duration<double>(seconds);
    do {
        const auto from = Clock::now();
        const uint64_t first = cycles();
        kernel();
        const uint64_t last = cycles();
        best.ns = std::min(best.ns, std::chrono::duration<double, std::nano>(Clock::now() - from).count());
        best.cycles = std::min(best.cycles, static_cast<double>(last - first));
        ++best.runs;
    } while (Clock::now() < until || best.runs < 5);
    return best;
}

// How often an event of a unit, or an entry of a site, meets a tap: the pairs of sites and cells over the number of one kind.
double pairs(const Layer& l) {
    double all = 0;
    for (int64_t y = 0; y < l.out_height(); ++y)
        for (int64_t x = 0; x < l.out_width(); ++x)
            for (int64_t tap = 0; tap < l.taps(); ++tap) {
                const int64_t cell_y = l.top(y) + tap / l.kernel_width, cell_x = l.left(x) + tap % l.kernel_width;
                all += cell_y >= 0 && cell_y < l.cells_y() && cell_x >= 0 && cell_x < l.cells_x();
            }
    return all;
}

int run(const Options& o) {
    const Layer& l = o.layer;
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(0.0f, 1.0f);
    std::vector<uint8_t> times(static_cast<size_t>(l.batch * l.units()));
    double events = 0;
    for (auto& time : times) {
        const bool fires = uniform(random) < o.fires;
        time =
            fires ? static_cast<uint8_t>(uniform(random) * static_cast<float>(l.steps) * 0.999f) : static_cast<uint8_t>(kSilent);
        events += fires;
    }
    std::vector<float> weight(static_cast<size_t>(l.outputs * l.rows())), bias(static_cast<size_t>(l.outputs));
    std::normal_distribution<float> normal;
    const float scale = std::sqrt(static_cast<float>(l.steps) / static_cast<float>(l.rows())) * static_cast<float>(l.pool);
    for (auto& w : weight) w = normal(random) * scale;
    const WeightView view{weight.data(), l.rows(), l.taps(), l.kernel_width, 1};
    const Synapses s{l, times.data(), view, bias.data(), o.threads};
    const Surrogate surrogate{SurrogateKind::triangle, 1.0f};

    std::vector<uint8_t> fired(static_cast<size_t>(l.batch * l.sites() * l.outputs));
    const Support support = fire_layer(s, o.neuron, surrogate, true, fired.data());
    const uint8_t* place = support.place.data();
    std::vector<float> gradient(static_cast<size_t>(support.entries));
    for (auto& g : gradient) g = normal(random);
    const OutputGradient g{{support.offset.data(), place, place + support.entries}, support.slope.data(), gradient.data()};

    // Entries of the layer that made the input: one per spike, at its step.
    const int64_t sources = l.batch * l.height * l.width;
    std::vector<float> dense(static_cast<size_t>(l.steps * sources * l.channels));
    dense_from_times(times.data(), l.steps, sources * l.channels, o.threads, dense.data());
    const Support input = support_from_dense(dense.data(), sources, l.channels, l.steps, o.threads);
    const SupportView input_view{input.offset.data(), input.place.data(), input.place.data() + input.entries};

    std::vector<float> weight_out(weight.size()), bias_out(bias.size()), input_out(static_cast<size_t>(input.entries));
    const double met = pairs(l), cells = static_cast<double>(l.cells_y() * l.cells_x());
    double rows = events * met / cells * static_cast<double>(Tiles{l.outputs}.number());
    int64_t width = std::min<int64_t>(Tiles{l.outputs}.padded(), kTile);
    Time time;
    if (o.pass == "forward") {
        time = measure(o.seconds, [&] { fire_layer(s, o.neuron, surrogate, true, fired.data()); });
    } else if (o.pass == "inference") {
        time = measure(o.seconds, [&] { fire_layer(s, o.neuron, surrogate, false, fired.data()); });
    } else if (o.pass == "weight_gradient") {
        time = measure(o.seconds, [&] { weight_gradient(s, o.neuron, g, view, weight_out.data(), bias_out.data()); });
    } else if (o.pass == "input_gradient") {
        rows = static_cast<double>(support.entries) * met / static_cast<double>(l.sites()) *
               static_cast<double>(Tiles{l.channels}.number());
        width = std::min<int64_t>(Tiles{l.channels}.padded(), kTile);
        time = measure(o.seconds, [&] { input_gradient(s, o.neuron, g, &input_view, input_out.data()); });
    } else {
        throw std::invalid_argument("PASS must be forward, inference, weight_gradient or input_gradient, got " + o.pass);
    }
    const double bytes = rows * static_cast<double>(width) * sizeof(float);
    std::printf("ns %.0f  runs %d  rows %.0f  ns/row %.3f  cycles/row %.2f  GB/s %.1f\n", time.ns, time.runs, rows,
                time.ns / rows, time.cycles / rows, bytes / time.ns);
    return 0;
}

}  // namespace
}  // namespace firstspike

int main(int count, char** arguments) {
    try {
        return firstspike::run(firstspike::parse(count, arguments));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
