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

void Prepacked::run(const uint8_t* times, int64_t batch, int threads, void* out) const {
    Buffer<uint8_t> held;
    for (const Stage& stage : stages_) {
        Synapses s{stage.layer, times, {}, stage.bias.empty() ? nullptr : stage.bias.data(), threads, &stage.panel};
        s.layer.batch = batch;
        if (!stage.fires) return integrate_layer(s, stage.neuron, static_cast<float*>(out));
        const bool last = &stage == &stages_.back();
        Buffer<uint8_t> fired(last ? 0 : batch * s.layer.sites() * s.layer.outputs);
        fire_layer(s, stage.neuron, kUnrecorded, false, last ? static_cast<uint8_t*>(out) : fired.data());
        held = std::move(fired);
        times = held.data();
    }
}

}  // namespace firstspike
