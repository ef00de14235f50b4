// The module firstspike._emulator: the integer core.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "../emulator/constant.h"
#include "../emulator/run.h"
#include "../emulator/windows.h"
#include "errors.h"
#include "geometry.h"

namespace py = pybind11;
namespace em = firstspike::emulator;
using firstspike::bindings::fail;

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

template <class T>
Array<T> exact(const py::handle& value, const char* name, int dims) {
    if (!py::isinstance<py::array_t<T, py::array::c_style>>(value))
        throw py::type_error(std::string(name) + " must be a C-contiguous numpy array of type " +
                             py::str(py::dtype::of<T>()).cast<std::string>());
    auto array = py::reinterpret_borrow<Array<T>>(value);
    if (!(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_)) fail(std::string(name) + " must be aligned");
    if (array.ndim() != dims) fail(std::string(name) + " must have " + std::to_string(dims) + " dimensions");
    return array;
}

// An entry of a layer's record; KeyError or TypeError naming it.
template <class T>
T field(const py::dict& d, const char* key) {
    if (!d.contains(key)) throw py::key_error(std::string("layer has no ") + key);
    try {
        return d[key].cast<T>();
    } catch (const py::cast_error&) {
        throw py::type_error(std::string(key) + " has the wrong type, or does not fit: " + py::repr(d[key]).cast<std::string>());
    }
}

em::Register read_register(const py::dict& d) {
    return {field<int64_t>(d, "low"), field<int64_t>(d, "high"), field<int>(d, "bits"), field<bool>(d, "wrap")};
}

// The sizes of a layer, or of its synapses from one source.
void read_geometry(const py::dict& d, em::Layer& a) {
    const auto number = [&](const char* key) { return field<int>(d, key); };
    a.conv = field<bool>(d, "conv");
    a.in_h = number("in_h"), a.in_w = number("in_w"), a.in_c = number("in_c"), a.pool = number("pool");
    a.kernel_h = number("kernel_h"), a.kernel_w = number("kernel_w");
    a.stride_h = number("stride_h"), a.stride_w = number("stride_w"), a.pad_h = number("pad_h"), a.pad_w = number("pad_w");
    a.out_h = number("out_h"), a.out_w = number("out_w"), a.out_c = number("out_c");
}

void add_layer(em::Network& network, const std::string& name, const py::dict& d) {
    em::LayerSpec spec{};
    em::Layer& a = spec.layer;
    const auto number = [&](const char* key) { return field<int>(d, key); };
    spec.name = name;
    read_geometry(d, a);
    a.fires = field<bool>(d, "fires");
    a.by_event = field<bool>(d, "by_event");
    spec.strict = field<bool>(d, "strict");
    a.delay = number("delay"), a.start = number("start"), a.stop = number("stop");
    a.shift = number("shift"), a.keep = number("keep"), a.decay_bits = number("decay_bits");
    a.by_shift = field<bool>(d, "by_shift"), a.has_current = !field<py::object>(d, "current").is_none();
    a.current_keep = a.has_current ? number("current") : 0;
    a.accumulator = read_register(field<py::dict>(d, "accumulator"));
    a.membrane = read_register(field<py::dict>(d, "membrane"));
    const auto weights = exact<int32_t>(field<py::object>(d, "weights"), "weights", 1);
    const auto theta = exact<int64_t>(field<py::object>(d, "theta"), "theta", 1),
               bias = exact<int64_t>(field<py::object>(d, "bias"), "bias", 1);
    spec.weights = weights.data(), spec.weight_count = weights.size();
    spec.theta = theta.data(), spec.theta_count = theta.size();
    spec.bias = bias.data(), spec.bias_count = bias.size();
    const auto shortcut = field<py::object>(d, "shortcut");
    if (shortcut.is_none()) return network.add(spec);
    if (!py::isinstance<py::dict>(shortcut)) throw py::type_error("shortcut must be a dict or None");
    const auto beside = py::reinterpret_borrow<py::dict>(shortcut);
    const auto of = [&](const char* key) { return field<int>(beside, key); };
    const auto taps = exact<int32_t>(field<py::object>(beside, "weights"), "weights of the shortcut", 1);
    if (taps.size() == 0) fail("weights of the shortcut must hold at least one");
    a.shortcut = {of("source"), of("in_h"), of("in_w"), of("in_c"), of("stride_h"), of("stride_w"), of("delay"), taps.data()};
    spec.shortcut_count = taps.size();
    network.add(spec);
}

void add_window_layer(em::WindowNetwork& network, const std::string& name, const py::dict& d) {
    em::WindowSpec spec{};
    em::WindowLayer& a = spec.layer;
    spec.name = name, spec.strict = field<bool>(d, "strict"), spec.shift = field<int>(d, "shift");
    a.out_h = field<int>(d, "out_h"), a.out_w = field<int>(d, "out_w"), a.out_c = field<int>(d, "out_c");
    a.steps = field<int>(d, "steps"), a.pools = field<bool>(d, "pools");
    a.current = read_register(field<py::dict>(d, "accumulator")), a.membrane = read_register(field<py::dict>(d, "membrane"));
    const auto theta = exact<int64_t>(field<py::object>(d, "theta"), "theta", 1),
               start = exact<int64_t>(field<py::object>(d, "bias"), "bias", 1),
               rise = exact<int64_t>(field<py::object>(d, "rise"), "rise", 1);
    a.theta = theta.data(), a.start = start.data(), a.rise = rise.data();
    spec.theta_count = theta.size(), spec.start_count = start.size(), spec.rise_count = rise.size();
    std::vector<Array<int32_t>> weights;
    for (const py::handle& given : field<py::list>(d, "inputs")) {
        const auto input = py::cast<py::dict>(given);
        if (a.input_count == 2) fail("a layer has at most two inputs");
        em::Synapses& in = a.inputs[a.input_count];
        read_geometry(input, in.map);
        in.source = field<int>(input, "source"), in.groups = field<int>(input, "groups");
        weights.push_back(exact<int32_t>(field<py::object>(input, "weights"), "weights", 1));
        in.weights = weights.back().data(), spec.weight_count[a.input_count++] = weights.back().size();
    }
    network.add(spec);
}

// Spike times [batch, sources] of a network's input.
template <class Network>
Array<uint8_t> times_of(const Network& network, const py::object& given, int threads) {
    auto times = exact<uint8_t>(given, "times", 2);
    if (network.layers().empty()) fail("the network has no layer");
    if (times.shape(1) != network.sources())
        fail("times must have shape [batch, " + std::to_string(network.sources()) + "], got " + std::to_string(times.shape(1)) +
             " neurons");
    firstspike::bindings::checked("threads", threads, 1, 1024);
    const auto wrong = [steps = network.steps()](uint8_t time) { return (time >= steps) & (time != firstspike::kSilent); };
    const uint8_t *const begin = times.data(), *const end = begin + times.size();
    const py::gil_scoped_release released;
    unsigned any = 0;
    for (const uint8_t* time = begin; time != end; ++time) any |= wrong(*time);
    if (!any) return times;
    const auto* const first = std::find_if(begin, end, wrong);
    fail("times must be below steps = " + std::to_string(network.steps()) + " or 255 (silent), got " + std::to_string(*first) +
         " in sample " + std::to_string((first - begin) / network.sources()) + ", neuron " +
         std::to_string((first - begin) % network.sources()));
}

template <class T>
Array<T> zeros(std::vector<py::ssize_t> shape) {
    Array<T> array(std::move(shape));
    std::fill_n(array.mutable_data(), array.size(), T{});
    return array;
}

// Adds an array of zeros, or None where it is not wanted, and where its elements are.
template <class T>
void add_zeros(bool wanted, std::vector<py::ssize_t> shape, py::list& arrays, std::vector<T*>& pointers) {
    py::object array = py::none();
    if (wanted) array = zeros<T>(std::move(shape));
    pointers.push_back(wanted ? static_cast<Array<T>&>(array).mutable_data() : nullptr);
    arrays.append(array);
}

py::dict run(const em::Network& network, const py::object& times_in, int threads, bool early_exit, bool all_times, bool trace) {
    const auto times = times_of(network, times_in, threads);
    const auto& layers = network.layers();
    const bool fires = layers.back().fires;
    if (early_exit && !fires) fail("early exit needs a last layer that fires");
    const py::ssize_t samples = times.shape(0), count = static_cast<py::ssize_t>(layers.size());
    auto counters = zeros<int64_t>({samples, count, em::kCounters});
    auto steps_run = zeros<int32_t>({samples});
    em::Results results{counters.mutable_data(), steps_run.mutable_data(), {}, {}, nullptr};
    py::list layer_times, layer_trace;
    for (const em::Layer& layer : layers) {
        const bool last = &layer == &layers.back();
        add_zeros(all_times || last, {samples, layer.neurons()}, layer_times, results.times);
        add_zeros(trace || (last && !fires), {samples, network.total_steps(), layer.neurons()}, layer_trace, results.trace);
    }
    py::object overshoot = py::none();
    if (fires) {
        auto array = zeros<int64_t>({samples, layers.back().neurons()});
        results.overshoot = array.mutable_data();
        overshoot = array;
    }
    {
        const py::gil_scoped_release released;
        em::run(network, times.data(), samples, threads, early_exit, results);
    }
    py::dict out;
    out["counters"] = counters, out["steps_run"] = steps_run, out["times"] = layer_times, out["membrane"] = layer_trace;
    out["overshoot"] = overshoot;
    return out;
}

py::dict run_windows(const em::WindowNetwork& network, const py::object& times_in, int threads, bool trace) {
    const auto times = times_of(network, times_in, threads);
    const auto& layers = network.layers();
    const py::ssize_t samples = times.shape(0), count = static_cast<py::ssize_t>(layers.size());
    auto counters = zeros<int64_t>({samples, count, em::kCounters});
    auto last = zeros<int64_t>({samples, layers.back().neurons()});
    em::WindowResults results{counters.mutable_data(), {}, {}, last.mutable_data()};
    py::list layer_times, layer_trace;
    for (const em::WindowLayer& layer : layers) {
        add_zeros(true, {samples, layer.neurons()}, layer_times, results.times);
        add_zeros(true, {samples, trace ? em::WindowNetwork::updated(layer) : 0, layer.neurons()}, layer_trace, results.trace);
        if (!trace) results.trace.back() = nullptr;
    }
    {
        const py::gil_scoped_release released;
        em::run(network, times.data(), samples, threads, results);
    }
    py::dict out;
    out["counters"] = counters, out["times"] = layer_times, out["membrane"] = layer_trace, out["last"] = last;
    return out;
}

// Spike times uint8 [samples, sites, channels] of sums of that shape.
Array<uint8_t> constant_times(const py::object& sums_in, const py::object& coarse_in, const py::object& reached_in, int64_t high,
                              int lift, int keep, int decay_bits, int steps, int threads) {
    using firstspike::bindings::checked;
    const auto sums = exact<int32_t>(sums_in, "sums", 3);
    const auto coarse = exact<int64_t>(coarse_in, "coarse", 1), reached = exact<int64_t>(reached_in, "reached", 1);
    const py::ssize_t channels = sums.shape(2);
    if (coarse.size() != channels || reached.size() != channels) fail("coarse and reached must have one number per channel");
    for (py::ssize_t c = 0; c < channels; ++c)
        checked("coarse", coarse.data()[c], 0, 31), checked("reached", reached.data()[c], 1, int64_t{1} << 46);
    checked("high", high, 1, (int64_t{1} << 31) - 1), checked("lift", lift, 0, 16), checked("keep", keep, 0, 1 << 16);
    checked("decay_bits", decay_bits, 0, 16), checked("steps", steps, 1, 254), checked("threads", threads, 1, 1024);
    if (decay_bits > 0 && keep > 1 << decay_bits) fail("keep must be at most 2^decay_bits");
    Array<uint8_t> times({sums.shape(0), sums.shape(1), channels});
    uint8_t* const out = times.mutable_data();
    const em::ConstantNeurons neurons{channels, coarse.data(), reached.data(), high, lift, keep, decay_bits, steps};
    const py::gil_scoped_release released;
    em::constant_times(neurons, sums.data(), sums.shape(0), sums.shape(1), threads, out);
    return times;
}

}  // namespace

PYBIND11_MODULE(_emulator, m) {
    m.doc() = "Integer neuromorphic-core emulator (docs/emulator.md).";
    firstspike::bindings::translate_errors();
    m.attr("COUNTERS") =
        py::make_tuple("spikes", "events", "delivered", "effective", "active", "accumulator_overflows", "membrane_overflows");
    m.def("instruction_set", &em::instruction_set);
    py::class_<em::Network>(m, "Network")
        .def(py::init<int, int>(), py::arg("steps"), py::arg("total_steps"))
        .def("add", &add_layer, py::arg("name"), py::arg("layer"))
        .def("widths",
             [](const em::Network& network) {
                 py::list widths;
                 for (const em::Layer& a : network.layers()) widths.append(py::make_tuple(8 * a.weight_bytes, 8 * a.state_bytes));
                 return widths;
             })
        .def("run", &run, py::arg("times"), py::arg("threads"), py::arg("early_exit"), py::arg("all_times"), py::arg("trace"));
    py::class_<em::WindowNetwork>(m, "WindowNetwork")
        .def(py::init<int>(), py::arg("steps"))
        .def("add", &add_window_layer, py::arg("name"), py::arg("layer"))
        .def("widths",
             [](const em::WindowNetwork& network) {
                 py::list widths;
                 for (const em::WindowLayer& a : network.layers()) widths.append(py::make_tuple(32, a.narrow ? 32 : 64));
                 return widths;
             })
        .def("run", &run_windows, py::arg("times"), py::arg("threads"), py::arg("trace"));
    m.def("constant_times", &constant_times, py::arg("sums"), py::arg("coarse"), py::arg("reached"), py::arg("high"),
          py::arg("lift"), py::arg("keep"), py::arg("decay_bits"), py::arg("steps"), py::arg("threads"));
}
