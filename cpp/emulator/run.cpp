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

// One thread's states, all layers in one block.
class Workspace {
 public:
    explicit Workspace(const Network& network) : trace(network.layers().size(), nullptr), states_(network.layers().size()) {
        const int total = network.total_steps();
        take_size(network, total);
        block_ = std::make_unique<std::byte[]>(size_ + 64);
        void* start = block_.get();
        std::size_t room = size_ + 64;
        base_ = static_cast<std::byte*>(std::align(64, size_, start, room));
        used_ = 0;
        input = {take<int32_t>(network.sources()), take<int32_t>(total + 1)};
        for (std::size_t l = 0; l < states_.size(); ++l) lay(network.layers()[l], states_[l], total);
    }

    State* states() { return states_.data(); }
    Events input;
    std::vector<int64_t*> trace;  // of each layer, for the sample that runs

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

    void lay(const Layer& layer, State& state, int total) {
        const std::size_t padded = static_cast<std::size_t>(layer.sites()) * layer.stride, words = padded * layer.state_bytes / 4;
        state.v = take<int32_t>(words);
        state.current = layer.has_current || layer.by_shift ? take<int32_t>(words) : nullptr;
        state.sum = take<int32_t>(words);
        state.alive = take<int32_t>(words);
        state.times = take<uint8_t>(padded);
        state.unspent = take<int32_t>(layer.sites());
        state.touched = take<uint8_t>(layer.sites());
        state.out = {take<int32_t>(layer.neurons()), take<int32_t>(total + 1)};
    }

    void take_size(const Network& network, int total) {
        take<int32_t>(network.sources());
        take<int32_t>(total + 1);
        State unused;
        for (const Layer& layer : network.layers()) lay(layer, unused, total);
        size_ = used_;
    }

    std::vector<State> states_;
    std::unique_ptr<std::byte[]> block_;
    std::byte* base_ = nullptr;
    std::size_t used_ = 0, size_ = 0;
};

void write_times(const Layer& layer, const State& state, uint8_t* out) {
    for (int site = 0; site < layer.sites(); ++site)
        std::copy_n(state.times + static_cast<int64_t>(site) * layer.stride, layer.out_c,
                    out + static_cast<int64_t>(site) * layer.out_c);
}

template <class S>
void write_overshoot(const Layer& layer, const State& state, const std::vector<int64_t>& theta, int64_t* out) {
    for (int site = 0; site < layer.sites(); ++site)
        for (int c = 0; c < layer.out_c; ++c)
            *out++ = static_cast<const S*>(state.v)[static_cast<int64_t>(site) * layer.stride + c] - theta[c];
}

}  // namespace

Kernel kernel() {
    [[maybe_unused]] static const firstspike::Processor processor = firstspike::this_processor();
#if defined(FIRSTSPIKE_EMULATOR_v4)
    if (processor.v4) return {v4::run_sample, v4::run_windows, "v4"};
#endif
#if defined(FIRSTSPIKE_EMULATOR_v3)
    if (processor.v3) return {v3::run_sample, v3::run_windows, "v3"};
#endif
    return {generic::run_sample, generic::run_windows, "generic"};
}

const char* instruction_set() { return kernel().name; }

void run(const Network& network, const uint8_t* times, int64_t samples, int threads, bool exit_at_first_spike,
         const Results& results) {
    const std::vector<Layer>& layers = network.layers();
    const std::size_t count = layers.size();
    const RunSample run_sample = kernel().run_sample;
    over_samples<Workspace>(
        samples, threads, [&] { return std::make_unique<Workspace>(network); },
        [&](Workspace& space, int64_t b) {
            std::vector<int64_t*>& trace = space.trace;
            for (std::size_t l = 0; l < count; ++l)
                if (results.trace[l]) trace[l] = results.trace[l] + b * network.total_steps() * layers[l].neurons();
            results.steps_run[b] = run_sample({layers.data(), space.states(), static_cast<int>(count), network.total_steps(),
                                               exit_at_first_spike, times + b * network.sources(), space.input,
                                               results.counters + b * static_cast<int64_t>(count) * kCounters, trace.data()});
            for (std::size_t l = 0; l < count; ++l)
                if (results.times[l]) write_times(layers[l], space.states()[l], results.times[l] + b * layers[l].neurons());
            if (!results.overshoot) return;
            int64_t* out = results.overshoot + b * layers.back().neurons();
            if (layers.back().state_bytes == 4)
                write_overshoot<int32_t>(layers.back(), space.states()[count - 1], network.thetas().back(), out);
            else
                write_overshoot<int64_t>(layers.back(), space.states()[count - 1], network.thetas().back(), out);
        });
}

}  // namespace firstspike::emulator
