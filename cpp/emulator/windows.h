// A validated net of windows, and its run: a batch over threads; each sample's results depend on that sample alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "window.h"

namespace firstspike::emulator {

// What comes beside a `WindowLayer`, unchecked: sizes of its arrays, and the weights of its inputs before the shift.
struct WindowSpec {
    WindowLayer layer;
    std::string name;
    bool strict;  // fires at V > theta
    int shift;
    int64_t theta_count, start_count, rise_count, weight_count[2];
};

class WindowNetwork {
 public:
    explicit WindowNetwork(int steps);
    // Checks every size and range, throws std::invalid_argument naming layer and argument; copies the arrays.
    void add(const WindowSpec& spec);

    int steps() const { return steps_; }
    int sources() const { return layers_.front().inputs[0].map.sources(); }
    const std::vector<WindowLayer>& layers() const { return layers_; }
    // Steps in which a layer is updated: the windows of its sources, and its own.
    static int updated(const WindowLayer& layer);

 private:
    void check_input(const WindowSpec& spec, Synapses& in, int64_t weights) const;
    template <class T>
    const T* keep(std::vector<T> values);
    int steps_;
    std::vector<WindowLayer> layers_;
    std::vector<std::shared_ptr<void>> storage_;
};

// Where results go. B samples, L layers, N_l neurons.
struct WindowResults {
    int64_t* counters;            // [B][L][kCounters], zeroed by the caller
    std::vector<uint8_t*> times;  // per layer: [B][N_l]
    std::vector<int64_t*> trace;  // per layer: [B][updated][N_l], or null
    int64_t* last;                // [B][N_last], the last layer's membranes
};

// times: [B][sources], checked by the caller. threads >= 1.
void run(const WindowNetwork& network, const uint8_t* times, int64_t samples, int threads, const WindowResults& results);

}  // namespace firstspike::emulator
