// Runs independent tasks on several threads. Which thread runs a task changes nothing in the result.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

namespace firstspike {

// A sum over all lines of sites is made of about so many parts whatever the threads, so that its terms keep their order.
constexpr int64_t kSummedParts = 8;

// The OpenMP pool that torch already has: two pools on the same cores would fight. Zero: threads of our own, made for the call.
// `gomp_parallel` is the address of libgomp's GOMP_parallel.
void share_openmp_pool(std::uintptr_t gomp_parallel);

namespace detail {
void run_on_threads(int threads, void (*body)(void*), void* context);
}

// Calls task(i) for i in [0, tasks), on at most `threads` threads. Rethrows the first exception.
template <class Task>
void parallel_for(int64_t tasks, int threads, Task&& task) {
    if (threads <= 1 || tasks <= 1) {
        for (int64_t i = 0; i < tasks; ++i) task(i);
        return;
    }
    struct Context {
        std::atomic<int64_t> next{0};
        int64_t tasks;
        Task& task;
        std::exception_ptr error;
        std::mutex guard;
    } context{{0}, tasks, task, nullptr, {}};
    const auto body = [](void* raw) {
        auto& shared = *static_cast<Context*>(raw);
        try {
            for (int64_t i; (i = shared.next.fetch_add(1, std::memory_order_relaxed)) < shared.tasks;) shared.task(i);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(shared.guard);
            if (!shared.error) shared.error = std::current_exception();
        }
    };
    detail::run_on_threads(threads < tasks ? threads : static_cast<int>(tasks), body, &context);
    if (context.error) std::rethrow_exception(context.error);
}

}  // namespace firstspike
