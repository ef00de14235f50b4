// What this machine can do at all, on a given number of threads: bytes read per second from each level of the memory, additions
// and fused multiply-adds per second, and additions whose operand comes from memory, as an event-driven kernel makes them.
//
// Usage: probe THREADS NAME=BYTES ...   prints one JSON object; NAME=BYTES is a working set per thread.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef float Vec __attribute__((vector_size(kLanes * 4)));
constexpr int kChains = 12;  // independent sums: enough to hide the latency of an addition

// Keeps a value in a register, and the compiler from knowing it.
inline void opaque(Vec& v) {
#if defined(__AVX512F__)
    asm volatile("" : "+v"(v));
#elif defined(__x86_64__)
    asm volatile("" : "+x"(v));
#else
    asm volatile("" : "+w"(v));
#endif
}

// Each returns how many floats it handled.
int64_t add(int64_t rounds) {
    Vec sum[kChains] = {}, x = Vec{} + 1.0f;
    for (int64_t i = 0; i < rounds; ++i)
        for (auto& s : sum) {
            s += x;
            opaque(s);
        }
    return rounds * kChains * kLanes;
}

int64_t multiply_add(int64_t rounds) {
    Vec sum[kChains] = {}, x = Vec{} + 1.0f, y = Vec{} + 0.5f;
    opaque(x);
    opaque(y);
    for (int64_t i = 0; i < rounds; ++i)
        for (auto& s : sum) {
            s += x * y;
            opaque(s);
        }
    return rounds * kChains * kLanes;
}

// Reads: each vector is loaded and no arithmetic is done.
int64_t read(const float* data, int64_t floats, int64_t passes) {
    for (int64_t p = 0; p < passes; ++p)
        for (int64_t i = 0; i + 8 * kLanes <= floats; i += 8 * kLanes)
            for (int k = 0; k < 8; ++k) {
                Vec v = *reinterpret_cast<const Vec*>(data + i + k * kLanes);
                opaque(v);
            }
    return floats / (8 * kLanes) * (8 * kLanes) * passes;
}

// Reads and adds: one addition a float read.
int64_t read_and_add(const float* data, int64_t floats, int64_t passes) {
    Vec sum[8] = {};
    for (int64_t p = 0; p < passes; ++p)
        for (int64_t i = 0; i + 8 * kLanes <= floats; i += 8 * kLanes)
            for (int k = 0; k < 8; ++k) {
                sum[k] += *reinterpret_cast<const Vec*>(data + i + k * kLanes);
                opaque(sum[k]);
            }
    return floats / (8 * kLanes) * (8 * kLanes) * passes;
}

// Floats per second of all threads together, the best of 40 short tries; work(thread) returns the floats it handled.
template <class Work>
double rate(int threads, Work work) {
    double best = 0;
    for (int attempt = 0; attempt < 40; ++attempt) {
        std::atomic<int> ready{0};
        std::atomic<bool> go{false};
        std::atomic<int64_t> floats{0};
        std::vector<std::thread> pool;
        for (int t = 0; t < threads; ++t)
            pool.emplace_back([&, t] {
                ++ready;
                while (!go) std::this_thread::yield();
                floats += work(t);
            });
        while (ready < threads) std::this_thread::yield();
        const auto began = std::chrono::steady_clock::now();
        go = true;
        for (auto& thread : pool) thread.join();
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
        best = std::max(best, static_cast<double>(floats) / seconds.count());
    }
    return best;
}

}  // namespace

int main(int argc, char** argv) {
    const int threads = argc > 1 ? std::atoi(argv[1]) : 0;
    if (threads < 1) {
        std::fprintf(stderr, "usage: probe THREADS NAME=BYTES ...\n");
        return 2;
    }
    constexpr int64_t kRounds = 1'000'000, kBytes = 600'000'000;
    std::printf("{\"threads\": %d, \"lanes\": %d, \"add\": %.4g, \"multiply_add\": %.4g", threads, kLanes,
                rate(threads, [&](int) { return add(kRounds); }), rate(threads, [&](int) { return multiply_add(kRounds); }));
    for (int a = 2; a < argc; ++a) {
        const char* equals = std::strchr(argv[a], '=');
        const int64_t bytes = equals ? std::atoll(equals + 1) : 0;
        if (bytes < 4096) {
            std::fprintf(stderr, "probe: expected NAME=BYTES with at least 4096 bytes, got %s\n", argv[a]);
            return 2;
        }
        const int64_t floats = bytes / 4, passes = std::max<int64_t>(1, kBytes / 4 / bytes);
        std::vector<float*> sets;
        for (int t = 0; t < threads; ++t) {
            sets.push_back(static_cast<float*>(std::aligned_alloc(4096, static_cast<size_t>((bytes + 4095) / 4096 * 4096))));
            for (int64_t i = 0; i < floats; ++i) sets.back()[i] = 1.0f;
        }
        const std::string name(argv[a], static_cast<size_t>(equals - argv[a]));
        std::printf(", \"%s\": {\"bytes\": %lld, \"read\": %.4g, \"read_and_add\": %.4g}", name.c_str(),
                    static_cast<long long>(bytes), 4 * rate(threads, [&](int t) { return read(sets[t], floats, passes); }),
                    4 * rate(threads, [&](int t) { return read_and_add(sets[t], floats, passes); }));
        for (float* set : sets) std::free(set);
    }
    std::printf("}\n");
}
