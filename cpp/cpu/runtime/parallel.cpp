#include "parallel.h"

#include <exception>
#include <thread>
#include <vector>

namespace firstspike {

namespace {
using GompParallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
GompParallel shared_pool = nullptr;
}  // namespace

void share_openmp_pool(std::uintptr_t gomp_parallel) { shared_pool = reinterpret_cast<GompParallel>(gomp_parallel); }

namespace detail {

unsigned thread_number() {
    static std::atomic<unsigned> threads{0};
    thread_local const unsigned number = threads.fetch_add(1, std::memory_order_relaxed);
    return number;
}

void run_on_threads(int threads, void (*body)(void*), void* context) {
    if (shared_pool != nullptr) {
        shared_pool(body, context, static_cast<unsigned>(threads), 0);
        return;
    }
    std::vector<std::thread> others;
    others.reserve(static_cast<size_t>(threads));
    try {
        for (int i = 1; i < threads; ++i) others.emplace_back(body, context);
    } catch (const std::exception&) {
        // The system gives no more threads, or no memory for one: those that there are do all tasks.
    }
    body(context);
    for (auto& other : others) other.join();
}

}  // namespace detail
}  // namespace firstspike
