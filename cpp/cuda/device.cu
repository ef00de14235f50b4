// What is installed: the driver, and the runtime that is linked in.
#include "kernels.h"
#include "launch.h"

namespace firstspike::cuda {

Versions versions() {
    Versions found{};
#if defined(__CUDACC__)
    check(cudaDriverGetVersion(&found.driver), "cudaDriverGetVersion");
    check(cudaRuntimeGetVersion(&found.runtime), "cudaRuntimeGetVersion");
#endif
    return found;
}

}  // namespace firstspike::cuda
