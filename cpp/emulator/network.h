// A validated network: layers with weights, thresholds and biases in the narrowest types that are exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "params.h"

namespace firstspike::emulator {

// A layer as it comes from outside, unchecked; pointers, types and what follows from the rest are ignored in `layer`.
struct LayerSpec {
    std::string name;
    Layer layer;
    std::span<const int64_t> theta, bias, rise;
    std::span<const int32_t> weights[2];
    std::vector<int64_t> weight_shape[2];  // [rows, out_c], [in_c / groups, kernel_h, kernel_w, out_c] or [in_c]
};

class Network {
 public:
    explicit Network(int steps);  // of the input's window
    // Checks every size and range, throws std::invalid_argument naming layer and argument; copies the arrays.
    void add(LayerSpec spec);

    int steps() const { return steps_; }
    int total_steps() const { return total_steps_; }
    const std::vector<Layer>& layers() const { return layers_; }
    int sources() const { return layers_.front().inputs[0].sources(); }
    bool by_step() const { return layers_.front().by_step(); }

 private:
    void check_input(const LayerSpec& spec, int number, Synapses& in) const;
    void prepare_step(LayerSpec& spec);
    void prepare_windowed(LayerSpec& spec);
    template <class T>
    T* keep(int64_t count);  // 64-byte aligned, zeroed, owned
    const void* keep_states(std::span<const int64_t> values, const Layer& a, int64_t padding);
    int steps_, total_steps_;
    std::vector<Layer> layers_;
    std::vector<std::unique_ptr<std::byte[]>> storage_;
};

// Steps in which a layer is updated: all of the run, or the windows of its sources, and its own.
int updated_steps(const Network& network, const Layer& layer);

}  // namespace firstspike::emulator
