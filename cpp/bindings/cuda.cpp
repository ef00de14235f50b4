#include "cuda.h"

#include "../cuda/kernels.h"
#include "geometry.h"

namespace firstspike::bindings {

namespace {

using Pointer = uintptr_t;  // 0: null
using Strides = std::array<int64_t, 4>;
using SupportPointers = std::array<Pointer, 3>;                 // offset, step, lane
using EntryPointers = std::array<Pointer, 3>;                   // slope, step, lane
using SlotArguments = std::tuple<Pointer, int, EntryPointers>;  // count, entries per slot, their arrays
using PlaceArguments = std::tuple<Pointer, EntryPointers>;      // offset, arrays
using VariantArguments = std::array<int, 2>;                    // the members of a Variant in their order

template <class T>
T* at(Pointer pointer) {
    return reinterpret_cast<T*>(pointer);
}
void* stream_of(Pointer stream) { return at<void>(stream); }

cuda::Synapses synapses_from(const Geometry& geometry, Pointer times, Pointer weight, const Strides& strides, Pointer bias,
                             Pointer workspace) {
    return {layer_from(geometry),
            at<const uint8_t>(times),
            {at<const float>(weight), strides[0], strides[1], strides[2], strides[3]},
            at<const float>(bias),
            at<void>(workspace)};
}

SupportView view_from(const SupportPointers& p) {
    return {at<const int64_t>(p[0]), at<const uint8_t>(p[1]), at<const uint8_t>(p[2])};
}
cuda::Entries entries_from(const EntryPointers& p) { return {at<float>(p[0]), at<uint8_t>(p[1]), at<uint8_t>(p[2])}; }
cuda::Slots slots_from(const SlotArguments& a) {
    const auto& [count, slot, entries] = a;
    if (slot < 0) fail("a slot must hold 0 entries or more");
    return {at<int32_t>(count), slot, entries_from(entries)};
}
cuda::Placement placement_from(const PlaceArguments& a) {
    const auto& [offset, entries] = a;
    return {at<const int64_t>(offset), entries_from(entries)};
}
OutputGradient gradient_from(const SupportPointers& support, Pointer slope, Pointer gradient) {
    return {view_from(support), at<const float>(slope), at<const float>(gradient)};
}
cuda::Variant variant_from(const VariantArguments& v) {
    const auto [tiles_per_warp, staging] = v;
    const auto check = [](bool right, const char* what, int got) {
        if (!right) fail(std::string(what) + ", got " + std::to_string(got));
    };
    check(tiles_per_warp == 0 || tiles_per_warp == 1 || tiles_per_warp == 2 || tiles_per_warp == 4,
          "tiles_per_warp must be 1, 2 or 4, or 0 for the kernels' own choice", tiles_per_warp);
    check(staging >= 0 && staging <= 2, "staging must be 0, 1 or 2", staging);
    return {tiles_per_warp, staging};
}
Neuron device_neuron(const NeuronArguments& n) {
    const Neuron neuron = neuron_from(n);
    if (neuron.synaptic_decay != 0.0f)
        fail("synaptic_decay must be 0 on CUDA, whose kernels have no synaptic current; use the CPU");
    return neuron;
}
int steps_in(int64_t steps) { return static_cast<int>(steps_from(steps)); }
int any_steps_in(int64_t steps, int64_t neurons) {
    elements({steps, neurons});
    return static_cast<int>(checked("steps", steps, 0, (int64_t{1} << 31) - 1));
}

void bind_layer(py::module_& m) {
    def(m, "layer_workspace", [](const Geometry& g) { return cuda::layer_workspace(layer_from(g)); }, "geometry");
    def(
        m, "weight_gradient_workspace", [](const Geometry& g) { return cuda::weight_gradient_workspace(layer_from(g)); },
        "geometry");
    def(
        m, "input_gradient_workspace", [](const Geometry& g) { return cuda::input_gradient_workspace(layer_from(g)); },
        "geometry");
    def(
        m, "fire_layer",
        [](const Geometry& g, const NeuronArguments& n, Pointer times, Pointer weight, const Strides& strides, Pointer bias,
           Pointer workspace, const SlotArguments& slots, Pointer fired, const VariantArguments& v, Pointer stream) {
            const cuda::Slots recording = slots_from(slots);
            const Surrogate surrogate = surrogate_from(n, recording.count != nullptr);
            cuda::fire_layer(synapses_from(g, times, weight, strides, bias, workspace), device_neuron(n), surrogate, recording,
                             at<uint8_t>(fired), variant_from(v), stream_of(stream));
        },
        "geometry", "neuron", "times", "weight", "strides", "bias", "workspace", "slots", "fired", "variant", "stream");
    def(
        m, "place_layer",
        [](const Geometry& g, const NeuronArguments& n, Pointer times, Pointer weight, const Strides& strides, Pointer bias,
           Pointer workspace, const SlotArguments& slots, const PlaceArguments& to, Pointer stream) {
            cuda::place_layer(synapses_from(g, times, weight, strides, bias, workspace), device_neuron(n), surrogate_from(n),
                              slots_from(slots), placement_from(to), stream_of(stream));
        },
        "geometry", "neuron", "times", "weight", "strides", "bias", "workspace", "slots", "to", "stream");
    def(
        m, "integrate_layer",
        [](const Geometry& g, const NeuronArguments& n, Pointer times, Pointer weight, const Strides& strides, Pointer bias,
           Pointer workspace, Pointer membrane, const VariantArguments& v, Pointer stream) {
            cuda::integrate_layer(synapses_from(g, times, weight, strides, bias, workspace), device_neuron(n),
                                  at<float>(membrane), variant_from(v), stream_of(stream));
        },
        "geometry", "neuron", "times", "weight", "strides", "bias", "workspace", "membrane", "variant", "stream");
    def(
        m, "weight_gradient",
        [](const Geometry& g, const NeuronArguments& n, Pointer times, Pointer workspace, const SupportPointers& support,
           Pointer slope, Pointer gradient, const Strides& strides, Pointer weight_gradient, Pointer bias_gradient,
           Pointer stream) {
            cuda::weight_gradient(synapses_from(g, times, 0, strides, 0, workspace), device_neuron(n),
                                  gradient_from(support, slope, gradient),
                                  {nullptr, strides[0], strides[1], strides[2], strides[3]}, at<float>(weight_gradient),
                                  at<float>(bias_gradient), stream_of(stream));
        },
        "geometry", "neuron", "times", "workspace", "support", "slope", "gradient", "strides", "weight_gradient", "bias_gradient",
        "stream");
    def(
        m, "input_gradient",
        [](const Geometry& g, const NeuronArguments& n, Pointer weight, const Strides& strides, Pointer workspace,
           const SupportPointers& support, Pointer slope, Pointer gradient, const SupportPointers& input, Pointer input_gradient,
           const VariantArguments& v, Pointer stream) {
            cuda::input_gradient(synapses_from(g, 0, weight, strides, 0, workspace), device_neuron(n),
                                 gradient_from(support, slope, gradient), view_from(input), at<float>(input_gradient),
                                 variant_from(v), stream_of(stream));
        },
        "geometry", "neuron", "weight", "strides", "workspace", "support", "slope", "gradient", "input", "input_gradient",
        "variant", "stream");
}

void bind_neurons(py::module_& m) {
    def(
        m, "ramp",
        [](int64_t sites, int64_t channels, int64_t steps, const NeuronArguments& n, Pointer current, const SlotArguments& slots,
           Pointer fired, Pointer stream) {
            neurons_from(sites, channels);
            const cuda::Slots recording = slots_from(slots);
            const Surrogate surrogate = surrogate_from(n, recording.count != nullptr);
            cuda::ramp(at<const float>(current), sites, channels, steps_in(steps), device_neuron(n), surrogate, recording,
                       at<uint8_t>(fired), stream_of(stream));
        },
        "sites", "channels", "steps", "neuron", "current", "slots", "fired", "stream");
    def(
        m, "place_ramp",
        [](int64_t sites, int64_t channels, int64_t steps, const NeuronArguments& n, Pointer current, const SlotArguments& slots,
           const PlaceArguments& to, Pointer stream) {
            neurons_from(sites, channels);
            cuda::place_ramp(at<const float>(current), sites, channels, steps_in(steps), device_neuron(n), surrogate_from(n),
                             slots_from(slots), placement_from(to), stream_of(stream));
        },
        "sites", "channels", "steps", "neuron", "current", "slots", "to", "stream");
    def(
        m, "ramp_gradient",
        [](int64_t sites, int64_t channels, int64_t steps, const NeuronArguments& n, const SupportPointers& support,
           Pointer slope, Pointer gradient, Pointer out, Pointer stream) {
            neurons_from(sites, channels);
            cuda::ramp_gradient(gradient_from(support, slope, gradient), sites, channels, steps_in(steps), device_neuron(n),
                                at<float>(out), stream_of(stream));
        },
        "sites", "channels", "steps", "neuron", "support", "slope", "gradient", "out", "stream");
    def(
        m, "fire",
        [](int64_t steps, int64_t neurons, const NeuronArguments& n, Pointer current, Pointer spikes, Pointer stream) {
            cuda::fire_dense(at<const float>(current), any_steps_in(steps, neurons), neurons, device_neuron(n), at<float>(spikes),
                             stream_of(stream));
        },
        "steps", "neurons", "neuron", "current", "spikes", "stream");
    def(
        m, "fire_gradient",
        [](int64_t steps, int64_t neurons, const NeuronArguments& n, Pointer current, Pointer gradient, Pointer out,
           Pointer stream) {
            cuda::fire_dense_gradient(at<const float>(current), at<const float>(gradient), any_steps_in(steps, neurons), neurons,
                                      device_neuron(n), surrogate_from(n), at<float>(out), stream_of(stream));
        },
        "steps", "neurons", "neuron", "current", "gradient", "out", "stream");
}

void bind_trains(py::module_& m) {
    def(
        m, "times_from_dense",
        [](int64_t steps, int64_t neurons, Pointer spikes, Pointer times, Pointer stream) {
            cuda::times_from_dense(at<const float>(spikes), steps_in(steps), neurons, at<uint8_t>(times), stream_of(stream));
        },
        "steps", "neurons", "spikes", "times", "stream");
    def(
        m, "dense_from_times",
        [](int64_t steps, int64_t neurons, Pointer times, Pointer spikes, Pointer stream) {
            cuda::dense_from_times(at<const uint8_t>(times), steps_in(steps), neurons, at<float>(spikes), stream_of(stream));
        },
        "steps", "neurons", "times", "spikes", "stream");
    def(
        m, "gather_at_support",
        [](int64_t sites, int64_t channels, Pointer gradient, const SupportPointers& support, Pointer out, Pointer stream) {
            neurons_from(sites, channels);
            cuda::gather_at_support(at<const float>(gradient), sites, channels, view_from(support), at<float>(out),
                                    stream_of(stream));
        },
        "sites", "channels", "gradient", "support", "out", "stream");
    def(
        m, "support_of_dense",
        [](int64_t steps, int64_t sites, int64_t channels, Pointer gradient, Pointer offset, const EntryPointers& entries,
           Pointer stream) {
            neurons_from(sites, channels);
            cuda::support_of_dense(at<const float>(gradient), steps_in(steps), sites, channels, at<int64_t>(offset),
                                   entries_from(entries), stream_of(stream));
        },
        "steps", "sites", "channels", "gradient", "offset", "entries", "stream");
    def(
        m, "drop_spikes",
        [](int64_t sites, int64_t channels, Pointer times, Pointer seed, uint32_t keep, Pointer out, Pointer stream) {
            neurons_from(sites, channels);
            cuda::drop_spikes(at<const uint8_t>(times), sites, channels, at<const int64_t>(seed), keep, at<uint8_t>(out),
                              stream_of(stream));
        },
        "sites", "channels", "times", "seed", "keep", "out", "stream");
    def(
        m, "drop_gradient",
        [](int64_t steps, int64_t sites, int64_t channels, Pointer gradient, const SupportPointers& support, Pointer seed,
           uint32_t keep, Pointer out, Pointer stream) {
            neurons_from(sites, channels);
            cuda::drop_gradient(at<const float>(gradient), steps_in(steps), sites, channels, view_from(support),
                                at<const int64_t>(seed), keep, at<float>(out), stream_of(stream));
        },
        "steps", "sites", "channels", "gradient", "support", "seed", "keep", "out", "stream");
    def(
        m, "latency",
        [](int64_t neurons, int64_t steps, int curve, Pointer intensity, Pointer times, Pointer stream) {
            if (curve != 0 && curve != 1) fail("unknown curve");
            cuda::latency(at<const float>(intensity), neurons, steps_in(steps), curve, at<uint8_t>(times), stream_of(stream));
        },
        "neurons", "steps", "curve", "intensity", "times", "stream");
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
    bind_layer(m);
    bind_neurons(m);
    bind_trains(m);
}

}  // namespace firstspike::bindings
