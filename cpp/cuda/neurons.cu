// Neurons without synapses, in simple kernels: a thread for each neuron, or a warp for each group of neurons.
//
// Direct coding steps a tile of a site in registers. The dense neuron is bound by memory: its forward pass reads and writes each
// element once, with several loads in flight; so does the backward pass up to 32 steps. The rest acts on each neuron by itself:
// dense trains to times and back, dense gradients at support entries or as them, the latency code, and dropout.
#include "../core/dropout_mask.h"
#include "launch.h"
#include "record.h"

namespace firstspike::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

// The thread's neuron.
__device__ inline int64_t neuron_number() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }
// The warp's groups: from first_group on, group_stride apart.
__device__ inline int64_t first_group() { return static_cast<int64_t>(blockIdx.x) * kWarps + warp(); }
__device__ inline int64_t group_stride() { return static_cast<int64_t>(gridDim.x) * kWarps; }

inline Launch over_neurons(const char* name, int64_t neurons, void* stream) {
    return {name, dim3(all_blocks(neurons, kThreads)), kThreads, 0, stream};
}

inline Launch over_groups(const char* name, int64_t groups, int64_t shared, void* stream) {
    return {name, dim3(blocks_for(groups, kWarps, 1 << 20)), kThreads, shared, stream};
}

struct RampParams {
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
__device__ inline void walk(const RampParams& n, int64_t group, AtStep&& at_step) {
    const bool inside = n.channel(group) < n.channels;
    const float current = inside ? n.current[n.place(group)] : 0.0f;
    float v[1] = {inside ? 0.0f : kSpent};
    for (int t = 0; t < n.steps; ++t) {
        v[0] = leak(v[0], n.neuron) + current;
        if (!at_step(v, t)) return;
    }
}

template <bool kRecord>
__global__ void __launch_bounds__(kThreads) ramp_kernel(const RampParams n, const Slots slots, uint8_t* times_out) {
    for (int64_t group = first_group(); group < n.groups(); group += group_stride()) {
        Firing<1, kRecord> firing(n.neuron, n.surrogate, slots.entries);
        if constexpr (kRecord) firing.room[0] = room_in_slot(slots, group);
        walk(n, group, firing);
        if (n.channel(group) < n.channels) times_out[n.place(group)] = static_cast<uint8_t>(firing.time[0]);
        if (kRecord && lane() == 0) slots.count[group] = firing.room[0].count;
    }
}

__global__ void __launch_bounds__(kThreads) place_kernel(const RampParams n, const Slots slots, const Placement to) {
    for (int64_t group = first_group(); group < n.groups(); group += group_stride()) {
        if (copy_from_slot(slots, to, group)) continue;
        Firing<1, true> firing(n.neuron, n.surrogate, to.entries);
        firing.room[0] = room_in_place(to, group);
        walk(n, group, firing);
    }
}

// dL/dcurrent: each entry's value times how often the current has entered the membrane by its step.
__global__ void __launch_bounds__(kThreads) ramp_gradient_kernel(const RampParams n, const OutputGradient g, float* out) {
    float* const gain = reinterpret_cast<float*>(shared_memory());  // [steps]
    float* const sum = gain + n.steps + warp() * kTile;             // [warps][kTile]
    for (int t = static_cast<int>(threadIdx.x); t < n.steps; t += static_cast<int>(blockDim.x))
        gain[t] = constant_current_gain(t, n.neuron.decay);
    __syncthreads();
    for (int64_t group = first_group(); group < n.groups(); group += group_stride()) {
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

RampParams params_of(const float* current, int64_t sites, int64_t channels, int steps, const Neuron& neuron,
                     const Surrogate& surrogate) {
    return {current, sites, static_cast<int>(channels), static_cast<int>(tiles_of(channels)), steps, neuron, surrogate};
}

Launch launch_of(const char* name, const RampParams& n, int64_t shared, void* stream) {
    return over_groups(name, n.sites * n.tiles, shared, stream);
}

constexpr int kInFlight = 8;

struct FireParams {
    const float* current;
    const float* gradient;
    float* out;
    int steps;
    int64_t neurons;
    Neuron neuron;
    Surrogate surrogate;
};

__global__ void __launch_bounds__(kThreads) fire_kernel(const FireParams p) {
    const int64_t i = neuron_number();
    if (i >= p.neurons) return;
    float v = 0.0f;
    bool alive = true;
    for (int t0 = 0; t0 < p.steps; t0 += kInFlight) {
        float x[kInFlight];
#pragma unroll
        for (int k = 0; k < kInFlight; ++k) x[k] = t0 + k < p.steps ? p.current[(t0 + k) * p.neurons + i] : 0.0f;
#pragma unroll
        for (int k = 0; k < kInFlight; ++k) {
            if (t0 + k >= p.steps) break;
            v = leak(v, p.neuron) + x[k];
            const bool now = alive && fires(v, p.neuron.threshold);
            alive = alive && !now;
            p.out[(t0 + k) * p.neurons + i] = now ? 1.0f : 0.0f;
        }
    }
}

// direct[t] of one neuron, up to its spike.
struct Direct {
    float v = 0.0f;
    bool alive = true;

    __device__ float operator()(const FireParams& p, float current, float gradient) {
        v = leak(v, p.neuron) + current;
        const float direct = alive ? gradient * p.surrogate.slope(overshoot(v, p.neuron)) : 0.0f;
        alive = alive && !fires(v, p.neuron.threshold);
        return direct;
    }
};

// Up to kSteps steps: `direct` stays in registers.
template <int kSteps>
__global__ void __launch_bounds__(kThreads, 2) fire_gradient_kernel(const FireParams p) {
    const int64_t i = neuron_number();
    if (i >= p.neurons) return;
    float direct[kSteps], current[kSteps];
#pragma unroll
    for (int t = 0; t < kSteps; ++t) {
        current[t] = t < p.steps ? p.current[t * p.neurons + i] : 0.0f;
        direct[t] = t < p.steps ? p.gradient[t * p.neurons + i] : 0.0f;
    }
    Direct next;
#pragma unroll
    for (int t = 0; t < kSteps; ++t)
        if (t < p.steps) direct[t] = next(p, current[t], direct[t]);
    float run = 0.0f;
#pragma unroll
    for (int t = kSteps - 1; t >= 0; --t) {
        if (t >= p.steps) continue;
        run = direct[t] + p.neuron.decay * run;
        p.out[t * p.neurons + i] = run;
    }
}

// Any number of steps: `direct` waits in the result.
__global__ void __launch_bounds__(kThreads) fire_gradient_long_kernel(const FireParams p) {
    const int64_t i = neuron_number();
    if (i >= p.neurons) return;
    Direct next;
    for (int t = 0; t < p.steps; ++t) {
        const int64_t at = t * p.neurons + i;
        p.out[at] = next(p, p.current[at], p.gradient[at]);
    }
    float run = 0.0f;
    for (int t = p.steps - 1; t >= 0; --t) {
        const int64_t at = t * p.neurons + i;
        run = p.out[at] + p.neuron.decay * run;
        p.out[at] = run;
    }
}

__global__ void __launch_bounds__(kThreads) times_kernel(const float* spikes, int steps, int64_t neurons, uint8_t* times) {
    const int64_t i = neuron_number();
    if (i >= neurons) return;
    int time = kSilent;
#pragma unroll 8
    for (int t = steps - 1; t >= 0; --t)  // downwards: the first spike wins
        if (spikes[t * neurons + i] != 0.0f) time = t;
    times[i] = static_cast<uint8_t>(time);
}

__global__ void __launch_bounds__(kThreads) dense_kernel(const uint8_t* times, int steps, int64_t neurons, float* spikes) {
    const int64_t i = neuron_number();
    if (i >= neurons) return;
    const int time = times[i];
    for (int t = 0; t < steps; ++t) spikes[t * neurons + i] = time == t ? 1.0f : 0.0f;
}

__global__ void __launch_bounds__(kThreads)
    gather_kernel(const float* gradient, int64_t sites, int channels, int tiles, const SupportView support, float* out) {
    for (int64_t group = first_group(); group < sites * tiles; group += group_stride()) {
        const int64_t site = group / tiles, first = group % tiles * kTile, end = support.offset[group + 1];
        for (int64_t e = support.offset[group] + lane(); e < end; e += kWarp)
            out[e] = gradient[(support.step[e] * sites + site) * channels + first + support.lane[e]];
    }
}

__global__ void __launch_bounds__(kThreads) dense_support_kernel(const float* gradient, int steps, int64_t sites, int channels,
                                                                 int tiles, int64_t* offset, const Entries out) {
    for (int64_t group = first_group(); group < sites * tiles; group += group_stride()) {
        const int64_t site = group / tiles;
        const int first = static_cast<int>(group % tiles) * kTile, used = min(kTile, channels - first);
        const int64_t begin = site * steps * channels + static_cast<int64_t>(first) * steps;
        for (int t = 0; t < steps && lane() < used; ++t) {
            const int64_t e = begin + t * used + lane();
            out.slope[e] = gradient[(t * sites + site) * channels + first + lane()];
            out.step[e] = static_cast<uint8_t>(t);
            out.lane[e] = static_cast<uint8_t>(lane());
        }
        if (lane() == 0) {
            offset[group] = begin;
            if (group == sites * tiles - 1) offset[group + 1] = begin + static_cast<int64_t>(used) * steps;
        }
    }
}

__global__ void __launch_bounds__(kThreads)
    latency_kernel(const float* intensity, int64_t neurons, int steps, int curve, uint8_t* times) {
    constexpr float kDarkest = 1.0f / 255.0f;
    const int64_t i = neuron_number();
    if (i >= neurons) return;
    const float x = intensity[i];
    const float last = static_cast<float>(steps - 1);
    const float delay = curve == 0 ? 1.0f - x : logf(fmaxf(x, kDarkest)) / static_cast<float>(-5.541263545158426);
    const float step = fminf(fmaxf(rintf(delay * last), 0.0f), last);  // what is outside [0, 1] gets the nearest step
    times[i] = x == 0.0f ? static_cast<uint8_t>(kSilent) : static_cast<uint8_t>(step);
}

__device__ inline bool stays_at(const int64_t* seed, int64_t site, int64_t channels, int64_t channel, uint32_t keep) {
    return keeps(draw_levels(static_cast<uint64_t>(*seed), site, channels, channel / kLevelsPerDraw), channel, keep);
}

__global__ void __launch_bounds__(kThreads)
    drop_kernel(const uint8_t* times, int64_t neurons, int64_t channels, const int64_t* seed, uint32_t keep, uint8_t* out) {
    const int64_t i = neuron_number();
    if (i >= neurons) return;
    out[i] = stays_at(seed, i / channels, channels, i % channels, keep) ? times[i] : static_cast<uint8_t>(kSilent);
}

__global__ void __launch_bounds__(kThreads) drop_dense_kernel(const float* gradient, int steps, int64_t neurons, int64_t channels,
                                                              const int64_t* seed, uint32_t keep, float* out) {
    const int64_t i = neuron_number();
    if (i >= neurons) return;
    const bool stay = stays_at(seed, i / channels, channels, i % channels, keep);
    for (int t = 0; t < steps; ++t) out[t * neurons + i] = stay ? gradient[t * neurons + i] : 0.0f;
}

__global__ void __launch_bounds__(kThreads)
    drop_support_kernel(const float* gradient, int64_t groups, int64_t channels, int tiles, const SupportView support,
                        const int64_t* seed, uint32_t keep, float* out) {
    for (int64_t group = first_group(); group < groups; group += group_stride()) {
        const int64_t site = group / tiles, first = group % tiles * kTile, end = support.offset[group + 1];
        for (int64_t e = support.offset[group] + lane(); e < end; e += kWarp)
            out[e] = stays_at(seed, site, channels, first + support.lane[e], keep) ? gradient[e] : 0.0f;
    }
}

}  // namespace

void ramp(const float* current, int64_t sites, int64_t channels, int steps, const Neuron& neuron, const Surrogate& surrogate,
          const Slots& slots, uint8_t* times_out, void* stream) {
    const RampParams n = params_of(current, sites, channels, steps, neuron, surrogate);
    if (sites == 0) return;
    if (slots.count != nullptr)
        launch(launch_of("ramp", n, 0, stream), ramp_kernel<true>, n, slots, times_out);
    else
        launch(launch_of("ramp", n, 0, stream), ramp_kernel<false>, n, slots, times_out);
}

void place_ramp(const float* current, int64_t sites, int64_t channels, int steps, const Neuron& neuron,
                const Surrogate& surrogate, const Slots& slots, const Placement& to, void* stream) {
    const RampParams n = params_of(current, sites, channels, steps, neuron, surrogate);
    if (sites > 0) launch(launch_of("place_ramp", n, 0, stream), place_kernel, n, slots, to);
}

void ramp_gradient(const OutputGradient& g, int64_t sites, int64_t channels, int steps, const Neuron& neuron,
                   float* current_gradient, void* stream) {
    const RampParams n = params_of(nullptr, sites, channels, steps, neuron, {SurrogateKind::triangle, 1.0f});
    const int64_t shared = (steps + kWarps * kTile) * static_cast<int64_t>(sizeof(float));
    if (sites > 0) launch(launch_of("ramp_gradient", n, shared, stream), ramp_gradient_kernel, n, g, current_gradient);
}

void fire_dense(const float* current, int steps, int64_t neurons, const Neuron& neuron, float* spikes, void* stream) {
    launch(over_neurons("fire", neurons, stream), fire_kernel,
           FireParams{current, nullptr, spikes, steps, neurons, neuron, {SurrogateKind::triangle, 1.0f}});
}

void fire_dense_gradient(const float* current, const float* gradient, int steps, int64_t neurons, const Neuron& neuron,
                         const Surrogate& surrogate, float* current_gradient, void* stream) {
    const FireParams p{current, gradient, current_gradient, steps, neurons, neuron, surrogate};
    const Launch l = over_neurons("fire_gradient", neurons, stream);
    if (steps <= 4)
        launch(l, fire_gradient_kernel<4>, p);
    else if (steps <= 8)
        launch(l, fire_gradient_kernel<8>, p);
    else if (steps <= 16)
        launch(l, fire_gradient_kernel<16>, p);
    else if (steps <= 32)
        launch(l, fire_gradient_kernel<32>, p);
    else
        launch(l, fire_gradient_long_kernel, p);
}

void times_from_dense(const float* spikes, int steps, int64_t neurons, uint8_t* times, void* stream) {
    launch(over_neurons("times_from_dense", neurons, stream), times_kernel, spikes, steps, neurons, times);
}

void dense_from_times(const uint8_t* times, int steps, int64_t neurons, float* spikes, void* stream) {
    launch(over_neurons("dense_from_times", neurons, stream), dense_kernel, times, steps, neurons, spikes);
}

void gather_at_support(const float* gradient, int64_t sites, int64_t channels, const SupportView& support, float* out,
                       void* stream) {
    const int64_t tiles = tiles_of(channels);
    launch(over_groups("gather_at_support", sites * tiles, 0, stream), gather_kernel, gradient, sites, static_cast<int>(channels),
           static_cast<int>(tiles), support, out);
}

void support_of_dense(const float* gradient, int steps, int64_t sites, int64_t channels, int64_t* offset, Entries entries,
                      void* stream) {
    const int64_t tiles = tiles_of(channels);
    launch(over_groups("support_of_dense", sites * tiles, 0, stream), dense_support_kernel, gradient, steps, sites,
           static_cast<int>(channels), static_cast<int>(tiles), offset, entries);
}

void latency(const float* intensity, int64_t neurons, int steps, int curve, uint8_t* times, void* stream) {
    launch(over_neurons("latency", neurons, stream), latency_kernel, intensity, neurons, steps, curve, times);
}

void drop_spikes(const uint8_t* times, int64_t sites, int64_t channels, const int64_t* seed, uint32_t keep, uint8_t* times_out,
                 void* stream) {
    launch(over_neurons("drop_spikes", sites * channels, stream), drop_kernel, times, sites * channels, channels, seed, keep,
           times_out);
}

void drop_gradient(const float* gradient, int steps, int64_t sites, int64_t channels, const SupportView& support,
                   const int64_t* seed, uint32_t keep, float* out, void* stream) {
    const int64_t tiles = tiles_of(channels), neurons = sites * channels;
    if (support.offset == nullptr)
        launch(over_neurons("drop_gradient", neurons, stream), drop_dense_kernel, gradient, steps, neurons, channels, seed, keep,
               out);
    else
        launch(over_groups("drop_gradient", sites * tiles, 0, stream), drop_support_kernel, gradient, sites * tiles, channels,
               static_cast<int>(tiles), support, seed, keep, out);
}

}  // namespace firstspike::cuda
