// What this machine's processor can run; built for the oldest processor that the package supports.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "../core/processor.h"

#ifdef FIRSTSPIKE_AVX512_BY_LOOPS
constexpr bool kByLoops = true;  // the kernels of v4 need no more than v3 (tests/cpp/avx512_by_loops.h)
#else
constexpr bool kByLoops = false;
#endif

PYBIND11_MODULE(_core, m) {
    m.doc() = "Which instruction sets the processor has";
    m.attr("avx512_by_loops") = kByLoops;
    m.def("instruction_sets", [] {
        std::vector<std::string> sets;
        const firstspike::Processor processor = firstspike::this_processor();
        if (processor.v2) sets.push_back("v2");
        if (processor.v3) sets.push_back("v3");
        if (processor.v4 || (kByLoops && processor.v3)) sets.push_back("v4");
        return sets;
    });
}
