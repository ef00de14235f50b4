// How long a cache line takes from one processor to another, and an attempt to bring the two nearer.
//
// The processors of a virtual machine are threads of its host, which lays them on cores as it likes: two that share a cache at
// one time, two that do not at another. Where threads wake each other through pipes, a host with Linux brings them together.
//
// Usage: neighbours NANOSECONDS TRIES   prints the nanoseconds that a line takes one way between the first two processors of this
// process, after at most TRIES attempts to make it NANOSECONDS at most. With one processor it prints 0.
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

void run_on(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

// A line goes to and fro, for it is written by both.
double nanoseconds(int here, int there) {
    constexpr int kWarm = 200, kTurns = 2000;
    alignas(64) std::atomic<int> turn{0};
    std::thread other([&] {
        run_on(there);
        for (int i = 0; i < kWarm + kTurns; ++i) {
            while (turn.load(std::memory_order_acquire) != 2 * i + 1) {}
            turn.store(2 * i + 2, std::memory_order_release);
        }
    });
    run_on(here);
    auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < kWarm + kTurns; ++i) {
        if (i == kWarm) began = std::chrono::steady_clock::now();
        turn.store(2 * i + 1, std::memory_order_release);
        while (turn.load(std::memory_order_acquire) != 2 * i + 2) {}
    }
    const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - began;
    other.join();
    return time.count() / (2 * kTurns);
}

bool pass(int from, int to) {
    char byte = 0;
    return read(from, &byte, 1) == 1 && write(to, &byte, 1) == 1;
}

// Two threads that sleep until the other wakes them.
void wake_each_other(int here, int there) {
    constexpr int kTurns = 200;
    int forth[2], back[2];
    if (pipe(forth) != 0 || pipe(back) != 0) std::abort();
    std::thread other([&] {
        run_on(there);
        for (int i = 0; i < kTurns; ++i)
            if (!pass(forth[0], back[1])) std::abort();
    });
    run_on(here);
    if (write(forth[1], "", 1) != 1) std::abort();
    for (int i = 1; i < kTurns; ++i)
        if (!pass(back[0], forth[1])) std::abort();
    other.join();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: neighbours NANOSECONDS TRIES\n");
        return 2;
    }
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    int processor[2], found = 0;
    for (int i = 0; i < CPU_SETSIZE && found < 2; ++i)
        if (CPU_ISSET(i, &set)) processor[found++] = i;
    if (found < 2) {
        std::printf("0\n");
        return 0;
    }
    double now = nanoseconds(processor[0], processor[1]);
    for (int attempt = 0; attempt < std::atoi(argv[2]) && now > std::atof(argv[1]); ++attempt) {
        wake_each_other(processor[0], processor[1]);
        now = nanoseconds(processor[0], processor[1]);
    }
    std::printf("%.1f\n", now);
}
