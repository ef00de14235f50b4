// A loop over the samples of a batch, over threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <thread>
#include <vector>

namespace firstspike::emulator {

// one(space, b) for every sample b, by `threads` threads at most, each with a `Space` of its own, made by make().
template <class Space, class Make, class One>
void over_samples(int64_t samples, int threads, const Make& make, const One& one) {
    std::atomic<int64_t> next{0};
    constexpr int64_t kChunk = 16;
    const auto work = [&](Space& space) {
        for (int64_t begin; (begin = next.fetch_add(kChunk)) < samples;)
            for (int64_t b = begin; b < std::min(begin + kChunk, samples); ++b) one(space, b);
    };
    const int64_t useful = std::max<int64_t>(1, (samples + kChunk - 1) / kChunk);
    const int workers = static_cast<int>(std::min<int64_t>(threads, useful));
    std::vector<std::unique_ptr<Space>> spaces;  // allocated here, so that no thread can fail for memory
    for (int i = 0; i < workers; ++i) spaces.push_back(make());
    std::vector<std::thread> others;
    others.reserve(static_cast<std::size_t>(workers));
    try {
        for (int i = 1; i < workers; ++i) others.emplace_back([&, i] { work(*spaces[i]); });
    } catch (const std::exception&) {
        // The system gives no more threads, or no memory for one: those that there are run all samples.
    }
    work(*spaces[0]);
    for (std::thread& thread : others) thread.join();
}

}  // namespace firstspike::emulator
