// Runs one CPU kernel without Python and prints its time.
//
//   firstspike_bench PASS SIZES [option=value ...]
//
// PASS is forward, inference, weight_gradient or input_gradient. SIZES names a layer: linear:IN-OUT, or
// conv:CHANNELSxHEIGHTxWIDTH-OUT, with a 3x3 kernel and padding 1. Options: batch=64 steps=8 pool=1 threads=1 decay=1
// fires=0.5 (the share of input neurons that fire, at random steps) seconds=1.
//
// Prints the nanoseconds of the shortest run, and how many runs there were.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

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

template <class Kernel>
void measure(double seconds, Kernel&& kernel) {
    using Clock = std::chrono::steady_clock;
    double best = 1e30;
    int runs = 0;
    const auto until = Clock::now() + std::chrono::duration<double>(seconds);
    do {
        const auto from = Clock::now();
        kernel();
        best = std::min(best, std::chrono::duration<double, std::nano>(Clock::now() - from).count());
        ++runs;
    } while (Clock::now() < until || runs < 5);
    std::printf("ns %.0f  runs %d\n", best, runs);
}

void run(const Options& o) {
    const Layer& l = o.layer;
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(0.0f, 1.0f);
    std::vector<uint8_t> times(static_cast<size_t>(l.batch * l.units()));
    for (auto& time : times) {
        const float step = uniform(random) * static_cast<float>(l.steps) * 0.999f;
        time = static_cast<uint8_t>(uniform(random) < o.fires ? static_cast<int>(step) : kSilent);
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
    const std::map<std::string, std::function<void()>> passes{
        {"forward", [&] { fire_layer(s, o.neuron, surrogate, true, fired.data()); }},
        {"inference", [&] { fire_layer(s, o.neuron, surrogate, false, fired.data()); }},
        {"weight_gradient", [&] { weight_gradient(s, o.neuron, g, view, weight_out.data(), bias_out.data()); }},
        {"input_gradient", [&] { input_gradient(s, o.neuron, g, &input_view, input_out.data()); }}};
    const auto pass = passes.find(o.pass);
    if (pass == passes.end())
        throw std::invalid_argument("PASS must be forward, inference, weight_gradient or input_gradient, got " + o.pass);
    measure(o.seconds, pass->second);
}

}  // namespace
}  // namespace firstspike

int main(int count, char** arguments) {
    try {
        firstspike::run(firstspike::parse(count, arguments));
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
