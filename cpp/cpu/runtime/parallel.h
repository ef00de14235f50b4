// Runs independent tasks on several threads. Which thread runs a task changes nothing in the result.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

namespace firstspike {

// The OpenMP pool that torch already has: two pools on the same cores would fight. Zero: threads that are started for the call.
// `gomp_parallel` is the address of libgomp's GOMP_parallel.
void share_openmp_pool(std::uintptr_t gomp_parallel);

namespace detail {
void run_on_threads(int threads, void (*body)(void*), void* context);

// A number of the calling thread, the same for its whole life; in a pool of n threads they differ modulo n as a rule.
unsigned thread_number();

// How the processor rounds and whether it flushes denormals to zero: a thread's own setting.
class FloatMode {
 public:
    // The calling thread's.
    FloatMode() {
#if defined(__SSE2__)
        mode_ = _mm_getcsr() & ~kFlags;
#else
        std::fegetenv(&mode_);
#endif
    }
    void apply() const {
#if defined(__SSE2__)
        _mm_setcsr(mode_);
#else
        std::fesetenv(&mode_);
#endif
    }

 private:
#if defined(__SSE2__)
    static constexpr unsigned kFlags = 0x3f;  // exceptions that have been raised
    unsigned mode_;
#else
    std::fenv_t mode_;
#endif
};

// The tasks from `next` on are not taken yet.
struct alignas(64) TaskRange {
    std::atomic<int64_t> next;
    int64_t end;
};
}  // namespace detail

// Calls task(i) for i in [0, tasks), on at most `threads` threads, all with the calling thread's floating-point mode (such as
// torch.set_flush_denormal). Rethrows the first exception.
//
// Each thread begins with a separate range, the calling one with the first as in torch's loops, and takes from the others' when
// that is done. So a thread meets what it made itself in the call before, as long as tasks are numbered alike: cores that share
// no cache would fetch it from each other.
template <class Task>
void parallel_for(int64_t tasks, int threads, Task&& task) {
    if (threads <= 1 || tasks <= 1) {
        for (int64_t i = 0; i < tasks; ++i) task(i);
        return;
    }
    struct Context {
        std::vector<detail::TaskRange> ranges;
        Task& task;
        unsigned caller;
        detail::FloatMode mode;
        std::exception_ptr error;
        std::mutex guard;
    } context{std::vector<detail::TaskRange>(static_cast<size_t>(threads < tasks ? threads : tasks)),
              task,
              detail::thread_number(),
              {},
              nullptr,
              {}};
    const auto number = static_cast<int64_t>(context.ranges.size());
    for (int64_t r = 0; r < number; ++r) {
        context.ranges[static_cast<size_t>(r)].next = tasks * r / number;
        context.ranges[static_cast<size_t>(r)].end = tasks * (r + 1) / number;
    }
    const auto body = [](void* raw) {
        auto& shared = *static_cast<Context*>(raw);
        const size_t first = detail::thread_number() - shared.caller, count = shared.ranges.size();
        const detail::FloatMode own;
        shared.mode.apply();
        try {
            for (size_t r = 0; r < count; ++r) {
                detail::TaskRange& range = shared.ranges[(first + r) % count];
                for (int64_t i; (i = range.next.fetch_add(1, std::memory_order_relaxed)) < range.end;) shared.task(i);
            }
        } catch (...) {
            const std::lock_guard<std::mutex> lock(shared.guard);
            if (!shared.error) shared.error = std::current_exception();
        }
        own.apply();
    };
    detail::run_on_threads(static_cast<int>(number), body, &context);
    if (context.error) std::rethrow_exception(context.error);
}

// Calls run(task, item) for all items, each task with a range of neighbours, in their order.
template <class Run>
void parallel_ranges(int64_t items, int64_t tasks, int threads, Run&& run) {
    parallel_for(tasks, threads, [&](int64_t task) {
        for (int64_t item = items * task / tasks; item < items * (task + 1) / tasks; ++item) run(task, item);
    });
}

// Calls run(from, number) for the blocks of `block` of [0, items); the last may be smaller.
template <class Run>
void parallel_blocks(int64_t items, int64_t block, int threads, Run&& run) {
    parallel_for((items + block - 1) / block, threads, [&](int64_t task) {
        const int64_t from = task * block, left = items - from;
        run(from, left < block ? left : block);
    });
}

}  // namespace firstspike
