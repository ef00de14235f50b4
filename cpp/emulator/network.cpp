#include "network.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <stdexcept>

#include "fixed.h"

namespace firstspike::emulator {
namespace {

constexpr int64_t kLargestMap = int64_t{1} << 24;    // neurons of a layer
constexpr int64_t kLargestTable = int64_t{1} << 31;  // weights of a layer

}  // namespace

void refuse(const std::string& layer, const std::string& text) { throw std::invalid_argument("layer " + layer + ": " + text); }

void in_range(const std::string& layer, const char* name, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high)
        refuse(layer, std::string(name) + " must be from " + std::to_string(low) + " to " + std::to_string(high) + ", got " +
                          std::to_string(value));
}

void check_register(const std::string& layer, const char* name, const Register& r) {
    in_range(layer, name, r.bits, 1, 61);
    in_range(layer, name, r.low, -kLargestValue, 0);
    in_range(layer, name, r.high, 0, kLargestValue);
    if (!r.wrap) return;
    if (r.high - r.low != (int64_t{1} << r.bits) - 1)
        refuse(layer, std::string(name) + " wraps, so its range must be all values of " + std::to_string(r.bits) + " bits");
}

int64_t check_geometry(const std::string& name, const Layer& a) {
    for (const auto& [label, value] : {std::pair{"in_h", a.in_h},
                                       {"in_w", a.in_w},
                                       {"in_c", a.in_c},
                                       {"out_h", a.out_h},
                                       {"out_w", a.out_w},
                                       {"out_c", a.out_c}})
        in_range(name, label, value, 1, 1 << 20);
    in_range(name, "in_h * in_w * in_c", int64_t{a.in_h} * a.in_w, 1, kLargestMap);
    in_range(name, "in_h * in_w * in_c", int64_t{a.in_h} * a.in_w * a.in_c, 1, kLargestMap);
    in_range(name, "out_h * out_w * out_c", int64_t{a.out_h} * a.out_w, 1, kLargestMap);
    in_range(name, "out_h * out_w * out_c", int64_t{a.out_h} * a.out_w * a.out_c, 1, kLargestMap);
    in_range(name, "pool", a.pool, 1, std::min(a.in_h, a.in_w));
    const int pooled_h = a.in_h / a.pool, pooled_w = a.in_w / a.pool;
    if (!a.conv) {
        if (a.out_h != 1 || a.out_w != 1) refuse(name, "a linear layer's output must be 1 x 1 x outputs");
        return int64_t{pooled_h} * pooled_w * a.in_c;
    }
    for (const auto& [label, value] :
         {std::pair{"kernel_h", a.kernel_h}, {"kernel_w", a.kernel_w}, {"stride_h", a.stride_h}, {"stride_w", a.stride_w}})
        in_range(name, label, value, 1, 1024);
    in_range(name, "pad_h", a.pad_h, 0, 1024);
    in_range(name, "pad_w", a.pad_w, 0, 1024);
    const int room_h = pooled_h + 2 * a.pad_h - a.kernel_h, room_w = pooled_w + 2 * a.pad_w - a.kernel_w;
    if (room_h < 0 || room_w < 0) refuse(name, "the kernel is larger than its padded input");
    in_range(name, "out_h", a.out_h, room_h / a.stride_h + 1, room_h / a.stride_h + 1);
    in_range(name, "out_w", a.out_w, room_w / a.stride_w + 1, room_w / a.stride_w + 1);
    return int64_t{a.in_c} * a.kernel_h * a.kernel_w;
}

namespace {

int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

// The largest value that any order of any events can reach decides the types; refuses what 64 bits do not hold.
void choose_types(const LayerSpec& spec, const std::vector<int64_t>& theta, int64_t rows, Layer& a) {
    std::vector<int64_t> total(a.out_c, 0);
    int64_t value = 0;
    int32_t low = 0, high = 0, bits = 0;
    for (int64_t row = 0; row < rows; ++row)
        for (int i = 0; i < a.out_c; ++i) {
            const int32_t w = spec.weights[row * a.out_c + i];
            total[i] += magnitude(w);
            low = std::min(low, w), high = std::max(high, w), bits |= w;
        }
    const int64_t sum = *std::max_element(total.begin(), total.end()), events = int64_t{a.pool} * a.pool;
    in_range(spec.name, "the largest sum of |weight|", sum, 0, (kLargestValue >> a.shift) / events);
    int64_t beside = 0;  // the largest |weight| of the shortcut
    for (int64_t c = 0; c < spec.shortcut_count; ++c) {
        beside = std::max(beside, magnitude(a.shortcut.weights[c]));
        bits |= a.shortcut.weights[c];
    }
    // Of what a step adds. Unsigned wrapping can turn a small sum into a large one.
    const int64_t held = a.by_event ? 0 : farthest(a.accumulator), added = (sum * events << a.shift) + (beside << a.shift);
    const bool slow = a.has_current || a.by_shift;
    const int64_t input = a.has_current ? added + held : a.accumulator.wrap ? std::max(added, held) : added;
    for (int i = 0; i < a.out_c; ++i)
        value = std::max({value, input + farthest(a.membrane) + magnitude(spec.bias[i]), magnitude(theta[i]), held});
    if (a.leaks && farthest(a.membrane) > int64_t{1} << 46) refuse(spec.name, "a leak needs a membrane of at most 47 bits");
    if (a.has_current && farthest(a.accumulator) > int64_t{1} << 46) refuse(spec.name, "a current has at most 47 bits");
    const bool narrow =
        !a.leaks && !slow && value < (int64_t{1} << 31) - 1 && a.membrane.bits < 32 && (a.by_event || a.accumulator.bits < 32);
    a.state_bytes = narrow ? 4 : 8;
    // A power of two that all weights share moves to the shift: the same products, from narrower weights.
    while (bits != 0 && bits % 2 == 0) low /= 2, high /= 2, bits /= 2, ++a.shift;
    a.weight_bytes = low >= -128 && high < 128 ? 1 : low >= -32768 && high < 32768 ? 2 : 4;
}

template <class T>
void copy_rows(const LayerSpec& spec, const Layer& a, void* to, int64_t rows) {
    const int down = a.shift - spec.layer.shift;
    for (int64_t row = 0; row < rows; ++row)
        for (int i = 0; i < a.out_c; ++i)
            static_cast<T*>(to)[row * a.stride + i] = static_cast<T>(spec.weights[row * a.out_c + i] >> down);
}

// Only what does not depend on other layers; `Network::check_shortcut` sees to the source.
void check_shortcut_geometry(const std::string& name, const Layer& a, int64_t count) {
    const Shortcut& s = a.shortcut;
    in_range(name, "shortcut in_c", s.in_c, 1, a.out_c);
    in_range(name, "shortcut stride_h", s.stride_h, 1, 1 << 20);
    in_range(name, "shortcut stride_w", s.stride_w, 1, 1 << 20);
    in_range(name, "shortcut delay", s.delay, 0, kMaxSteps);
    in_range(name, "shortcut weight count", count, s.in_c, s.in_c);
    if ((s.in_h + s.stride_h - 1) / s.stride_h != a.out_h || (s.in_w + s.stride_w - 1) / s.stride_w != a.out_w)
        refuse(name, "every stride-th row and column of the shortcut's source must be as many as those of the output");
}

template <class S>
void copy_states(const Layer& a, const std::vector<int64_t>& theta, const int64_t* bias, void* theta_to, void* bias_to) {
    std::fill_n(static_cast<S*>(theta_to), a.stride, std::numeric_limits<S>::max());
    for (int i = 0; i < a.out_c; ++i) {
        static_cast<S*>(theta_to)[i] = static_cast<S>(theta[i]);
        static_cast<S*>(bias_to)[i] = static_cast<S>(bias[i]);
    }
}

}  // namespace

Network::Network(int steps, int total_steps) : steps_(steps), total_steps_(total_steps) {
    if (steps < 1 || steps > kMaxSteps) throw std::invalid_argument("steps must be from 1 to 254, got " + std::to_string(steps));
    // Input events of every step below `steps` are sorted into lists that `total_steps` bounds.
    if (total_steps < steps || total_steps > kMaxSteps)
        throw std::invalid_argument("total_steps must be from steps = " + std::to_string(steps) + " to 254, got " +
                                    std::to_string(total_steps));
}

const void* Network::keep(std::size_t bytes) {
    storage_.push_back(std::make_unique<std::byte[]>(bytes + 64));
    void* start = storage_.back().get();
    std::size_t room = bytes + 64;
    return std::align(64, bytes, start, room);
}

void Network::check_shortcut(const LayerSpec& spec) const {
    const Shortcut& s = spec.layer.shortcut;
    const int count = static_cast<int>(layers_.size());
    in_range(spec.name, "shortcut source", s.source, -1, count - 1);
    const Layer* source = s.source < 0 ? nullptr : &layers_[s.source];
    const Layer& first = layers_.empty() ? spec.layer : layers_.front();
    const int h = source ? source->out_h : first.in_h, w = source ? source->out_w : first.in_w;
    if (s.in_h != h || s.in_w != w || s.in_c != (source ? source->out_c : first.in_c))
        refuse(spec.name, "the shortcut's shape is not that of its source");
    if (source && !source->fires) refuse(spec.name, "the shortcut's source never fires");
    check_shortcut_geometry(spec.name, spec.layer, spec.shortcut_count);
}

void Network::add(const LayerSpec& spec) {
    Layer a = spec.layer;
    const std::string& name = spec.name;
    const int64_t rows = check_geometry(name, a);
    if (!layers_.empty()) {
        const Layer& before = layers_.back();
        if (before.out_h != a.in_h || before.out_w != a.in_w || before.out_c != a.in_c)
            refuse(name, "its input shape is not the output shape of the layer before it");
        if (!before.fires) refuse(name, "the layer before it never fires");
    }
    if (a.shortcut.weights) check_shortcut(spec);
    in_range(name, "weight count", spec.weight_count, rows * a.out_c, rows * a.out_c);
    a.stride = (a.out_c + kLanes - 1) / kLanes * kLanes;
    in_range(name, "weight table", rows * a.stride, 1, kLargestTable);
    in_range(name, "theta count", spec.theta_count, a.out_c, a.out_c);
    in_range(name, "bias count", spec.bias_count, a.out_c, a.out_c);
    in_range(name, "delay", a.delay, 0, kMaxSteps);
    in_range(name, "start", a.start, 0, total_steps_ - 1);
    in_range(name, "stop", a.stop, a.start + 1, total_steps_);
    in_range(name, "shift", a.shift, 0, 24);
    in_range(name, "decay_bits", a.decay_bits, 0, 16);
    if (a.by_event && (a.has_current || a.by_shift)) refuse(name, "currents and leaks by shift need a clocked update");
    in_range(name, "keep", a.keep, 0, a.by_shift ? 30 : 1 << a.decay_bits);
    in_range(name, "current", a.current_keep, 0, a.by_shift ? 30 : 1 << a.decay_bits);
    check_register(name, "accumulator", a.accumulator);
    check_register(name, "membrane", a.membrane);
    a.leaks = a.by_shift || (a.decay_bits > 0 && a.keep < 1 << a.decay_bits);

    std::vector<int64_t> theta(a.out_c);
    for (int i = 0; i < a.out_c; ++i) {
        in_range(name, "theta", spec.theta[i], -kLargestValue, kLargestValue);
        in_range(name, "bias", spec.bias[i], -kLargestValue, kLargestValue);
        theta[i] = FIRSTSPIKE_EMULATOR_ISA::threshold_as_ge(spec.theta[i], spec.strict);
        a.has_bias |= spec.bias[i] != 0;
    }
    choose_types(spec, theta, rows, a);
    const bool narrow = a.state_bytes == 4;

    a.weights = keep(static_cast<std::size_t>(rows) * a.stride * a.weight_bytes);
    a.theta = keep(static_cast<std::size_t>(a.stride) * a.state_bytes);
    a.bias = keep(static_cast<std::size_t>(a.stride) * a.state_bytes);
    void *w = const_cast<void*>(a.weights), *th = const_cast<void*>(a.theta), *b = const_cast<void*>(a.bias);
    if (a.weight_bytes == 1) copy_rows<int8_t>(spec, a, w, rows);
    if (a.weight_bytes == 2) copy_rows<int16_t>(spec, a, w, rows);
    if (a.weight_bytes == 4) copy_rows<int32_t>(spec, a, w, rows);
    if (a.shortcut.weights) {
        auto* kept = static_cast<int32_t*>(const_cast<void*>(keep(sizeof(int32_t) * spec.shortcut_count)));
        for (int64_t c = 0; c < spec.shortcut_count; ++c) kept[c] = a.shortcut.weights[c] >> (a.shift - spec.layer.shift);
        a.shortcut.weights = kept;
    }
    if (narrow)
        copy_states<int32_t>(a, theta, spec.bias, th, b);
    else
        copy_states<int64_t>(a, theta, spec.bias, th, b);
    layers_.push_back(a);
    names_.push_back(name);
    thetas_.emplace_back(spec.theta, spec.theta + a.out_c);
}

}  // namespace firstspike::emulator
