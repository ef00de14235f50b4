// The module firstspike._emulator: the integer core.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "../emulator/constant.h"
#include "../emulator/run.h"
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

// Attribute `name` of a record of Python; AttributeError, or TypeError that names it.
template <class T>
T of(const py::handle& record, const char* name) {
    const py::object value = record.attr(name);
    try {
        return value.cast<T>();
    } catch (const py::cast_error&) {
        throw py::type_error(std::string(name) + " has the wrong type, or does not fit: " + py::repr(value).cast<std::string>());
    }
}

// An array of signed integers that T holds, as contiguous T.
template <class T>
Array<T> integers(const py::handle& record, const char* name) {
    const auto value = of<py::object>(record, name);
    if (!py::isinstance<py::array>(value)) throw py::type_error(std::string(name) + " must be a numpy array");
    const auto array = py::reinterpret_borrow<py::array>(value);
    if (array.dtype().kind() != 'i' || array.itemsize() > static_cast<py::ssize_t>(sizeof(T)))
        throw py::type_error(std::string(name) + " must hold signed integers of at most " + std::to_string(sizeof(T)) + " bytes");
    return exact<T>(py::array_t < T, py::array::c_style | py::array::forcecast > ::ensure(array), name,
                    static_cast<int>(array.ndim()));
}

em::Register register_of(const py::handle& record, const char* name) {
    const auto r = of<py::object>(record, name);
    return {of<int64_t>(r, "low"), of<int64_t>(r, "high"), of<int>(r, "bits"), of<std::string>(r, "policy") == "wrap"};
}

em::Synapses synapses_of(const py::handle& record) {
    em::Synapses s{};
    const auto kind = of<std::string>(record, "kind");
    if (kind == "conv")
        s.kind = em::Synapses::Kind::conv;
    else if (kind == "diagonal")
        s.kind = em::Synapses::Kind::diagonal;
    else if (kind != "linear")
        fail("synapses must be linear, conv or diagonal, got " + kind);
    using Pair = std::pair<int, int>;
    std::tie(s.in_h, s.in_w, s.in_c) = of<std::tuple<int, int, int>>(record, "in_shape");
    std::tie(s.stride_h, s.stride_w) = of<Pair>(record, "stride");
    std::tie(s.pad_h, s.pad_w) = of<Pair>(record, "padding");
    s.source = of<int>(record, "source"), s.delay = of<int>(record, "delay");
    s.pool = of<int>(record, "pool"), s.groups = of<int>(record, "groups");
    return s;
}

// The fields of a neuron, by its kind; true if it has a `rise`.
bool read_neuron(const py::handle& record, em::Layer& a) {
    const auto kind = of<std::string>(record, "kind");
    a.strict = of<std::string>(record, "fire") == "gt";
    a.start = of<int>(record, "start"), a.stop = of<int>(record, "stop");
    if (kind == "windowed") return a.neuron = em::Layer::Neuron::windowed, true;
    if (kind == "pool") return a.neuron = em::Layer::Neuron::pool, false;
    if (kind != "step") fail("neurons of kind " + kind + " do not run on cores");
    a.neuron = em::Layer::Neuron::step;
    a.fires = of<bool>(record, "fires"), a.by_event = of<std::string>(record, "update") == "event";
    a.by_shift = of<std::string>(record, "leak") == "shift";
    a.keep = of<int>(record, "keep"), a.decay_bits = of<int>(record, "decay_bits");
    a.has_current = !of<py::object>(record, "current").is_none();
    a.current_keep = a.has_current ? of<int>(record, "current") : 0;
    return false;
}

// layer: a firstspike.emulator.program.layers.Layer, or another record with its attributes.
void add_layer(em::Network& network, const py::object& layer) {
    em::LayerSpec spec{};
    em::Layer& a = spec.layer;
    spec.name = of<std::string>(layer, "name");
    std::tie(a.out_h, a.out_w, a.out_c) = of<std::tuple<int, int, int>>(layer, "out_shape");
    a.accumulator = register_of(layer, "accumulator"), a.membrane = register_of(layer, "membrane");
    a.shift = of<int>(layer, "shift");
    const auto neuron = of<py::object>(layer, "neuron");
    const bool rises = read_neuron(neuron, a);
    const auto theta = integers<int64_t>(neuron, "theta"), bias = integers<int64_t>(neuron, "bias");
    const auto rise = rises ? integers<int64_t>(neuron, "rise") : Array<int64_t>(0);
    spec.theta = {theta.data(), static_cast<std::size_t>(theta.size())};
    spec.bias = {bias.data(), static_cast<std::size_t>(bias.size())};
    spec.rise = {rise.data(), static_cast<std::size_t>(rise.size())};
    std::vector<Array<int32_t>> weights;
    for (const py::handle& part : of<py::tuple>(layer, "inputs")) {
        const int k = a.input_count++;
        if (k == 2) fail("a layer has at most two inputs");
        a.inputs[k] = synapses_of(part);
        const auto& weight = weights.emplace_back(integers<int32_t>(part, "weight"));
        spec.weights[k] = {weight.data(), static_cast<std::size_t>(weight.size())};
        spec.weight_shape[k].assign(weight.shape(), weight.shape() + weight.ndim());
    }
    network.add(std::move(spec));
}

// Spike times [batch, sources] of a network's input.
Array<uint8_t> times_of(const em::Network& network, const py::object& given, int threads) {
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
    const em::Layer& last = layers.back();
    const bool steps = network.by_step();
    if (early_exit && !(steps && last.fires)) fail("early exit needs a last layer that fires, of a step-by-step net");
    const py::ssize_t samples = times.shape(0), count = static_cast<py::ssize_t>(layers.size());
    auto counters = zeros<int64_t>({samples, count, em::kCounters});
    auto steps_run = zeros<int32_t>({samples});
    em::Results results{counters.mutable_data(), steps_run.mutable_data(), {}, {}, nullptr, nullptr};
    py::list layer_times, layer_trace;
    for (const em::Layer& layer : layers) {
        const bool shown = trace || (&layer == &last && !last.fires), whole = trace || steps;
        add_zeros(all_times || &layer == &last || !steps, {samples, layer.neurons()}, layer_times, results.times);
        add_zeros(shown, {samples, whole ? em::updated_steps(network, layer) : 1, layer.neurons()}, layer_trace, results.trace);
        if (!whole) results.last = std::exchange(results.trace.back(), nullptr);
    }
    py::object overshoot = py::none();
    if (steps && last.fires) {
        auto array = zeros<int64_t>({samples, last.neurons()});
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

// Spike times uint8 [samples, sites, channels] of sums of that shape, by the neurons of a layer that takes pixels.
Array<uint8_t> constant_times(const py::object& sums_in, const py::object& layer, int threads) {
    using firstspike::bindings::checked;
    const auto sums = exact<int32_t>(sums_in, "sums", 3);
    const auto neuron = of<py::object>(layer, "neuron");
    const auto coarse = integers<int64_t>(neuron, "coarse"), reached = integers<int64_t>(neuron, "reached");
    const py::ssize_t channels = sums.shape(2);
    if (coarse.size() != channels || reached.size() != channels) fail("coarse and theta must have one number per channel");
    for (py::ssize_t c = 0; c < channels; ++c)
        checked("coarse", coarse.data()[c], 0, 31), checked("theta", reached.data()[c], 1, int64_t{1} << 46);
    const auto number = [](const py::object& record, const char* name, int64_t low, int64_t high) {
        return static_cast<int>(checked(name, of<int64_t>(record, name), low, high));
    };
    const int high = number(neuron, "high", 1, (int64_t{1} << 31) - 1), shift = number(layer, "shift", 0, 16);
    const int bits = number(neuron, "decay_bits", 0, 16), keep = number(neuron, "keep", 0, bits > 0 ? 1 << bits : 1 << 16);
    const int steps = number(neuron, "stop", 1, 254);
    const em::ConstantNeurons neurons{channels, coarse.data(), reached.data(), high, shift, keep, bits, steps};
    checked("threads", threads, 1, 1024);
    Array<uint8_t> times({sums.shape(0), sums.shape(1), channels});
    uint8_t* const out = times.mutable_data();
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
        .def(py::init<int>(), py::arg("steps"))
        .def("add", &add_layer, py::arg("layer"))
        .def("widths",
             [](const em::Network& network) {
                 py::list widths;
                 for (const em::Layer& a : network.layers()) widths.append(py::make_tuple(8 * a.weight_bytes, 8 * a.state_bytes));
                 return widths;
             })
        .def("run", &run, py::arg("times"), py::arg("threads"), py::arg("early_exit"), py::arg("all_times"), py::arg("trace"));
    m.def("constant_times", &constant_times, py::arg("sums"), py::arg("layer"), py::arg("threads"));
}
