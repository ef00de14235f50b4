// Layers one after another, prepacked for inference: their weights packed once, as the forward pass reads them, and all run in
// one call.
#pragma once

#include <vector>

#include "layer/synapses.h"

namespace firstspike {

class Prepacked {
 public:
    // Takes copies of the weight [outputs, ...] and of the bias [outputs] or null. fires: else the membranes are wanted, which
    // only the last layer gives.
    void add(const Layer&, const Neuron&, bool fires, const WeightView&, const float* bias, int threads);

    const Layer& first() const { return stages_.front().layer; }
    const Layer& last() const { return stages_.back().layer; }
    bool empty() const { return stages_.empty(); }
    bool fires() const { return stages_.back().fires; }

    // times [batch, units of the first layer] to the last one's times [batch, sites, outputs] or, where it does not fire, its
    // membranes [steps, batch, sites, outputs], floats.
    void run(const uint8_t* times, int64_t batch, int threads, void* out) const;

 private:
    struct Stage {
        Layer layer;
        Neuron neuron;
        bool fires;
        Panel panel;
        std::vector<float> bias;  // empty: none
    };

    std::vector<Stage> stages_;
};

}  // namespace firstspike
