#include "run.h"

#include <algorithm>
#include <cstddef>
#include <memory>

#include "../core/processor.h"
#include "kernel.h"
#include "threads.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace firstspike::emulator {
namespace {

// Behind each array of a workspace, in a build with AddressSanitizer: bytes that nobody may touch.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kGuard = 64;
void guard(const void* from, std::size_t bytes) { __asan_poison_memory_region(from, bytes); }
#else
constexpr std::size_t kGuard = 0;
[[maybe_unused]] void guard(const void*, std::size_t) {}
#endif

// One thread's arrays, all in one block.
class Workspace {
 public:
    explicit Workspace(const Network& network) : states(network.layers().size()), times(states.size()), trace(states.size()) {
        lay(network);  // for its size alone
        block_ = std::make_unique<std::byte[]>(used_ + 64);
        void* start = block_.get();
        std::size_t room = used_ + 64;
        base_ = static_cast<std::byte*>(std::align(64, used_, start, room));
        used_ = 0;
        lay(network);
    }

    Events events{};
    void *current = nullptr, *v = nullptr, *theta = nullptr;
    std::vector<State> states;
    std::vector<uint8_t*> times;  // of each layer, for the sample that runs
    std::vector<int64_t*> trace;

 private:
    template <class T>
    T* take(std::size_t count) {
        std::byte* at = base_ ? base_ + used_ : nullptr;
        const std::size_t bytes = count * sizeof(T), room = (bytes + 63) / 64 * 64 + kGuard;
        if constexpr (kGuard > 0)
            if (base_) guard(at + bytes, room - bytes);
        used_ += room;
        return reinterpret_cast<T*>(at);
    }

    void lay(const Network& network) {
        const int steps = network.by_step() ? network.total_steps() : kSilent;
        int most = network.sources();
        for (const Layer& layer : network.layers()) most = std::max(most, layer.neurons());
        events = {take<int32_t>(network.by_step() ? network.sources() : most), take<int32_t>(steps + 1)};
        if (network.by_step())
            for (std::size_t l = 0; l < states.size(); ++l) lay(network.layers()[l], states[l], steps);
        else
            current = take<int64_t>(most), v = take<int64_t>(most), theta = take<int64_t>(most);
    }

    void lay(const Layer& layer, State& state, int steps) {
        const std::size_t padded = static_cast<std::size_t>(layer.sites()) * layer.padded, words = padded * layer.state_bytes / 4;
        state.v = take<int32_t>(words);
        state.current = layer.has_current || layer.by_shift ? take<int32_t>(words) : nullptr;
        state.sum = take<int32_t>(words);
        state.alive = take<int32_t>(words);
        state.times = take<uint8_t>(padded);
        state.unspent = take<int32_t>(layer.sites());
        state.touched = take<uint8_t>(layer.sites());
        state.out = {take<int32_t>(layer.neurons()), take<int32_t>(steps + 1)};
    }

    std::unique_ptr<std::byte[]> block_;
    std::byte* base_ = nullptr;
    std::size_t used_ = 0;
};

void write_times(const Layer& layer, const State& state, uint8_t* out) {
    for (int site = 0; site < layer.sites(); ++site)
        std::copy_n(state.times + static_cast<int64_t>(site) * layer.padded, layer.out_c,
                    out + static_cast<int64_t>(site) * layer.out_c);
}

template <class S>
void write_overshoot(const Layer& layer, const State& state, int64_t* out) {
    for (int site = 0; site < layer.sites(); ++site)
        for (int c = 0; c < layer.out_c; ++c)
            *out++ = static_cast<int64_t>(static_cast<const S*>(state.v)[static_cast<int64_t>(site) * layer.padded + c]) -
                     static_cast<const S*>(layer.theta)[c] + layer.strict;
}

}  // namespace

Kernel kernel() {
    [[maybe_unused]] static const firstspike::Processor processor = firstspike::this_processor();
#if defined(FIRSTSPIKE_EMULATOR_v4)
    if (processor.v4) return {v4::run_steps, v4::run_windows, "v4"};
#endif
#if defined(FIRSTSPIKE_EMULATOR_v3)
    if (processor.v3) return {v3::run_steps, v3::run_windows, "v3"};
#endif
    return {generic::run_steps, generic::run_windows, "generic"};
}

const char* instruction_set() { return kernel().name; }

void run(const Network& network, const uint8_t* times, int64_t samples, int threads, bool exit_at_first_spike,
         const Results& results) {
    const std::vector<Layer>& layers = network.layers();
    const int count = static_cast<int>(layers.size()), total = network.total_steps();
    const Layer& last = layers.back();
    const Kernel kernels = kernel();
    over_samples<Workspace>(
        samples, threads, [&] { return std::make_unique<Workspace>(network); },
        [&](Workspace& space, int64_t b) {
            const uint8_t* const input = times + b * network.sources();
            int64_t* const counters = results.counters + b * count * kCounters;
            for (int l = 0; l < count; ++l) {
                const int64_t neurons = layers[l].neurons();
                if (results.times[l]) space.times[l] = results.times[l] + b * neurons;
                if (results.trace[l]) space.trace[l] = results.trace[l] + b * updated_steps(network, layers[l]) * neurons;
            }
            results.steps_run[b] = total;
            if (!network.by_step())
                return kernels.run_windows({.layers = layers.data(),
                                            .layer_count = count,
                                            .input = input,
                                            .counters = counters,
                                            .trace = space.trace.data(),
                                            .times = space.times.data(),
                                            .last = results.last ? results.last + b * last.neurons() : nullptr,
                                            .events = space.events,
                                            .current = space.current,
                                            .v = space.v,
                                            .theta = space.theta});
            results.steps_run[b] = kernels.run_steps({.layers = layers.data(),
                                                      .layer_count = count,
                                                      .total_steps = total,
                                                      .exit_at_first_spike = exit_at_first_spike,
                                                      .input = input,
                                                      .counters = counters,
                                                      .trace = space.trace.data(),
                                                      .states = space.states.data(),
                                                      .events = space.events});
            for (int l = 0; l < count; ++l)
                if (results.times[l]) write_times(layers[l], space.states[l], space.times[l]);
            if (!results.overshoot) return;
            int64_t* const out = results.overshoot + b * last.neurons();
            last.state_bytes == 4 ? write_overshoot<int32_t>(last, space.states.back(), out)
                                  : write_overshoot<int64_t>(last, space.states.back(), out);
        });
}

}  // namespace firstspike::emulator
