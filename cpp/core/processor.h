// Which instruction sets the processor and the system offer. Read from the processor itself on x86-64: __builtin_cpu_supports
// says no to everything where the compiler's runtime library leaves its table empty, as zig's does.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace firstspike {

struct Processor {
    bool v2 = false, v3 = false, v4 = false;  // x86-64-v2, v3, v4
    bool dots = false;                        // integer dot products: v4 and AVX512_VNNI, arm64's ASIMDDP
};

inline Processor this_processor() {
    Processor found;
#if defined(__x86_64__)
    const auto has = [](uint32_t word, int bit) { return ((word >> bit) & 1u) != 0; };
    uint32_t a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0) return found;
    const uint32_t first = c;
    const bool ssse3 = has(first, 9), sse41 = has(first, 19), sse42 = has(first, 20), popcnt = has(first, 23);
    found.v2 = ssse3 && sse41 && sse42 && popcnt;
    const bool saves_registers = has(first, 27);  // the system has enabled xgetbv
    if (!found.v2 || !saves_registers) return found;
    uint32_t kept = 0, upper = 0;  // the registers that the system saves
    __asm__ volatile("xgetbv" : "=a"(kept), "=d"(upper) : "c"(0));
    uint32_t second = 0, third = 0, extended = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) second = b, third = c;
    if (__get_cpuid(0x80000001u, &a, &b, &c, &d) != 0) extended = c;
    const bool fma = has(first, 12), movbe = has(first, 22), avx = has(first, 28), f16c = has(first, 29);
    const bool bmi1 = has(second, 3), avx2 = has(second, 5), bmi2 = has(second, 8), lzcnt = has(extended, 5);
    found.v3 = (kept & 0x06u) == 0x06u && fma && movbe && avx && f16c && bmi1 && avx2 && bmi2 && lzcnt;
    const bool foundation = has(second, 16), dq = has(second, 17), cd = has(second, 28), bw = has(second, 30),
               vl = has(second, 31);
    found.v4 = found.v3 && (kept & 0xe6u) == 0xe6u && foundation && dq && cd && bw && vl;
    found.dots = found.v4 && has(third, 11);
#elif defined(__aarch64__) && defined(__linux__)
    found.dots = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
    return found;
}

}  // namespace firstspike
