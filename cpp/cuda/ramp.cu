// Direct coding: a constant current into each neuron. A warp takes a tile of a site and steps its neurons in registers.
#include "each.h"
#include "record.h"

namespace firstspike::cuda {

namespace {

struct Neurons {
    const float* current;  // [sites, channels]
    int64_t sites;
    int channels, tiles, steps;
    Neuron neuron;
    Surrogate surrogate;

    __device__ int64_t groups() const { return sites * tiles; }
    __device__ int channel(int64_t group) const { return static_cast<int>(group % tiles) * kTile + lane(); }
    __device__ int64_t place(int64_t group) const { return group / tiles * channels + channel(group); }
};

template <class AtStep>
__device__ inline void walk(const Neurons& n, int64_t group, AtStep&& at_step) {
    const bool inside = n.channel(group) < n.channels;
    const float current = inside ? n.current[n.place(group)] : 0.0f;
    float v[1] = {inside ? 0.0f : kSpent};
    for (int t = 0; t < n.steps; ++t) {
        v[0] = leak(v[0], n.neuron) + current;
        if (!at_step(v, t)) return;
    }
}

template <bool kRecord>
__global__ void __launch_bounds__(each::kThreads) ramp_kernel(const Neurons n, const Slots slots, uint8_t* times_out) {
    for (int64_t group = each::first_group(); group < n.groups(); group += each::group_stride()) {
        Firing<1, kRecord> firing(n.neuron, n.surrogate, slots.entries);
        if constexpr (kRecord) firing.room[0] = room_in_slot(slots, group);
        walk(n, group, firing);
        if (n.channel(group) < n.channels) times_out[n.place(group)] = static_cast<uint8_t>(firing.time[0]);
        if (kRecord && lane() == 0) slots.count[group] = firing.room[0].count;
    }
}

__global__ void __launch_bounds__(each::kThreads) place_kernel(const Neurons n, const Slots slots, const Placement to) {
    for (int64_t group = each::first_group(); group < n.groups(); group += each::group_stride()) {
        if (copy_from_slot(slots, to, group)) continue;
        Firing<1, true> firing(n.neuron, n.surrogate, to.entries);
        firing.room[0] = room_in_place(to, group);
        walk(n, group, firing);
    }
}

// dL/dcurrent: each entry's value times how often the current has entered the membrane by its step.
__global__ void __launch_bounds__(each::kThreads) ramp_gradient_kernel(const Neurons n, const OutputGradient g, float* out) {
    float* const gain = reinterpret_cast<float*>(shared_memory());  // [steps]
    float* const sum = gain + n.steps + warp() * kTile;             // [warps][kTile]
    for (int t = static_cast<int>(threadIdx.x); t < n.steps; t += static_cast<int>(blockDim.x))
        gain[t] = constant_current_gain(t, n.neuron.decay);
    __syncthreads();
    for (int64_t group = each::first_group(); group < n.groups(); group += each::group_stride()) {
        sum[lane()] = 0.0f;
        __syncwarp();
        const int64_t end = g.support.offset[group + 1];
        for (int64_t e0 = g.support.offset[group]; e0 < end; e0 += kWarp) {
            const int64_t e = e0 + lane();
            const bool inside = e < end;
            const int step = inside ? g.support.step[e] : -1;
            const float value = inside ? g.gradient[e] * g.slope[e] * gain[step] : 0.0f;
            unsigned left = __ballot_sync(kAllLanes, inside);
            while (left != 0) {  // entries of one step belong to different neurons
                const bool now = step == __shfl_sync(kAllLanes, step, __ffs(static_cast<int>(left)) - 1) && inside;
                if (now) sum[g.support.lane[e]] += value;
                left &= ~__ballot_sync(kAllLanes, now);
                __syncwarp();
            }
        }
        if (n.channel(group) < n.channels) out[n.place(group)] = sum[lane()];
        __syncwarp();
    }
}

Neurons neurons_of(const float* current, int64_t sites, int64_t channels, int steps, const Neuron& neuron,
                   const Surrogate& surrogate) {
    return {current, sites, static_cast<int>(channels), static_cast<int>(tiles_of(channels)), steps, neuron, surrogate};
}

Launch launch_of(const char* name, const Neurons& n, int64_t shared, void* stream) {
    return each::over_groups(name, n.sites * n.tiles, shared, stream);
}

}  // namespace

void ramp(const float* current, int64_t sites, int64_t channels, int steps, const Neuron& neuron, const Surrogate& surrogate,
          const Slots& slots, uint8_t* times_out, void* stream) {
    const Neurons n = neurons_of(current, sites, channels, steps, neuron, surrogate);
    if (sites == 0) return;
    if (slots.count != nullptr)
        launch(launch_of("ramp", n, 0, stream), ramp_kernel<true>, n, slots, times_out);
    else
        launch(launch_of("ramp", n, 0, stream), ramp_kernel<false>, n, slots, times_out);
}

void place_ramp(const float* current, int64_t sites, int64_t channels, int steps, const Neuron& neuron,
                const Surrogate& surrogate, const Slots& slots, const Placement& to, void* stream) {
    const Neurons n = neurons_of(current, sites, channels, steps, neuron, surrogate);
    if (sites > 0) launch(launch_of("place_ramp", n, 0, stream), place_kernel, n, slots, to);
}

void ramp_gradient(const OutputGradient& g, int64_t sites, int64_t channels, int steps, const Neuron& neuron,
                   float* current_gradient, void* stream) {
    const Neurons n = neurons_of(nullptr, sites, channels, steps, neuron, {SurrogateKind::triangle, 1.0f});
    const int64_t shared = (steps + each::kWarps * kTile) * static_cast<int64_t>(sizeof(float));
    if (sites > 0) launch(launch_of("ramp_gradient", n, shared, stream), ramp_gradient_kernel, n, g, current_gradient);
}

}  // namespace firstspike::cuda
