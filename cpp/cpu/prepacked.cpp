#include "prepacked.h"

namespace firstspike {

namespace {
constexpr Surrogate kUnrecorded{SurrogateKind::triangle, 1.0f};  // nothing is recorded, so that none is looked at
}

void Prepacked::add(const Layer& layer, const Neuron& neuron, bool fires, const WeightView& weight, const float* bias,
                    int threads) {
    stages_.push_back({layer, neuron, fires, Panel(layer, weight, true, threads), {}});
    if (bias) stages_.back().bias.assign(bias, bias + layer.outputs);
}

template <class Last>
void Prepacked::run_to_last(const uint8_t* times, int64_t batch, int threads, Last&& last) const {
    Buffer<uint8_t> held;
    for (const Stage& stage : stages_) {
        Synapses s{stage.layer, times, {}, stage.bias.empty() ? nullptr : stage.bias.data(), threads, &stage.panel};
        s.layer.batch = batch;
        if (&stage == &stages_.back()) return last(s, stage.neuron);
        Buffer<uint8_t> fired(batch * s.layer.sites() * s.layer.outputs);
        fire_layer(s, stage.neuron, kUnrecorded, false, fired.data());
        held = std::move(fired);
        times = held.data();
    }
}

void Prepacked::run(const uint8_t* times, int64_t batch, int threads, uint8_t* times_out) const {
    run_to_last(times, batch, threads,
                [&](const Synapses& s, const Neuron& neuron) { fire_layer(s, neuron, kUnrecorded, false, times_out); });
}

void Prepacked::run(const uint8_t* times, int64_t batch, int threads, float* membrane) const {
    run_to_last(times, batch, threads, [&](const Synapses& s, const Neuron& neuron) { integrate_layer(s, neuron, membrane); });
}

}  // namespace firstspike
