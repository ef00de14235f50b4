#include "network.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <tuple>

#include "fixed.h"

namespace firstspike::emulator {
namespace {

using Kind = Synapses::Kind;
using Neuron = Layer::Neuron;

constexpr int64_t kLargestMap = int64_t{1} << 24;    // neurons of a layer
constexpr int64_t kLargestTable = int64_t{1} << 31;  // weights of a layer
constexpr int64_t kLargestValue = int64_t{1} << 60;  // thresholds, biases, sums

[[noreturn]] void refuse(const std::string& layer, const std::string& text) {
    throw std::invalid_argument("layer " + layer + ": " + text);
}

void in_range(const std::string& layer, const char* name, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high)
        refuse(layer, std::string(name) + " must be from " + std::to_string(low) + " to " + std::to_string(high) + ", got " +
                          std::to_string(value));
}

void check_register(const std::string& layer, const char* name, const Register& r) {
    in_range(layer, name, r.bits, 1, 61);
    in_range(layer, name, r.low, -kLargestValue, 0);
    in_range(layer, name, r.high, 0, kLargestValue);
    if (r.wrap && r.high - r.low != (int64_t{1} << r.bits) - 1)
        refuse(layer, std::string(name) + " wraps, so its range must be all values of " + std::to_string(r.bits) + " bits");
}

void check_map(const std::string& layer, const char* name, int64_t height, int64_t width, int64_t channels) {
    for (const int64_t size : {height, width, channels}) in_range(layer, name, size, 1, 1 << 20);
    in_range(layer, name, height * width, 1, kLargestMap);
    in_range(layer, name, height * width * channels, 1, kLargestMap);
}

int64_t farthest(const Register& r) { return std::max(-r.low, r.high); }

// The size of the layer's map along one axis that synapses make of `size` pooled places.
int64_t sites(const std::string& name, int64_t size, int kernel, int stride, int pad) {
    in_range(name, "stride", stride, 1, 1 << 20);
    in_range(name, "padding", pad, 0, 1024);
    in_range(name, "kernel", kernel, 1, std::min<int64_t>(1024, size + 2 * pad));
    return (size + 2 * pad - kernel) / stride + 1;
}

template <class T>
void copy_rows(std::span<const int32_t> weights, int down, int64_t out_c, int64_t row, T* to) {
    for (std::size_t i = 0; i < weights.size(); ++i)
        to[static_cast<int64_t>(i) / out_c * row + static_cast<int64_t>(i) % out_c] = static_cast<T>(weights[i] >> down);
}

}  // namespace

Network::Network(int steps) : steps_(steps), total_steps_(steps) { in_range("input", "steps", steps, 1, kSilent); }

int updated_steps(const Network& network, const Layer& layer) {
    if (layer.by_step()) return network.total_steps();
    const Synapses* const in = layer.inputs;
    const bool earlier = layer.input_count > 1 && in[1].source != in[0].source;
    return in[0].steps + (earlier ? in[1].steps : 0) + (layer.neuron == Neuron::pool ? 0 : layer.steps());
}

template <class T>
T* Network::keep(int64_t count) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    storage_.push_back(std::make_unique<std::byte[]>(bytes + 64));
    void* start = storage_.back().get();
    std::size_t room = bytes + 64;
    return static_cast<T*>(std::align(64, bytes, start, room));
}

const void* Network::keep_states(std::span<const int64_t> values, const Layer& a, int64_t padding) {
    const auto kept = [&]<class S>(S* to) {
        std::fill_n(to, a.padded, static_cast<S>(std::min<int64_t>(padding, std::numeric_limits<S>::max())));
        std::transform(values.begin(), values.end(), to, [](int64_t value) { return static_cast<S>(value); });
        return static_cast<const void*>(to);
    };
    return a.state_bytes == 4 ? kept(keep<int32_t>(a.padded)) : kept(keep<int64_t>(a.padded));
}

// Completes the synapses of input `number` by what follows from their weights and their source.
void Network::check_input(const LayerSpec& spec, int number, Synapses& in) const {
    const Layer& a = spec.layer;
    const std::string& name = spec.name;
    const std::vector<int64_t>& shape = spec.weight_shape[number];
    const int count = static_cast<int>(layers_.size());
    in_range(name, "source", in.source, number ? -1 : count - 1, count - 1);
    check_map(name, "in_shape", in.in_h, in.in_w, in.in_c);
    const Synapses& first = count ? layers_.front().inputs[0] : a.inputs[0];
    const Layer* const source = in.source < 0 ? nullptr : &layers_[in.source];
    if (in.in_h != (source ? source->out_h : first.in_h) || in.in_w != (source ? source->out_w : first.in_w) ||
        in.in_c != (source ? source->out_c : first.in_c))
        refuse(name, "its input shape differs from its source");
    if (source && !source->fires) refuse(name, "its source never fires");
    in.steps = source ? source->steps() : steps_;
    in_range(name, "delay", in.delay, 0, kMaxSteps);
    in_range(name, "pool", in.pool, 1, std::min(in.in_h, in.in_w));

    const int64_t height = in.in_h / in.pool, width = in.in_w / in.pool;
    in_range(name, "groups", in.groups, 1, in.kind == Kind::conv ? std::min(in.in_c, a.out_c) : 1);
    if (in.in_c % in.groups || a.out_c % in.groups) refuse(name, "groups must divide the channels of input and output");
    if (in.kind != Kind::conv) in.kernel_h = in.kernel_w = 1, in.pad_h = in.pad_w = 0;
    std::vector<int64_t> expected{in.in_c};
    if (in.kind == Kind::linear)
        expected = {height * width * in.in_c, a.out_c};
    else if (in.kind == Kind::diagonal)
        in_range(name, "channels of a diagonal", in.in_c, 1, a.out_c);
    else {
        if (shape.size() != 4) refuse(name, "the weight of a convolution must have 4 dimensions");
        for (const int k : {1, 2}) in_range(name, "kernel", shape[k], 1, 1024);
        in.kernel_h = static_cast<int>(shape[1]), in.kernel_w = static_cast<int>(shape[2]);
        expected = {in.in_c / in.groups, in.kernel_h, in.kernel_w, a.out_c};
    }
    if (shape != expected) {
        std::string text;
        for (const int64_t size : expected) text += (text.empty() ? "[" : ", ") + std::to_string(size);
        refuse(name, "its weight must have shape " + text + "]");
    }
    in.out_h = a.out_h, in.out_w = a.out_w;
    const bool linear = in.kind == Kind::linear;
    const int64_t rows = linear ? 1 : sites(name, height, in.kernel_h, in.stride_h, in.pad_h);
    const int64_t columns = linear ? 1 : sites(name, width, in.kernel_w, in.stride_w, in.pad_w);
    if (rows != a.out_h || columns != a.out_w)
        refuse(name, "its synapses reach " + std::to_string(rows) + " rows and " + std::to_string(columns) +
                         " columns, out_shape has " + std::to_string(a.out_h) + " and " + std::to_string(a.out_w));
}

void Network::add(LayerSpec spec) {
    Layer& a = spec.layer;
    const std::string& name = spec.name;
    check_map(name, "out_shape", a.out_h, a.out_w, a.out_c);
    in_range(name, "number of inputs", a.input_count, 1, 2);
    for (int k = 0; k < a.input_count; ++k) check_input(spec, k, a.inputs[k]);
    if (!layers_.empty() && a.by_step() != by_step()) refuse(name, "it must have the timing of the layers before it");
    check_register(name, "accumulator", a.accumulator);
    check_register(name, "membrane", a.membrane);
    in_range(name, "shift", a.shift, 0, 24);
    const int rises = a.neuron == Neuron::windowed ? a.out_c : 0;
    for (const auto& [label, values, count] :
         {std::tuple{"theta", spec.theta, a.out_c}, {"bias", spec.bias, a.out_c}, {"rise", spec.rise, rises}}) {
        if (static_cast<int64_t>(values.size()) != count) refuse(name, std::string(label) + " must hold one number per channel");
        for (const int64_t value : values) in_range(name, label, value, -kLargestValue, kLargestValue);
    }
    std::vector<int64_t> theta(spec.theta.begin(), spec.theta.end());
    for (int64_t& value : theta) value = FIRSTSPIKE_EMULATOR_ISA::threshold_as_ge(value, a.strict);
    spec.theta = theta;
    if (a.by_step())
        prepare_step(spec);
    else
        prepare_windowed(spec);
    a.theta = keep_states(spec.theta, a, std::numeric_limits<int64_t>::max());
    a.bias = keep_states(spec.bias, a, 0);
    a.rise = keep_states(spec.rise, a, 0);
    layers_.push_back(a);
    total_steps_ = std::max(total_steps_, a.stop);
}

// The largest value that any order of any events can reach decides the types; refuses what 64 bits do not hold.
void Network::prepare_step(LayerSpec& spec) {
    Layer& a = spec.layer;
    const std::string& name = spec.name;
    Synapses &own = a.inputs[0], &shortcut = a.inputs[1];
    in_range(name, "steps of the input", steps_, 1, kMaxSteps);
    in_range(name, "start", a.start, 0, kMaxSteps - 1);
    in_range(name, "stop", a.stop, a.start + 1, kMaxSteps);
    in_range(name, "decay_bits", a.decay_bits, 0, 16);
    in_range(name, "keep", a.keep, 0, a.by_shift ? 30 : 1 << a.decay_bits);
    in_range(name, "current", a.current_keep, 0, a.by_shift ? 30 : 1 << a.decay_bits);
    if (a.by_event && (a.has_current || a.by_shift)) refuse(name, "currents and leaks by shift need a clocked update");
    if (own.kind == Kind::diagonal || own.groups > 1) refuse(name, "its own input must be linear or a convolution of one group");
    if (a.input_count > 1 && (shortcut.kind != Kind::diagonal || shortcut.pool > 1))
        refuse(name, "its shortcut must have one weight per channel, and no pool");
    a.leaks = a.by_shift || (a.decay_bits > 0 && a.keep < 1 << a.decay_bits);
    a.has_bias = std::any_of(spec.bias.begin(), spec.bias.end(), [](int64_t bias) { return bias != 0; });
    a.padded = own.row = (a.out_c + kLanes - 1) / kLanes * kLanes;
    const int64_t rows = static_cast<int64_t>(spec.weights[0].size()) / a.out_c;
    in_range(name, "weight table", rows * a.padded, 1, kLargestTable);

    std::vector<int64_t> total(a.out_c, 0);
    int32_t low = 0, high = 0, bits = 0;
    for (int64_t row = 0; row < rows; ++row)
        for (int i = 0; i < a.out_c; ++i) {
            const int32_t w = spec.weights[0][row * a.out_c + i];
            total[i] += std::abs(int64_t{w});
            low = std::min(low, w), high = std::max(high, w), bits |= w;
        }
    const int64_t sum = *std::max_element(total.begin(), total.end()), events = int64_t{own.pool} * own.pool;
    in_range(name, "the largest sum of |weight|", sum, 0, (kLargestValue >> a.shift) / events);
    int64_t beside = 0;  // the largest |weight| of the shortcut
    for (const int32_t w : spec.weights[1]) beside = std::max(beside, std::abs(int64_t{w})), bits |= w;
    // Of what a step adds. Unsigned wrapping can turn a small sum into a large one.
    const int64_t held = a.by_event ? 0 : farthest(a.accumulator), added = (sum * events << a.shift) + (beside << a.shift);
    const int64_t input = a.has_current ? added + held : a.accumulator.wrap ? std::max(added, held) : added;
    int64_t value = held;
    for (int i = 0; i < a.out_c; ++i)
        value = std::max({value, input + farthest(a.membrane) + std::abs(spec.bias[i]), std::abs(spec.theta[i])});
    if (a.leaks && farthest(a.membrane) > int64_t{1} << 46) refuse(name, "a leak needs a membrane of at most 47 bits");
    if (a.has_current && farthest(a.accumulator) > int64_t{1} << 46) refuse(name, "a current has at most 47 bits");
    const bool narrow = !a.leaks && !a.has_current && value < (int64_t{1} << 31) - 1 && a.membrane.bits < 32 &&
                        (a.by_event || a.accumulator.bits < 32);
    a.state_bytes = narrow ? 4 : 8;

    // A power of two that all weights share moves to the shift: the same products, from narrower weights.
    int down = 0;
    while (bits != 0 && bits % 2 == 0) low /= 2, high /= 2, bits /= 2, ++down;
    a.shift += down;
    a.weight_bytes = low >= -128 && high < 128 ? 1 : low >= -32768 && high < 32768 ? 2 : 4;
    const auto copied = [&]<class T>(T* to) {
        copy_rows(spec.weights[0], down, a.out_c, a.padded, to);
        return static_cast<const void*>(to);
    };
    const int64_t size = rows * a.padded;
    own.weights = a.weight_bytes == 1   ? copied(keep<int8_t>(size))
                  : a.weight_bytes == 2 ? copied(keep<int16_t>(size))
                                        : copied(keep<int32_t>(size));
    if (a.input_count > 1) {
        auto* const to = keep<int32_t>(shortcut.in_c);
        copy_rows(spec.weights[1], down, 1, 1, to);
        shortcut.weights = to;
    }
}

void Network::prepare_windowed(LayerSpec& spec) {
    Layer& a = spec.layer;
    const std::string& name = spec.name;
    in_range(name, "start", a.start, 0, 1 << 24);
    in_range(name, "stop", a.stop, a.start, a.start + kSilent);
    a.fires = a.stop > a.start;
    a.padded = a.out_c, a.weight_bytes = 4;
    int64_t sum = 0, value = std::max(farthest(a.accumulator), farthest(a.membrane));
    for (int k = 0; k < a.input_count; ++k) {
        Synapses& in = a.inputs[k];
        in_range(name, "the steps of its source", in.steps, 1, kSilent);
        const auto weights = spec.weights[k];
        int64_t largest = 0;
        for (const int32_t w : weights) largest = std::max(largest, std::abs(int64_t{w}) << a.shift);
        in_range(name, "the largest |weight| times 2^shift", largest, 0, std::numeric_limits<int32_t>::max());
        sum += largest * in.sources();
        // [channels of a group, taps, outputs] to [channels, taps, outputs of a group]
        in.row = in.kind == Kind::diagonal ? 1 : a.out_c / in.groups;
        const int64_t size = static_cast<int64_t>(weights.size()), block = size / in.groups,
                      columns = int64_t{in.row} * in.groups;
        auto* const to = keep<int32_t>(size);
        for (int64_t i = 0; i < size; ++i) {
            const int64_t row = i / columns, column = i % columns;
            to[column / in.row * block + row * in.row + column % in.row] = weights[i] * (1 << a.shift);
        }
        in.weights = to;
    }
    if (a.neuron == Neuron::pool) {
        if (a.input_count > 1) refuse(name, "a max pool has no shortcut");
        in_range(name, "steps of a max pool", a.steps(), a.inputs[0].steps, a.inputs[0].steps);
    }
    for (int c = 0; c < a.out_c; ++c) {
        in_range(name, "bias", spec.bias[c], a.membrane.low, a.membrane.high);
        if (a.neuron == Neuron::windowed) in_range(name, "rise", spec.rise[c], 0, a.accumulator.high);
        if (a.neuron == Neuron::pool && spec.theta[c] <= spec.bias[c]) refuse(name, "a max pool must not fire without a spike");
        value = std::max(value, std::abs(spec.theta[c]));
    }
    // The largest value that any order of any events can reach: I + A, then V + I.
    const int64_t limit = std::numeric_limits<int32_t>::max(), current = farthest(a.accumulator);
    const bool narrow = current + sum + value < limit && current + farthest(a.membrane) < limit && a.accumulator.bits < 32 &&
                        a.membrane.bits < 32;
    a.state_bytes = narrow ? 4 : 8;
}

}  // namespace firstspike::emulator
