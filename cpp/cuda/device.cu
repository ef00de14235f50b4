// What is installed: the driver, and the runtime that is linked in.
#include "kernels.h"
#include "launch.h"

namespace firstspike::cuda {

#if defined(__CUDACC__)

Versions versions() {
    Versions found{};
    check(cudaDriverGetVersion(&found.driver), "cudaDriverGetVersion");
    check(cudaRuntimeGetVersion(&found.runtime), "cudaRuntimeGetVersion");
    return found;
}

#else

Versions versions() { return {0, 0}; }

#endif

}  // namespace firstspike::cuda
