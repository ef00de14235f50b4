// What this machine's processor can run; built for the oldest processor that the package supports.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

PYBIND11_MODULE(_core, m) {
    m.doc() = "Which instruction sets the processor has";
    m.def("instruction_sets", [] {
        std::vector<std::string> sets;
#if defined(__x86_64__)
        __builtin_cpu_init();
        if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt")) sets.push_back("v2");
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
            sets.push_back("v3");
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
            sets.push_back("v4");
#endif
        return sets;
    });
}
