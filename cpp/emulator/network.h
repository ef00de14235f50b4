// A validated network: layers with padded weights in the narrowest types that are exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "params.h"

namespace firstspike::emulator {

// A layer as it comes from outside, unchecked. `layer` has the sizes, windows and registers; pointers and types in it
// are ignored.
struct LayerSpec {
    Layer layer;
    std::string name;
    bool strict;             // fires at V > theta
    const int32_t* weights;  // rows * out_c values
    int64_t weight_count;
    const int64_t *theta, *bias;  // out_c values each
    int64_t theta_count, bias_count;
    int64_t shortcut_count;  // of layer.shortcut.weights, which this layer's geometry wants in_c of
};

// std::invalid_argument that names the layer.
[[noreturn]] void refuse(const std::string& layer, const std::string& text);
void in_range(const std::string& layer, const char* name, int64_t value, int64_t low, int64_t high);
void check_register(const std::string& layer, const char* name, const Register& r);
// The number of rows, each of out_c weights.
int64_t check_geometry(const std::string& name, const Layer& layer);
constexpr int64_t kLargestValue = int64_t{1} << 60;  // thresholds, biases, sums
inline int64_t farthest(const Register& r) { return -r.low > r.high ? -r.low : r.high; }

class Network {
 public:
    Network(int steps, int total_steps);
    // Checks every size and range, throws std::invalid_argument naming layer and argument; copies the arrays.
    void add(const LayerSpec& spec);

    int steps() const { return steps_; }
    int total_steps() const { return total_steps_; }
    const std::vector<Layer>& layers() const { return layers_; }
    const std::vector<std::string>& names() const { return names_; }
    const std::vector<std::vector<int64_t>>& thetas() const { return thetas_; }  // as given
    int sources() const { return layers_.front().sources(); }

 private:
    void check_shortcut(const LayerSpec& spec) const;
    const void* keep(std::size_t bytes);  // 64-byte aligned, zeroed, owned
    int steps_, total_steps_;
    std::vector<Layer> layers_;
    std::vector<std::string> names_;
    std::vector<std::vector<int64_t>> thetas_;
    std::vector<std::unique_ptr<std::byte[]>> storage_;
};

}  // namespace firstspike::emulator
