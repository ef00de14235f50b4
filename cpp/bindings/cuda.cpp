// The CUDA kernels for Python: device pointers and the stream cross as integers, structs as tuples of their members.
#include "../cuda/kernels.h"
#include "geometry.h"
#include "subjects.h"

namespace firstspike::bindings {

// What lies at an address; null: 0.
template <class T>
struct At {
    T* pointer;

    operator T*() const { return pointer; }
};
template <class T>
At<T> at(uintptr_t address) {
    return {reinterpret_cast<T*>(address)};
}

template <class T, class... Members>
T struct_of(const std::tuple<Members...>& members) {
    return std::apply([](const auto&... member) { return T{member...}; }, members);
}

// A neuron that the device's kernels have.
struct DeviceNeuron : FiringNeuron {};
DeviceNeuron device_neuron(const FiringNeuron& n) {
    if (n.neuron.synaptic_decay != 0.0f)
        fail("synaptic_decay must be 0 on CUDA, whose kernels have no synaptic current; use the CPU");
    return {n};
}

}  // namespace firstspike::bindings

namespace pybind11::detail {

namespace cuda = firstspike::cuda;
template <class T>
struct type_caster<fb::At<T>> : fb::CheckedCaster<fb::At<T>, uintptr_t, fb::at<T>> {};
template <>
struct type_caster<fb::DeviceNeuron> : fb::CheckedCaster<fb::DeviceNeuron, const fb::FiringNeuron&, fb::device_neuron> {};

template <class T, class... Members>
using StructCaster = fb::CheckedCaster<T, const std::tuple<Members...>&, fb::struct_of<T, Members...>>;
template <>
struct type_caster<firstspike::WeightView>
    : StructCaster<firstspike::WeightView, fb::At<const float>, int64_t, int64_t, int64_t, int64_t> {};
template <>
struct type_caster<firstspike::SupportView>
    : StructCaster<firstspike::SupportView, fb::At<const int64_t>, fb::At<const uint8_t>, fb::At<const uint8_t>> {};
template <>
struct type_caster<firstspike::OutputGradient>
    : StructCaster<firstspike::OutputGradient, firstspike::SupportView, fb::At<const float>, fb::At<const float>> {};
template <>
struct type_caster<cuda::Entries> : StructCaster<cuda::Entries, fb::At<float>, fb::At<uint8_t>, fb::At<uint8_t>> {};
template <>
struct type_caster<cuda::Slots> : StructCaster<cuda::Slots, fb::At<int32_t>, int32_t, cuda::Entries> {};
template <>
struct type_caster<cuda::Placement> : StructCaster<cuda::Placement, fb::At<const int64_t>, cuda::Entries> {};
template <>
struct type_caster<cuda::Synapses> : StructCaster<cuda::Synapses, firstspike::Layer, fb::At<const uint8_t>,
                                                  firstspike::WeightView, fb::At<const float>, fb::At<void>> {};

}  // namespace pybind11::detail

namespace firstspike::bindings {

namespace {

using Stream = At<void>;

void bind_layers(py::module_& m) {
    m.def("layer_workspace", &cuda::layer_workspace);
    m.def("weight_gradient_workspace", &cuda::weight_gradient_workspace);
    m.def("input_gradient_workspace", &cuda::input_gradient_workspace);
    m.def("fire_layer", [](const cuda::Synapses& s, const DeviceNeuron& n, const cuda::Slots& slots, At<uint8_t> fired,
                           Stream stream) { cuda::fire_layer(s, n.neuron, n.recorded(slots.count), slots, fired, stream); });
    m.def("place_layer", [](const cuda::Synapses& s, const DeviceNeuron& n, const cuda::Slots& slots, const cuda::Placement& to,
                            Stream stream) { cuda::place_layer(s, n.neuron, n.surrogate, slots, to, stream); });
    m.def("integrate_layer", [](const cuda::Synapses& s, const DeviceNeuron& n, At<float> membrane, Stream stream) {
        cuda::integrate_layer(s, n.neuron, membrane, stream);
    });
    // The gradient has the shape of the synapses' weight, which is not read.
    m.def("weight_gradient", [](const cuda::Synapses& s, const DeviceNeuron& n, const OutputGradient& g,
                                At<float> weight_gradient, At<float> bias_gradient, Stream stream) {
        cuda::weight_gradient(s, n.neuron, g, s.weight, weight_gradient, bias_gradient, stream);
    });
    m.def("input_gradient",
          [](const cuda::Synapses& s, const DeviceNeuron& n, const OutputGradient& g, const SupportView& input,
             At<float> gradient, Stream stream) { cuda::input_gradient(s, n.neuron, g, input, gradient, stream); });
}

// Steps of the dense neuron, of which there may be many.
int any_steps(int64_t steps, int64_t neurons) {
    elements({steps, neurons});
    return static_cast<int>(checked("steps", steps, 0, (int64_t{1} << 31) - 1));
}

void bind_neurons_alone(py::module_& m) {
    m.def("ramp", [](int64_t sites, int64_t channels, Steps steps, const DeviceNeuron& n, At<const float> current,
                     const cuda::Slots& slots, At<uint8_t> fired, Stream stream) {
        neurons_from(sites, channels);
        cuda::ramp(current, sites, channels, steps, n.neuron, n.recorded(slots.count), slots, fired, stream);
    });
    m.def("place_ramp", [](int64_t sites, int64_t channels, Steps steps, const DeviceNeuron& n, At<const float> current,
                           const cuda::Slots& slots, const cuda::Placement& to, Stream stream) {
        neurons_from(sites, channels);
        cuda::place_ramp(current, sites, channels, steps, n.neuron, n.surrogate, slots, to, stream);
    });
    m.def("ramp_gradient", [](int64_t sites, int64_t channels, Steps steps, const DeviceNeuron& n, const OutputGradient& g,
                              At<float> out, Stream stream) {
        neurons_from(sites, channels);
        cuda::ramp_gradient(g, sites, channels, steps, n.neuron, out, stream);
    });
    m.def("fire", [](int64_t steps, int64_t neurons, const DeviceNeuron& n, At<const float> current, At<float> spikes,
                     Stream stream) { cuda::fire_dense(current, any_steps(steps, neurons), neurons, n.neuron, spikes, stream); });
    m.def("fire_gradient", [](int64_t steps, int64_t neurons, const DeviceNeuron& n, At<const float> current,
                              At<const float> gradient, At<float> out, Stream stream) {
        cuda::fire_dense_gradient(current, gradient, any_steps(steps, neurons), neurons, n.neuron, n.surrogate, out, stream);
    });
    m.def("times_from_dense", [](Steps steps, int64_t neurons, At<const float> spikes, At<uint8_t> times, Stream stream) {
        cuda::times_from_dense(spikes, steps, neurons, times, stream);
    });
    m.def("dense_from_times", [](Steps steps, int64_t neurons, At<const uint8_t> times, At<float> spikes, Stream stream) {
        cuda::dense_from_times(times, steps, neurons, spikes, stream);
    });
    m.def("gather_at_support", [](int64_t sites, int64_t channels, At<const float> gradient, const SupportView& support,
                                  At<float> out, Stream stream) {
        neurons_from(sites, channels);
        cuda::gather_at_support(gradient, sites, channels, support, out, stream);
    });
    m.def("support_of_dense", [](Steps steps, int64_t sites, int64_t channels, At<const float> gradient, At<int64_t> offset,
                                 const cuda::Entries& entries, Stream stream) {
        neurons_from(sites, channels);
        cuda::support_of_dense(gradient, steps, sites, channels, offset, entries, stream);
    });
    m.def("drop_spikes", [](int64_t sites, int64_t channels, At<const uint8_t> times, At<const int64_t> seed, uint32_t keep,
                            At<uint8_t> out, Stream stream) {
        neurons_from(sites, channels);
        cuda::drop_spikes(times, sites, channels, seed, keep, out, stream);
    });
    m.def("drop_gradient", [](Steps steps, int64_t sites, int64_t channels, At<const float> gradient, const SupportView& support,
                              At<const int64_t> seed, uint32_t keep, At<float> out, Stream stream) {
        neurons_from(sites, channels);
        cuda::drop_gradient(gradient, steps, sites, channels, support, seed, keep, out, stream);
    });
    m.def("latency", [](int64_t neurons, Steps steps, int curve, At<const float> intensity, At<uint8_t> times, Stream stream) {
        if (curve != 0 && curve != 1) fail("unknown curve");
        cuda::latency(intensity, neurons, steps, curve, times, stream);
    });
}

}  // namespace

void bind_cuda(py::module_& m) {
    m.attr("tile") = cuda::kTile;
    m.def(
        "versions",
        [] {
            const cuda::Versions found = cuda::versions();
            return py::make_tuple(found.driver, found.runtime);
        },
        "The newest CUDA version that the driver knows, and the version of the runtime inside this module; 12040 is 12.4");
    bind_layers(m);
    bind_neurons_alone(m);
}

}  // namespace firstspike::bindings
