#include "windows.h"

#include <algorithm>
#include <limits>

#include "fixed.h"
#include "kernel.h"
#include "network.h"
#include "threads.h"

namespace firstspike::emulator {

WindowNetwork::WindowNetwork(int steps) : steps_(steps) { in_range("input", "steps", steps, 1, kSilent); }

int WindowNetwork::updated(const WindowLayer& layer) {
    int steps = layer.pools ? 0 : layer.steps;
    for (int k = 0; k < layer.input_count; ++k)
        if (k == 0 || layer.inputs[k].source != layer.inputs[k - 1].source) steps += layer.inputs[k].steps;
    return steps;
}

template <class T>
const T* WindowNetwork::keep(std::vector<T> values) {
    auto kept = std::make_shared<std::vector<T>>(std::move(values));
    storage_.push_back(kept);
    return kept->data();
}

void WindowNetwork::check_input(const WindowSpec& spec, Synapses& in, int64_t weights) const {
    Layer& map = in.map;
    const std::string& name = spec.name;
    const int count = static_cast<int>(layers_.size());
    in_range(name, "source", in.source, -1, count - 1);
    const int64_t rows = check_geometry(name, map);
    in_range(name, "groups", in.groups, 1, map.conv ? std::min(map.in_c, map.out_c) : 1);
    if (map.in_c % in.groups || map.out_c % in.groups) refuse(name, "groups must divide the channels of input and output");
    map.stride = map.out_c / in.groups;
    in_range(name, "weight count", weights, rows * map.stride, rows * map.stride);
    const Layer& first = count ? layers_.front().inputs[0].map : spec.layer.inputs[0].map;
    const WindowLayer* source = in.source < 0 ? nullptr : &layers_[in.source];
    const int h = source ? source->out_h : first.in_h, w = source ? source->out_w : first.in_w;
    if (map.in_h != h || map.in_w != w || map.in_c != (source ? source->out_c : first.in_c))
        refuse(name, "its input shape is not that of its source");
    if (map.out_h != spec.layer.out_h || map.out_w != spec.layer.out_w || map.out_c != spec.layer.out_c)
        refuse(name, "its inputs must reach its neurons");
    in.steps = source ? source->steps : steps_;
    in_range(name, "the steps of its source", in.steps, 1, kSilent);
}

void WindowNetwork::add(const WindowSpec& spec) {
    WindowLayer a = spec.layer;
    const std::string& name = spec.name;
    in_range(name, "number of inputs", a.input_count, 1, 2);
    for (int k = 0; k < a.input_count; ++k) check_input(spec, a.inputs[k], spec.weight_count[k]);
    in_range(name, "own source", a.inputs[a.input_count - 1].source, static_cast<int64_t>(layers_.size()) - 1,
             static_cast<int64_t>(layers_.size()) - 1);
    in_range(name, "steps", a.steps, 0, kSilent);
    if (a.pools) in_range(name, "steps of a pool", a.steps, a.inputs[0].steps, a.inputs[0].steps);
    in_range(name, "shift", spec.shift, 0, 24);
    check_register(name, "current", a.current);
    check_register(name, "membrane", a.membrane);
    for (const auto& [label, size] :
         {std::pair{"theta count", spec.theta_count}, {"bias count", spec.start_count}, {"rise count", spec.rise_count}})
        in_range(name, label, size, a.out_c, a.out_c);

    int64_t sum = 0, value = std::max(farthest(a.current), farthest(a.membrane));
    for (int k = 0; k < a.input_count; ++k) {
        Synapses& in = a.inputs[k];
        std::vector<int32_t> shifted(in.weights, in.weights + spec.weight_count[k]);
        int64_t largest = 0;
        for (int32_t& w : shifted) {
            largest = std::max(largest, std::abs(int64_t{w}));
            w = static_cast<int32_t>(static_cast<uint32_t>(w) << spec.shift);
        }
        in_range(name, "the largest |weight| times 2^shift", largest << spec.shift, 0, std::numeric_limits<int32_t>::max());
        sum += (largest << spec.shift) * in.map.in_h * in.map.in_w * in.map.in_c;
        in.weights = keep(std::move(shifted));
    }
    std::vector<int64_t> theta(a.out_c);
    for (int c = 0; c < a.out_c; ++c) {
        in_range(name, "theta", a.theta[c], -kLargestValue, kLargestValue);
        in_range(name, "bias", a.start[c], a.membrane.low, a.membrane.high);
        in_range(name, "rise", a.rise[c], 0, a.current.high);
        theta[c] = FIRSTSPIKE_EMULATOR_ISA::threshold_as_ge(a.theta[c], spec.strict);
        if (a.pools && theta[c] <= a.start[c]) refuse(name, "a pool must not fire without a spike");
        value = std::max({value, std::abs(theta[c])});
    }
    // The largest value that any order of any events can reach: I + A, then V + I.
    a.narrow = farthest(a.current) + sum + value < std::numeric_limits<int32_t>::max() &&
               farthest(a.current) + farthest(a.membrane) < std::numeric_limits<int32_t>::max() && a.current.bits < 32 &&
               a.membrane.bits < 32;
    a.theta = keep(std::move(theta));
    a.start = keep(std::vector<int64_t>(a.start, a.start + a.out_c));
    a.rise = keep(std::vector<int64_t>(a.rise, a.rise + a.out_c));
    layers_.push_back(a);
}

namespace {

struct Workspace {
    Workspace(int64_t neurons, std::size_t layers)
        : index(neurons), begin(kSilent + 1), current(neurons), v(neurons), theta(neurons), times(layers + 1), trace(layers) {}
    std::vector<int32_t> index, begin;
    std::vector<int64_t> current, v, theta;
    std::vector<uint8_t*> times;
    std::vector<int64_t*> trace;
};

}  // namespace

void run(const WindowNetwork& network, const uint8_t* times, int64_t samples, int threads, const WindowResults& results) {
    const std::vector<WindowLayer>& layers = network.layers();
    const std::size_t count = layers.size();
    const RunWindows run_windows = kernel().run_windows;
    int64_t neurons = network.sources();
    for (const WindowLayer& layer : layers) neurons = std::max<int64_t>(neurons, layer.neurons());
    over_samples<Workspace>(
        samples, threads, [&] { return std::make_unique<Workspace>(neurons, count); },
        [&](Workspace& space, int64_t b) {
            space.times[0] = const_cast<uint8_t*>(times) + b * network.sources();  // only read
            for (std::size_t l = 0; l < count; ++l) {
                const int64_t size = layers[l].neurons();
                space.times[l + 1] = results.times[l] + b * size;
                if (results.trace[l]) space.trace[l] = results.trace[l] + b * WindowNetwork::updated(layers[l]) * size;
            }
            run_windows(
                {layers.data(), static_cast<int>(count), space.times.data(), space.trace.data(),
                 results.last + b * layers.back().neurons(), results.counters + b * static_cast<int64_t>(count) * kCounters,
                 Events{space.index.data(), space.begin.data()}, space.current.data(), space.v.data(), space.theta.data()});
        });
}

}  // namespace firstspike::emulator
